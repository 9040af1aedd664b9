"""Training and evaluation kept apart: rows set aside, leaks found, weights kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data.division import divide
from vlmtune.data.images import FileImage
from vlmtune.data.leaks import coco_number, difference_hash, find_leaks
from vlmtune.data.load import load_examples
from vlmtune.data.training_sets import TrainingSets, load_training_sets
from vlmtune.errors import ConfigError, DataError
from vlmtune.scenes.dataset import SceneImage
from vlmtune.scenes.world import World
from vlmtune.types import Example, Stage


def photo(seed: int) -> PIL.Image.Image:
    """Smooth patches of light: a picture with shapes, not noise."""
    light = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return PIL.Image.fromarray(light).resize((160, 120), PIL.Image.Resampling.BICUBIC)


def written(folder: Path, name: str, content: list[dict[str, Any]]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(path)


def rows(count: int, name: str = "Q") -> list[dict[str, Any]]:
    return [{"prompt": f"{name}{i}", "answer": "A"} for i in range(count)]


def sets(train: str, evaluation: str | None = None, **data: Any) -> TrainingSets:
    named = None if evaluation is None else [DatasetConfig(name=evaluation)]
    settings = {"max_samples": None, "eval_datasets": named, **data}
    sources = [DatasetConfig(name=train)]
    return load_training_sets(
        RunConfig(stage=Stage.SFT, data=DataConfig(datasets=sources, **settings))
    )


def row(example_id: str, *names: str, question: str = "Q?", source: str = "x") -> Example:
    images = tuple(FileImage(name) for name in names)
    return Example(id=example_id, images=images, question=question, answer="A", source=source)


def test_a_fifth_is_set_aside_and_it_is_always_the_same_one(tmp_path: Path) -> None:
    path = written(tmp_path, "a", rows(101))
    found = sets(path)
    assert found.evaluation is not None
    # 20 % of 101 is 20.2, rounded up as the hub's own library does.
    assert (len(found.train.examples), len(found.evaluation.examples)) == (80, 21)
    again = sets(path)
    assert again.evaluation == found.evaluation
    ids = {example.id for example in found.train.examples}
    assert not ids & {example.id for example in found.evaluation.examples}
    assert found.train.report.fingerprint != found.evaluation.report.fingerprint


def test_nothing_is_set_aside_when_nothing_is_asked_for(tmp_path: Path) -> None:
    found = sets(written(tmp_path, "a", rows(5)), eval_fraction=0.0)
    assert (len(found.train.examples), found.evaluation) == (5, None)


def test_rows_of_one_picture_stay_on_one_side() -> None:
    # Pictures 0..9 with ten rows each; row 100 links pictures 0 and 1.
    examples = [row(str(n), f"{n % 10}.png") for n in range(100)] + [row("link", "0.png", "1.png")]
    train, aside = divide(examples, fraction=0.2)
    assert len(train) + len(aside) == 101
    assert 0 < len(aside) <= 21
    shown = [
        {image.name for example in part for image in example.images} for part in (train, aside)
    ]
    assert not shown[0] & shown[1]


def test_rows_that_all_share_a_picture_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="10 rows in 1 groups that share pictures leave no 20%"):
        divide([row(str(n), "a.png") for n in range(10)], fraction=0.2)


def test_copies_of_a_picture_stay_on_one_side_when_pictures_are_looked_at(tmp_path: Path) -> None:
    names = []
    for seed in range(10):
        photo(seed).save(tmp_path / f"{seed}.png")
        photo(seed).resize((101, 77)).save(tmp_path / f"{seed}.jpg", quality=70)
        names += [f"{seed}.png", f"{seed}.jpg"]
    examples = [row(name, str(tmp_path / name), question=f"{name}?") for name in names]
    train, aside = divide(examples, fraction=0.2, look=True)
    assert [Path(one.id).stem for one in aside[::2]] == [Path(one.id).stem for one in aside[1::2]]
    # By name alone the two copies are strangers, and some of them are parted.
    _, apart = divide(examples, fraction=0.2)
    assert (len(aside), len(apart)) == (4, 4)
    assert len({Path(one.id).stem for one in apart}) > 2
    assert not find_leaks(train, aside).rows


def test_a_scene_on_both_sides_is_a_leak() -> None:
    scenes = DatasetConfig(name="scenes", split="test")
    data = DataConfig(datasets=[scenes], eval_datasets=[scenes], max_samples=3)
    with pytest.raises(DataError, match="3 training rows show what evaluation asks about"):
        load_training_sets(RunConfig(stage=Stage.SFT, data=data))
    apart = DatasetConfig(name="scenes", split="validation")
    other = DataConfig(datasets=[scenes], eval_datasets=[apart], max_samples=3)
    found = load_training_sets(RunConfig(stage=Stage.SFT, data=other))
    assert found.leaks is not None
    assert not found.leaks.rows


def test_the_number_of_a_drawing_is_no_name_that_two_sets_could_share() -> None:
    def drawn(split: str, background: int) -> Example:
        world = World(
            mode="flat", width=96, height=96, things=(), clutter=0.0, background=background
        )
        image = SceneImage(name=f"scenes/{split}/000114", world=world)
        return Example(id=f"{split}/1", images=(image,), question="Q?", answer="A")

    assert not find_leaks([drawn("train", 1)], [drawn("test", 2)], look=False).rows
    assert find_leaks([drawn("test", 1)], [drawn("test", 1)], look=False).rows == {"test/1"}


def test_too_few_rows_leave_no_evaluation_set_unless_a_share_was_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "a", rows(1))
    found = sets(path)
    assert (len(found.train.examples), found.evaluation) == (1, None)
    assert found.no_evaluation.startswith("no evaluation set can be set aside: 1 rows")
    assert found.rehearsed == found.train.examples
    with pytest.raises(DataError, match="no evaluation set can be set aside"):
        sets(path, eval_fraction=0.2)


def test_the_same_question_on_both_sides_is_a_leak(tmp_path: Path) -> None:
    train = written(tmp_path / "train", "a", rows(5))
    test = written(tmp_path / "test", "b", rows(2))
    with pytest.raises(DataError, match=r"2 training rows show .*same question and answer \(2\)"):
        sets(train, test)
    dropped = sets(train, test, on_leak="drop")
    assert [example.question for example in dropped.train.examples] == ["Q2", "Q3", "Q4"]
    assert dropped.dropped == 2
    allowed = sets(train, test, on_leak="allow")
    assert (len(allowed.train.examples), allowed.dropped) == (5, 0)
    assert allowed.leaks is not None
    assert allowed.leaks.rows == {"a/000001", "a/000002"}


def test_clean_sets_pass(tmp_path: Path) -> None:
    found = sets(written(tmp_path, "a", rows(3)), written(tmp_path, "b", rows(3, "R")))
    assert found.leaks is not None
    assert found.leaks.line() == "no training row shows what evaluation asks about"


def test_a_picture_is_recognised_by_bytes_by_looks_and_by_coco_number(tmp_path: Path) -> None:
    original = photo(1)
    original.save(tmp_path / "a.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    original.resize((111, 83)).save(tmp_path / "small.jpg", quality=60)
    photo(2).save(tmp_path / "other.png")
    evaluation = [row("eval", str(tmp_path / "a.png"), question="E?")]
    train = [
        row(name, str(tmp_path / name), question=f"{name}?")
        for name in ("copy.png", "small.jpg", "other.png")
    ]
    found = find_leaks(train, evaluation)
    assert {leak.train: leak.why for leak in found.first} == {
        "copy.png": "the same picture",
        "small.jpg": "a picture that looks the same",
    }
    named = find_leaks(
        [row("t", "coco/COCO_val2014_000000000139.jpg", question="T?")],
        [row("e", "http://images.cocodataset.org/val2017/000000000139.jpg", question="E?")],
        look=False,
    )
    assert named.reasons == {"the same COCO picture": 1}


def test_different_photographs_do_not_look_the_same() -> None:
    looks = [difference_hash(photo(seed)) for seed in range(60)]
    assert None not in looks
    distances = [
        ((one or 0) ^ (two or 0)).bit_count() for i, one in enumerate(looks) for two in looks[:i]
    ]
    assert min(distances) > 40
    assert difference_hash(PIL.Image.new("RGB", (50, 50), "red")) is None


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("COCO_train2014_000000000139.jpg", 139),
        ("a/val2017/000000000139.jpg", 139),
        ("http://images.cocodataset.org/train2017/000000372029.jpg?x=1", 372029),
        ("139.jpg", None),
        ("0000000001390.jpg", None),
    ],
)
def test_coco_numbers_are_read_from_names(name: str, number: int | None) -> None:
    assert coco_number(name) == number


def test_vsrs_two_variants_are_never_mixed() -> None:
    train = [row("t", source="vsr_random", question="T?")]
    evaluation = [row("e", source="vsr_zeroshot", question="E?")]
    found = find_leaks(train, evaluation)
    assert list(found.reasons) == ["VSR's random and zeroshot cut the same statements differently"]
    assert not find_leaks([row("t", source="vsr_zeroshot", question="T?")], evaluation).rows


def test_weights_mix_the_sources(tmp_path: Path) -> None:
    sources = [
        DatasetConfig(name=written(tmp_path, "a", rows(20)), weight=3.0),
        DatasetConfig(name=written(tmp_path, "b", rows(20)), weight=1.0),
    ]
    data = DataConfig(datasets=sources, max_samples=8)
    found = load_examples(RunConfig(stage=Stage.SFT, data=data))
    names = "".join(example.id[0] for example in found.examples)
    # Shares for weights 3 and 1: a 0/3, b 0/1, a 1/3, a 2/3, then a and b tie at 1 and a is first.
    assert names == "abaaabaa"
    capped = DataConfig(datasets=sources, max_samples=None, max_samples_per_dataset=2)
    kept = load_examples(RunConfig(stage=Stage.SFT, data=capped)).report.sources
    assert [source.kept for source in kept] == [2, 2]


PREPROCESSING = """
from json import loads
import os

