"""Rows are computed, not stored: any index, any worker, the same row."""

import hashlib
import json
from pathlib import Path

import pytest

from vlmtune.data.datasets import scenes as loader
from vlmtune.errors import ConfigError
from vlmtune.scenes.dataset import LENGTH, Scenes
from vlmtune.scenes.export import write_rows
from vlmtune.scenes.world import SceneOptions
from vlmtune.types import Example, Kind


def never(row: str, reason: str) -> None:
    raise AssertionError(f"{row} was skipped: {reason}")


def pixels(example: Example) -> str:
    return hashlib.sha256(example.images[0].open().tobytes()).hexdigest()


def test_a_row_is_the_same_whoever_asks_and_in_whatever_order() -> None:
    forwards = [Scenes()[index] for index in range(12)]
    backwards = [Scenes()[index] for index in reversed(range(12))][::-1]
    assert forwards == backwards
    assert [pixels(one) for one in forwards] == [pixels(one) for one in backwards]


def test_the_last_of_two_billion_rows_is_as_near_as_the_first() -> None:
    assert len(Scenes()) == LENGTH == 2_000_000_000
    assert Scenes()[LENGTH - 1].id == f"scenes/train/{LENGTH - 1}"
    with pytest.raises(IndexError, match="not 2000000000"):
        Scenes()[LENGTH]
    with pytest.raises(IndexError, match="not -1"):
        Scenes()[-1]


def test_splits_and_seeds_share_no_picture() -> None:
    tables = (Scenes(), Scenes(split="validation"), Scenes(split="test"), Scenes(seed=1))
    seen = [pixels(table[index]) for table in tables for index in range(60)]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (320, 200), (97, 301)])
def test_any_image_size(width: int, height: int) -> None:
    scenes = Scenes(options=SceneOptions(width=width, height=height))
    for index in range(8):
        picture = scenes[index].images[0].open()
        assert picture.size == (width, height) and picture.mode == "RGB"


@pytest.mark.parametrize("mode", ["flat", "perspective"])
def test_a_mode_is_kept(mode: str) -> None:
    scenes = Scenes(options=SceneOptions(mode=mode))
    assert {scenes[index].facts["mode"] for index in range(20)} == {mode}


def test_the_number_of_things_stays_within_its_bounds() -> None:
    scenes = Scenes(kinds=(Kind.CAPTION,), options=SceneOptions(min_objects=2, max_objects=4))
    counts = {len(scenes[index].facts["objects"]) for index in range(60)}
    assert counts == {2, 3, 4}


def test_the_loader_takes_kinds_in_turn() -> None:
    rows = loader.load(split="train", seed=0, options={"kinds": ["count", "choice"]}, skip=never)
    assert [next(rows).kind for _ in range(4)] == [Kind.COUNT, Kind.CHOICE] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kindz": ["count"]}, "did you mean 'kinds'"),
        ({"kinds": ["colour"]}, "use a list of caption, choice, count, relation, yes_no"),
        ({"mode": "cubist"}, "use 'flat', 'perspective' or 'mixed'"),
        ({"width": 10}, "use 64 to 2048 pixels"),
        ({"width": "wide"}, "another type"),
        ({"min_objects": 5, "max_objects": 3}, "1 <= min_objects <= max_objects <= 12"),
        ({"max_clutter": 2.0}, "use 0 to 1"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loader.load(split="train", seed=0, options=options, skip=never)


def test_a_kind_that_no_scene_allows_is_refused() -> None:
    lonely = Scenes(kinds=(Kind.RELATION,), options=SceneOptions(max_objects=1))
    with pytest.raises(ConfigError, match=r"raise data\.datasets options\.max_objects"):
        lonely[0]


def test_cv_bench_rows_have_the_columns_and_letters_of_the_original(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "cv", layout="cv-bench", count=40)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 40
    for row in rows:
        assert row["task"] in ("Count", "Relation", "Depth", "Distance")
        assert row["type"] == ("3D" if row["task"] in ("Depth", "Distance") else "2D")
        assert row["prompt"].startswith(
            f"{row['question']} Select from the following choices.\n(A)"
        )
        assert (path.parent / row["image"]).is_file()
    assert {row["task"] for row in rows} == {"Count", "Relation", "Depth", "Distance"}


def test_vsr_rows_have_its_caption_form(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "vsr", layout="vsr", count=20)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        assert row["caption"].startswith("The ") and row["caption"].endswith(".")
        assert f" {row['relation']} " in row["caption"] and row["label"] in (0, 1)


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_rows(tmp_path, layout="vsr", count=1)
    assert (tmp_path / "mine.txt").read_text() == "mine"
