"""Loading a run's rows: order, stage requirements, bad rows, fingerprint."""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vlmtune.config import DataConfig, DatasetConfig, RewardConfig, RunConfig
from vlmtune.data.load import Loaded, load_examples
from vlmtune.data.skips import headline
from vlmtune.errors import ConfigError, DataError
from vlmtune.types import Stage


def rows(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"Q{i}", "answer": f"A{i}", **more} for i in range(number)]


def written(folder: Path, name: str, content: list[dict[str, Any]]) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(path)


def loaded(
    *names: str, stage: Stage = Stage.GRPO, seed: int = 0, verify_images: bool = True, **data: Any
) -> Loaded:
    datasets = [DatasetConfig(name=name) for name in names]
    config = RunConfig(stage=stage, seed=seed, data=DataConfig(datasets=datasets, **data))
    return load_examples(config, verify_images=verify_images)


def questions(found: Loaded) -> list[str]:
    return [example.question for example in found.examples]


def test_rows_come_in_the_files_order_up_to_max_samples(tmp_path: Path) -> None:
    path = written(tmp_path, "a", rows(5))
    assert questions(loaded(path, max_samples=3)) == ["Q0", "Q1", "Q2"]
    assert questions(loaded(path, max_samples=None)) == ["Q0", "Q1", "Q2", "Q3", "Q4"]
    assert questions(loaded(path, max_samples=99)) == ["Q0", "Q1", "Q2", "Q3", "Q4"]


def test_sources_are_drawn_from_in_turn_until_they_run_out(tmp_path: Path) -> None:
    names = [written(tmp_path, name, rows(n)) for name, n in (("a", 4), ("b", 1), ("c", 2))]
    found = loaded(*names, max_samples=6)
    ids = [example.id for example in found.examples]
    assert [name.split("/")[0] for name in ids] == ["a", "b", "c", "a", "c", "a"]
    assert [source.kept for source in found.report.sources] == [3, 1, 2]
    assert found.report.kept == 6


def test_a_bad_row_costs_its_source_no_turn(tmp_path: Path) -> None:
    bad = written(tmp_path, "bad", [{"answer": "no question"}, *rows(1)])
    good = written(tmp_path, "good", rows(2))
    found = loaded(bad, good, max_samples=2)
    assert [example.id for example in found.examples] == ["bad/000002", "good/000001"]
    report = found.report.sources[0]
    assert (report.read, report.kept, report.skipped) == (2, 1, 1)
    assert report.reasons == {"columns do not fit": 1}
    assert report.first[0].row == "bad.jsonl line 1"
    assert report.line() == f"{bad}: 1 of 2 rows kept; skipped: columns do not fit (1)"


def test_a_broken_line_stops_the_run_when_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "Q", "answer": "A"}\n{"prompt" "Q"}\n')
    with pytest.raises(DataError, match=r"^rows.jsonl line 2: not valid JSON \(Expecting ':'"):
        loaded(str(path), on_bad_row="error")
    assert loaded(str(path)).report.skipped == 1


@pytest.mark.parametrize("stage", [Stage.SFT, Stage.GRPO])
def test_a_row_without_answer_is_skipped_where_the_stage_needs_one(
    stage: Stage, tmp_path: Path
) -> None:
    path = written(tmp_path, "a", [{"prompt": "Q", "correct_answer": "A"}, *rows(1)])
    found = loaded(path, stage=stage)
    assert questions(found) == ["Q0"]
    skipped = found.report.sources[0].first[0]
    assert skipped.row == "a/000001"
    assert skipped.reason.startswith(f"no answer: {stage.value.upper()} needs one")
    assert skipped.reason.endswith("the columns not understood are 'correct_answer'")