def gray(example):
    if "image" in example:
        assert example["image"].mode == "RGB"
        example["image"] = example["image"].convert("L")
    return example

def rename(example):
    example["prompt"] = example.pop("ask").upper()
    return example

def _not_applied(example):
    raise RuntimeError
"""


def test_a_users_functions_change_rows_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "change.py").write_text(PREPROCESSING)
    photo(1).save(tmp_path / "a.png")
    path = written(tmp_path, "a", [{"ask": "How?", "answer": "A", "image": "a.png"}, {"ask": 3}])
    data = DataConfig(
        datasets=[DatasetConfig(name=path)], preprocessing=str(tmp_path / "change.py")
    )
    found = load_examples(RunConfig(stage=Stage.SFT, data=data))
    assert found.examples[0].question == "HOW?"
    red, green, blue = found.examples[0].images[0].open().split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()
    reason = found.report.sources[0].first[0].reason
    assert reason.startswith("preprocessing failed: rename raised AttributeError")


def test_a_picture_that_no_function_touches_stays_the_file_that_it_was(tmp_path: Path) -> None:
    (tmp_path / "same.py").write_text("def same(example):\n    return dict(example)\n")
    photo(1).save(tmp_path / "a.png")
    path = written(tmp_path, "a", [{"prompt": "How?", "answer": "A", "image": "a.png"}])
    data = DataConfig(datasets=[DatasetConfig(name=path)], preprocessing=str(tmp_path / "same.py"))
    found = load_examples(RunConfig(stage=Stage.SFT, data=data))
    assert found.examples[0].images[0].name == str(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not found: name a .py file"),
        ("def f(:", "cannot be imported .SyntaxError"),
        ("import no_such_module", "cannot be imported .ModuleNotFoundError"),
        ("from json import loads", "defines no public function"),
        ("def f(a, b):\n    return a", r"f\(a, b\) does not take one row"),
        ("def f(row):\n    pass", "can be used for SFT: all 1 .* preprocessing returned no row"),
    ],
)
def test_a_file_that_cannot_preprocess_is_one_clear_line(
    text: str | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "change.py"
    if text is not None:
        file.write_text(text)
    sources = [DatasetConfig(name=written(tmp_path, "a", rows(1)))]
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        load_examples(
            RunConfig(stage=Stage.SFT, data=DataConfig(datasets=sources, preprocessing=str(file)))
        )
    assert "\n" not in str(caught.value)


def test_settings_for_columns_are_refused_where_rows_have_none() -> None:
    with pytest.raises(ConfigError, match=r"data\.answer_key cannot be used: dataset 'scenes'"):
        load_examples(RunConfig(stage=Stage.SFT, data=DataConfig(answer_key="gold")))


def test_keys_of_the_run_reach_every_source_and_its_own_win(tmp_path: Path) -> None:
    path = written(tmp_path, "a", [{"ask": "Q?", "gold": "A", "other": "B"}])
    data = DataConfig(
        datasets=[
            DatasetConfig(name=path),
            DatasetConfig(name=path, options={"answer_key": "other"}),
        ],
        prompt_key="ask",
        answer_key="gold",
    )
    found = load_examples(RunConfig(stage=Stage.SFT, data=data))
    assert [example.answer for example in found.examples] == ["A", "B"]
