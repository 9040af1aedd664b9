"""Rows of a dataset as a benchmark: which are asked, how they are worded and graded."""

import json

import pytest

from vlmtune.backends.scripted import load_generator
from vlmtune.config import RunConfig
from vlmtune.errors import DataError
from vlmtune.evaluation import run, saved
from vlmtune.evaluation.held_out import load_held_out
from vlmtune.evaluation.score import score
from vlmtune.types import RowSource, Verdict


def config(*datasets, **data) -> RunConfig:
    return RunConfig.model_validate(
        {"stage": "grpo", "data": data, "evaluation": {"datasets": list(datasets)}}
    )


def questions(one):
    return [row.columns["question"] for row in one.rows(RowSource())]


def test_rows_without_a_split_of_their_own_come_from_the_test_split_and_the_seed():
    (first,) = load_held_out(config({"name": "scenes"}), seed=5, count=6)
    (named,) = load_held_out(config({"name": "scenes", "split": "test"}), seed=5, count=6)
    (other,) = load_held_out(config({"name": "scenes", "split": "train"}), seed=5, count=6)
    (reseeded,) = load_held_out(config({"name": "scenes"}), seed=6, count=6)
    assert questions(first) == questions(named)
    assert len(first.examples) == 6
    assert questions(first) not in (questions(other), questions(reseeded))


def test_the_same_dataset_twice_gets_two_names():
    wanted = config({"name": "scenes"}, {"name": "scenes", "split": "other"})
    assert [one.name for one in load_held_out(wanted, seed=0, count=2)] == ["scenes", "scenes 2"]


@pytest.mark.parametrize(
    ("kind", "answer", "choices", "completion", "verdict"),
    [
        ("count", "3", [], "<think>x</think><answer>three</answer>", Verdict.CORRECT),
        ("count", "3", [], "<think>x</think><answer>4</answer>", Verdict.WRONG),
        ("yes_no", "no", [], "<think>yes?</think><answer>no</answer>", Verdict.CORRECT),
        ("relation", "left of", [], "<answer>to the left of</answer>", Verdict.CORRECT),
        ("choice", "(B)", ["the cube", "the ball"], "<answer>B</answer>", Verdict.CORRECT),
        ("yes_no", "no", [], "", Verdict.UNREADABLE),
    ],
)
def test_an_answer_is_graded_by_its_kind(kind, answer, choices, completion, verdict):
    (one,) = load_held_out(config({"name": "scenes"}), seed=0, count=1)
    columns = {"id": "a", "kind": kind, "question": "?", "choices": choices, "answer": answer}
    found = one.judge(columns, completion, thinking=True)
    assert found.verdict is verdict
    assert found.groups == {"kind": kind}


def test_rows_of_text_alone_and_rows_with_two_pictures_are_asked(tmp_path, monkeypatch):
    import PIL.Image

    monkeypatch.chdir(tmp_path)
    PIL.Image.new("RGB", (32, 32), "red").save(tmp_path / "a.png")
    rows = [
        {"id": "none", "prompt": "How many legs has a dog?", "answer": "4", "kind": "count"},
        {"id": "two", "images": ["a.png", "a.png"], "prompt": "Same?", "answer": "yes",
         "kind": "yes_no"},
        {"id": "gone", "images": ["a.png", "b.png"], "prompt": "Same?", "answer": "yes",
         "kind": "yes_no"},
    ]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    (one,) = load_held_out(config({"name": str(path)}), seed=0, count=None)
    prepared = run.prepare(one, RowSource(), protocol=None, style="think", max_samples=None)
    generator = load_generator("any")
    settings = run.settings_of(prepared, generator, model="any", backend="scripted", max_tokens=64)
    answers = run.collect(prepared, generator, settings, folder=tmp_path / "out", batch=4)
    found = score(one, answers, style="think", protocol=prepared.protocol).report
    assert [answer.row.id for answer in answers if answer.completion is not None] == ["none", "two"]
    assert found["n"] + found["missing"] == len(answers)
    assert set(found["groups"]["kind"]) <= {"count", "yes_no"}


def test_a_row_without_an_answer_cannot_be_graded():
    (one,) = load_held_out(config({"name": "scenes"}), seed=0, count=1)
    with pytest.raises(DataError, match="scenes row a has no answer"):
        one.judge({"id": "a", "answer": None}, "4", thinking=False)


def test_a_name_of_a_dataset_becomes_a_folder():
    assert saved.folder_name("CV-Bench") == "cv_bench"
    assert saved.folder_name("data/rows.jsonl") == "data_rows_jsonl"