@pytest.mark.parametrize(
    ("reward", "kept"),
    [
        ({}, 1),
        ({"type": "counting"}, 1),
        ({"functions": ["accuracy", "format"]}, 1),
        ({"functions": ["format"]}, 2),
        ({"type": "format"}, 2),
        ({"type": "mine.py"}, 2),
        ({"file": "mine.py"}, 2),
        ({"file": "mine.py", "functions": ["brevity", "combined"]}, 1),
    ],
)
def test_a_row_without_answer_reaches_only_rewards_that_may_grade_it(
    reward: dict[str, Any], kept: int, tmp_path: Path
) -> None:
    path = written(tmp_path, "a", [{"prompt": "Describe it.", "kind": "caption"}, *rows(1)])
    data = DataConfig(datasets=[DatasetConfig(name=path)], max_samples=None)
    settings = RewardConfig.model_validate(reward)
    grpo = RunConfig(stage=Stage.GRPO, data=data, reward=settings)
    report = load_examples(grpo).report
    assert (report.kept, report.skipped) == (kept, 2 - kept)
    sft = RunConfig(stage=Stage.SFT, data=data, reward=settings)
    assert load_examples(sft).report.kept == 1


def test_preference_pairs_must_be_whole_and_differ(tmp_path: Path) -> None:
    pairs = [
        {"prompt": "Q1", "chosen": "good", "rejected": "bad"},
        {"prompt": "Q2", "chosen": "same", "rejected": " same "},
        {"prompt": "Q3", "chosen": "good", "rejected": ""},
        {"prompt": "Q4", "answer": "good"},
        {"prompt": "Q5", "rejected": "bad"},
    ]
    found = loaded(written(tmp_path, "pairs", pairs), stage=Stage.DPO)
    assert questions(found) == ["Q1"]
    assert found.report.sources[0].reasons == {
        "no rejected answer": 2,
        "chosen and rejected are the same": 1,
        "no chosen answer": 1,
    }


def test_the_chosen_side_of_a_pair_serves_sft(tmp_path: Path) -> None:
    path = written(tmp_path, "a", [{"prompt": "Q", "chosen": "good", "rejected": "bad"}])
    assert loaded(path, stage=Stage.SFT).examples[0].answer == "good"


def test_damaged_pictures_are_skipped_counted_and_listed(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "good.jpg")
    whole = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").touch()
    names = ("good.jpg", "cut.jpg", "empty.jpg", "gone.jpg", "cut.jpg")
    path = written(tmp_path, "a", [{"image": n, "prompt": n, "answer": "A"} for n in names])
    found = loaded(path)
    assert questions(found) == ["good.jpg"]
    source = found.report.sources[0]
    assert source.reasons == {"image is damaged": 2, "image is empty": 1, "image not found": 1}
    assert {skipped.row for skipped in source.first} == {
        "a/000002",
        "a.jsonl line 3",
        "a.jsonl line 4",
        "a/000005",
    }
    unverified = loaded(path, verify_images=False)
    assert questions(unverified) == ["good.jpg", "cut.jpg", "cut.jpg"]


def test_the_runs_pixel_limit_reaches_every_picture(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    path = written(tmp_path, "a", rows(1, image="a.png"))
    assert loaded(path, max_image_pixels=100).report.kept == 1
    with pytest.raises(DataError, match=r"image is too large: .* = 100 pixels, more than .* = 99"):
        loaded(path, max_image_pixels=99)


def test_when_nothing_is_left_the_reasons_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "a", [{"prompt": "Q"}, {"prompt": "Q"}, {"anser": "A"}])
    with pytest.raises(DataError) as caught:
        loaded(path)
    text = str(caught.value)
    assert "can be used for GRPO: all 3 were skipped" in text
    assert "most for: no answer (2), columns do not fit (1); the first, a/000001: no answer" in text
    assert "\n" not in text


def test_an_id_that_is_taken_gets_a_number_and_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "a", [{"id": name, **rows(1)[0]} for name in ("x", "x#2", "x", "x")])
    found = loaded(path)
    assert [example.id for example in found.examples] == ["x", "x#2", "x#3", "x#4"]
    assert found.report.renamed == 2


def test_shuffling_depends_on_the_seed_alone(tmp_path: Path) -> None:
    path = written(tmp_path, "a", rows(50))
    plain = questions(loaded(path, max_samples=None))
    first = questions(loaded(path, max_samples=None, shuffle=True, seed=1))
    assert first == questions(loaded(path, max_samples=None, shuffle=True, seed=1))
    assert sorted(first) == sorted(plain)
    assert len({*map(tuple, (plain, first))}) == 2
    assert first != questions(loaded(path, max_samples=None, shuffle=True, seed=2))
    # The first rows of a capped run are the first rows of the whole.
    assert questions(loaded(path, max_samples=5, shuffle=True, seed=1)) == first[:5]


