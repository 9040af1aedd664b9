"""Many pictures: side by side, resumable, every address accounted for."""

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from vlmtune.data import store
from vlmtune.data.download import Outcome, fetch_pictures, read_manifest
from vlmtune.data.fetch import FetchError, Limits, fetch_picture
from vlmtune.errors import ConfigError, DataError


def fetch(address: str) -> bytes:
    return fetch_picture(
        address,
        limits=Limits(bytes=100_000, seconds=2, attempts=2),
        may_reach=lambda found: found == ipaddress.ip_address("127.0.0.1"),
        sleep=lambda _: None,
    )


def run(addresses: list[str], cache: Path, **more: Any):
    settings = {"cache": cache, "manifest": cache / "manifest.jsonl", "workers": 4, "fetch": fetch}
    return fetch_pictures(addresses, **{**settings, **more})


def test_every_address_is_kept_or_accounted_for(web: Any, cache: Path) -> None:
    names = ["good", "good/2", "gone", "html", "cut", "huge", "private", "good", "hang", "gzip"]
    report = run([web.at(name) for name in names], cache)
    # Nine different addresses, of which two are pictures.
    assert (report.total, report.kept, report.fetched) == (9, 2, 2)
    assert report.reasons == {
        "status 404": 1,
        "not a picture but text/html": 1,
        "cut off": 1,
        "larger than 100,000 bytes": 1,
        "host is not on the open internet": 1,
        "not done in 2 seconds": 1,
        "body is compressed": 1,
    }
    assert report.line().startswith("2 of 9 pictures kept, 2 of them new (")
    files = [path for path in (cache / "addresses").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert store.at_address(web.at("good"), cache=cache).read_bytes().startswith(b"\x89PNG")


def test_a_second_run_asks_only_for_what_may_have_changed(web: Any, cache: Path) -> None:
    addresses = [web.at(name) for name in ("good", "gone", "broken")]
    run(addresses, cache)
    assert web.asked == {"good": 1, "gone": 1, "broken": 2}
    again = run([*addresses, web.at("good/2")], cache)
    assert web.asked == {"good": 1, "gone": 1, "broken": 4, "good/2": 1}
    assert (again.total, again.kept, again.fetched) == (4, 2, 1)
    run(addresses, cache, retry_failed=True)
    assert (web.asked["gone"], web.asked["good"]) == (2, 1)


def test_a_killed_run_leaves_a_manifest_that_the_next_one_reads(web: Any, cache: Path) -> None:
    manifest = cache / "manifest.jsonl"

    class Killed(BaseException):
        pass

    def killing(outcome: Outcome) -> None:
        raise Killed

    with pytest.raises(Killed):
        run([web.at("gone"), web.at("good")], cache, progress=killing)
    assert len(read_manifest(manifest)) == 1
    with manifest.open("a") as stream:
        stream.write('{"address": "http://a.example/x", "sta')
    assert len(read_manifest(manifest)) == 1
    report = run([web.at("gone"), web.at("good")], cache)
    assert report.kept == 1
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert {line["status"] for line in lines} == {"kept", "failed"}
    assert not list(cache.rglob("*.part"))


def test_a_picture_that_was_deleted_is_fetched_again(web: Any, cache: Path) -> None:
    run([web.at("good")], cache)
    store.at_address(web.at("good"), cache=cache).unlink()
    assert run([web.at("good")], cache).fetched == 1


def test_a_manifest_of_something_else_is_refused(cache: Path) -> None:
    manifest = cache / "manifest.jsonl"
    manifest.write_text('{"url": "x"}\n{"address": "y", "status": "kept"}\n')
    with pytest.raises(DataError, match=r"manifest .* line 1 cannot be read; delete the file"):
        read_manifest(manifest)


def test_without_a_network_the_run_stops_early(cache: Path) -> None:
    def unreachable(address: str) -> bytes:
        raise FetchError(f"host '{address}' is not found (no network)", again=True)

    addresses = [f"http://{number}.example/x" for number in range(5000)]
    with pytest.raises(DataError, match="nothing can be fetched: the first 40 pictures all failed"):
        run(addresses, cache, fetch=unreachable)


@pytest.mark.parametrize("workers", [0, 65])
def test_the_number_of_workers_is_bounded(workers: int, cache: Path) -> None:
    with pytest.raises(ConfigError, match=f"--workers is {workers}; use 1 to 64"):
        run([], cache, workers=workers)


def test_a_cache_that_cannot_be_written_is_one_clear_line(cache: Path) -> None:
    (cache / "addresses").write_text("in the way")
    with pytest.raises(DataError, match=r"cache cannot be written: .*data.cache_dir"):
        store.write_whole(store.at_address("http://a.example", cache=cache), b"x")
