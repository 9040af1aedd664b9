"""Bringing datasets into the cache, and reading tables as the hub's own library does."""

import io
import ipaddress
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data import collect, store
from vlmtune.data.ahead import WORKERS, ahead
from vlmtune.data.collect import Wanted
from vlmtune.data.download import fetch_pictures
from vlmtune.data.fetch import FetchError, Limits, fetch_picture
from vlmtune.data.images import AddressImage, BytesImage
from vlmtune.data.load import load_examples
from vlmtune.data.pictures import Shelf
from vlmtune.data.published import HubSource
from vlmtune.errors import ConfigError, DataError
from vlmtune.types import Example, Stage

CHECKOUT = Path(__file__).parents[2]


def png(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    PIL.Image.new("RGB", (8, 6), colour).save(stream, "PNG")
    return stream.getvalue()


def local_fetch(address: str) -> bytes:
    return fetch_picture(
        address,
        limits=Limits(bytes=100_000, seconds=5, attempts=1),
        may_reach=lambda found: found == ipaddress.ip_address("127.0.0.1"),
    )


@pytest.fixture
def repo(tmp_path: Path, web: Any) -> Path:
    """A folder laid out like a repository of the hub, with addresses and with pictures."""
    folder = tmp_path / "repo"
    folder.mkdir()
    for split, names in (("train", ["good", "gone", "good/2"]), ("test", ["html"])):
        rows = [
            {
                "image_url": web.at(name),
                "caption": f"A dense caption of {name}.",
                "picture": [{"bytes": png(), "path": None}],
            }
            for name in names
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    return folder


def pixmo(repo: Path) -> Wanted:
    columns = ("image_url", "caption")
    source = HubSource(repo=str(repo), columns=columns, addresses="image_url", licence="none")
    return Wanted(name="pixmo_cap", source=source)


def test_a_capped_download_takes_the_first_rows_of_each_split(repo: Path, cache: Path) -> None:
    brought = collect.bring(pixmo(repo), cache=cache, max_samples=2, fetch=local_fetch)
    assert (brought.rows, brought.fresh) == ({"test": 1, "train": 2}, True)
    assert brought.pictures is not None
    # good and gone of train, html of test.
    assert (brought.pictures.total, brought.pictures.kept) == (3, 1)
    assert "1 of 3 pictures kept" in brought.line()
    rows = pq.read_table(cache / "datasets" / "pixmo_cap" / "train.parquet").to_pylist()
    assert rows[0]["picture"] == [{"bytes": png(), "path": None}]
    again = collect.bring(pixmo(repo), cache=cache, max_samples=1, fetch=local_fetch)
    assert not again.fresh
    more = collect.bring(pixmo(repo), cache=cache, max_samples=3, fetch=local_fetch)
    assert (more.fresh, more.rows["train"]) == (True, 3)


def test_what_was_brought_loads_without_a_network(repo: Path, cache: Path) -> None:
    collect.bring(pixmo(repo), cache=cache, max_samples=9, fetch=local_fetch)
    data = DataConfig(
        datasets=[DatasetConfig(name="pixmo_cap")], addresses="cached", cache_dir=str(cache)
    )
    found = load_examples(RunConfig(stage=Stage.SFT, data=data))
    assert [example.answer for example in found.examples] == [
        "A dense caption of good.",
        "A dense caption of good/2.",
    ]
    # A row whose picture is gone is left out and counted; nothing stands in for it.
    assert found.report.sources[0].reasons == {"image is not in the cache": 1}
    assert found.examples[0].images[0].open().size == (8, 6)


def test_the_hubs_own_library_reads_slices_and_keeps_pictures_encoded(repo: Path) -> None:
    skipped: list[str] = []
    for stream in (False, True):
        options = {"id": str(repo), "stream": stream, "answer_key": "caption"}
        options |= {"prompt_key": "image_url", "image_keys": ["picture"]}
        from vlmtune.data.datasets import hub

        rows = list(
            hub.load(
                split="train[1:3]",
                seed=0,
                options=options,
                skip=lambda row, why: skipped.append(f"{row} {why}"),
            )
        )
        assert [row.answer for row in rows] == [
            "A dense caption of gone.",
            "A dense caption of good/2.",
        ]
        image = rows[0].images[0]
        assert isinstance(image, BytesImage)
        assert image.data == png()
    assert skipped == []


def test_names_stand_for_tables() -> None:
    def names(*asked: str, count: int | None = None) -> list[str]:
        return [entry.name for entry in collect.wanted(asked, max_samples=count)[0]]

    assert names("vsr") == ["vsr_random", "vsr_zeroshot"]
    assert names("vsr/zeroshot") == ["vsr_zeroshot"]
    assert names("cv-bench") == ["cv_bench"]
    assert names("open_spaces/mc_r1") == ["open_spaces_mc_r1"]
    assert names("cauldron/ai2d") == ["cauldron_ai2d"]
    everything, notes = collect.wanted(["all"], max_samples=None)
    assert {"rlhf_v", "pixmo_cap", "vsr_random", "cv_bench"} <= {e.name for e in everything}
    assert "robo2vlm" not in [entry.name for entry in everything]
    left_out = {note.partition(":")[0] for note in notes}
    assert left_out == {"spatialvlm", "vivqa_x", "cauldron", "robo2vlm"}
    assert "robo2vlm" in names("all", count=5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spatialvlm", "never released"),
        ("vivqa_x", "not on the hub"),
        ("cauldron", "name one: cauldron/ai2d"),
        ("vsr/zero", "has no part 'zero'; it has random, zeroshot"),
        ("scenes", "needs no download"),
        ("rlhfv", "did you mean 'rlhf_v'"),
    ],
)
def test_a_name_that_cannot_be_downloaded_says_why(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collect.wanted([name], max_samples=None)


def test_an_unreachable_hub_is_one_clear_line(tmp_path: Path) -> None:
    command = [sys.executable, "scripts/download_datasets.py", "--datasets", "rlhf_v"]
    command += ["--cache_dir", str(tmp_path), "--max_samples", "2"]
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("DataError")]
    assert len(lines) == 1
    assert "'openbmb/RLHF-V-Dataset' cannot be read from the Hugging Face hub" in lines[0]
    assert "0 of 1 tables are ready" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def shelf(cache: Path, **more: Any) -> Shelf:
    settings = {"policy": "fetch", "max_pixels": 1_000_000, "fetch": local_fetch, **more}
    return Shelf(cache=cache, **settings)


def pictured(*addresses: str) -> Example:
    images = tuple(AddressImage(address) for address in addresses)
    return Example(id="x", question="Q?", images=images)


def test_an_address_in_a_row_is_fetched_once_into_the_cache(web: Any, cache: Path) -> None:
    found = shelf(cache).settled(pictured(web.at("good"), web.at("good/2"))).images
    assert [image.open().getpixel((0, 0)) for image in found] == [(255, 0, 0), (0, 0, 255)]
    shelf(cache).settled(pictured(web.at("good")))
    assert web.asked["good"] == 1
    # The download command and rows share one place.
    fetch_pictures([web.at("good")], cache=cache, manifest=cache / "m.jsonl", fetch=local_fetch)
    assert web.asked["good"] == 1


def test_an_address_that_fails_is_tried_once_a_run(web: Any, cache: Path) -> None:
    place = shelf(cache)
    for _ in range(2):
        with pytest.raises(DataError, match=r"image cannot be fetched: .*gone' \(status 404\)"):
            place.settled(pictured(web.at("gone")))
    assert web.asked["gone"] == 1
    with pytest.raises(DataError, match="image is not in the cache"):
        shelf(cache, policy="cached").settled(pictured(web.at("gone")))
    with pytest.raises(DataError, match=r"image is an address: .* data\.addresses is 'refuse'"):
        shelf(cache, policy="refuse").settled(pictured(web.at("gone")))


def test_without_a_network_a_run_stops_trying_addresses(cache: Path) -> None:
    tried: list[str] = []

    def unreachable(address: str) -> bytes:
        tried.append(address)
        raise FetchError("host is not found", again=True)

    place = shelf(cache, fetch=unreachable)
    for number in range(30):
        with pytest.raises(DataError, match=r"image cannot be fetched|image is not tried"):
            place.settled(pictured(f"http://{number}.example/x.png"))
    assert len(tried) == 10


def test_a_row_can_never_make_us_ask_a_private_address(web: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "Q?", "answer": "A", "image": web.at("good")}) + "\n")
    config = RunConfig(stage=Stage.SFT, data=DataConfig(datasets=[DatasetConfig(name=str(path))]))
    with pytest.raises(DataError, match=r"not on the open internet: 127\.0\.0\.1"):
        load_examples(config)
    assert not web.asked