def test_the_fingerprint_follows_content_and_not_place(tmp_path: Path) -> None:
    prints = []
    for folder, colour in (("one", "red"), ("two", "red"), ("three", "blue")):
        (tmp_path / folder).mkdir()
        PIL.Image.new("RGB", (4, 4), colour).save(tmp_path / folder / "a.png")
        path = written(tmp_path / folder, "rows", rows(2, image="a.png"))
        prints.append(loaded(path).report.fingerprint)
        unread = loaded(path, verify_images=False).report.fingerprint
        assert unread != prints[-1]
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]
    other = written(tmp_path / "one", "rows", rows(3, image="a.png"))
    assert loaded(other).report.fingerprint != prints[0]


def test_the_fingerprint_of_scenes_knows_what_they_look_like() -> None:
    def of(**options: Any) -> str:
        source = DatasetConfig(name="scenes", options={"kinds": ["count"], **options})
        data = DataConfig(datasets=[source], max_samples=1)
        config = RunConfig(stage=Stage.GRPO, data=data)
        return load_examples(config, verify_images=False).report.fingerprint

    assert of() == of()
    assert of() != of(max_clutter=0.0)


ENDLESS = '''
"""Rows without end."""
from vlmtune.types import Example
{flag}
def load(*, split, seed, options, skip):
    if options:
        raise ValueError("no options here")
    n = 0
    while True:
        n += 1
        yield Example(id=str(n), question=f"{{split}} {{seed}} {{n}}", answer="A")
'''


def test_a_python_file_is_a_dataset_and_an_endless_one_needs_a_cap(tmp_path: Path) -> None:
    path = tmp_path / "endless.py"
    path.write_text(ENDLESS.format(flag="ENDLESS = True"))
    assert questions(loaded(str(path), max_samples=2, seed=7)) == ["train 7 1", "train 7 2"]
    assert questions(loaded(str(path), max_samples=2, shuffle=True)) == ["train 0 1", "train 0 2"]
    with pytest.raises(ConfigError, match="never ends"):
        loaded(str(path), max_samples=None)


def test_an_unknown_dataset_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dataset 'jsnol' not found; did you mean 'jsonl'"):
        loaded("jsnol")
    with pytest.raises(DataError, match="does not exist"):
        loaded(str(tmp_path / "none.jsonl"))


def test_a_file_may_be_named_by_option_but_not_twice(tmp_path: Path) -> None:
    path = written(tmp_path, "a", rows(1))
    source = DatasetConfig(name="jsonl", options={"path": path})
    config = RunConfig(stage=Stage.GRPO, data=DataConfig(datasets=[source]))
    assert load_examples(config).report.sources[0].name == "jsonl"
    twice = DatasetConfig(name=path, options={"path": path})
    with pytest.raises(ConfigError, match="is a file and has an option 'path' as well"):
        load_examples(RunConfig(stage=Stage.GRPO, data=DataConfig(datasets=[twice])))


def test_progress_counts_the_rows_kept(tmp_path: Path) -> None:
    path = written(tmp_path, "a", [{"prompt": "no answer"}, *rows(3)])
    steps: list[int] = []
    config = RunConfig(stage=Stage.GRPO, data=DataConfig(datasets=[DatasetConfig(name=path)]))
    load_examples(config, progress=steps.append)
    assert steps == [1, 1, 1]


def test_the_list_of_skipped_rows_is_bounded_and_the_count_is_not(tmp_path: Path) -> None:
    path = written(tmp_path, "a", [{"prompt": "Q"}] * 150 + rows(1))
    source = loaded(path).report.sources[0]
    assert (source.skipped, len(source.first)) == (150, 100)
    assert source.reasons == {"no answer": 150}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("image is empty: /a/b.png has 0 bytes; fetch it", "image is empty"),
        ("not valid JSON (Expecting ',' at column 3); write", "not valid JSON"),
        ("plain", "plain"),
    ],
)
def test_a_headline_is_what_rows_have_in_common(reason: str, expected: str) -> None:
    assert headline(reason) == expected