def test_bytes_inside_a_table_are_unpacked_once_by_their_content(cache: Path) -> None:
    images = (BytesImage("a", png()), BytesImage("b", png()), BytesImage("c", png("blue")))
    found = shelf(cache).settled(Example(id="x", question="Q?", images=images)).images
    assert len({image.name for image in found}) == 2
    assert found[0].open().size == (8, 6)
    assert len([path for path in (cache / "pictures").rglob("*") if path.is_file()]) == 2


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.cache_folder("~/x") == Path.home() / "x"
    monkeypatch.setenv("VLMTUNE_CACHE", "/elsewhere")
    assert store.cache_folder() == Path("/elsewhere")
    monkeypatch.delenv("VLMTUNE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert store.cache_folder() == Path("/xdg/vlmtune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.cache_folder() == Path.home() / ".cache" / "vlmtune"


def test_addresses_of_the_next_rows_are_fetched_side_by_side_and_rows_keep_their_order(
    cache: Path,
) -> None:
    together = threading.Barrier(8, timeout=30)

    def slow(address: str) -> bytes:
        # Of the first sixteen nobody is let go before eight are here.
        number = int(address.rpartition("/")[2])
        if number < 16:
            together.wait()
        if number == 5:
            raise FetchError("gone", again=False)
        return png()

    place = shelf(cache, fetch=slow)
    rows = [
        Example(id=str(n), question="?", images=(AddressImage(f"http://a.example/{n}"),))
        for n in range(40)
    ]
    order = [row.id for row in ahead(rows, place) if row.id == "5" or place.settled(row)]
    assert order == [str(n) for n in range(40)]
    with pytest.raises(DataError, match="image cannot be fetched"):
        place.settled(rows[5])
    assert not place.begun


def test_no_more_is_fetched_ahead_than_a_run_will_use(cache: Path) -> None:
    asked: list[str] = []

    def fetch(address: str) -> bytes:
        asked.append(address)
        return png()

    place = shelf(cache, fetch=fetch)
    rows = [
        Example(id=str(n), question="?", images=(AddressImage(f"http://a.example/{n}"),))
        for n in range(40)
    ]
    reading = ahead(rows, place, most=3)
    for _ in range(3):
        place.settled(next(reading))
    reading.close()
    assert 3 <= len(asked) <= 5


def test_rows_without_addresses_are_not_read_ahead(cache: Path) -> None:
    read: list[int] = []

    def rows() -> Any:
        for number in range(5):
            read.append(number)
            yield Example(id=str(number), question="?")

    assert next(ahead(rows(), shelf(cache))).id == "0"
    assert read == [0]


def test_without_a_network_nothing_more_is_begun(cache: Path) -> None:
    tried: list[str] = []

    def unreachable(address: str) -> bytes:
        tried.append(address)
        raise FetchError("host is not found", again=True)

    place = shelf(cache, fetch=unreachable)
    rows = [
        Example(id=str(n), question="?", images=(AddressImage(f"http://a.example/{n}"),))
        for n in range(200)
    ]
    for row in ahead(rows, place):
        with pytest.raises(DataError, match=r"image cannot be fetched|image is not tried"):
            place.settled(row)
    assert len(tried) <= 10 + WORKERS
