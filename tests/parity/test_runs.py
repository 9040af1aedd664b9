"""Two runs side by side: what is the same, from when on it is not, and what cannot be compared."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vlmtune.cli_compare import main
from vlmtune.errors import ConfigError
from vlmtune.parity.runs import compare

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def stage(folder: Path, name: str, values: list[float], *, b: list[list[float]]) -> Path:
    number = "reward/mean" if name == "grpo" else "loss"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"made_by": "training", "stage": name}))
    lines = [json.dumps({"step": place, number: value}) for place, value in enumerate(values, 1)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, json.dumps({"train_runtime": 1.0})]))
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1}))
    weights = {
        f"{LAYER}.lora_A.weight": np.array([[3.0, 0.0]], np.float32),
        f"{LAYER}.lora_B.weight": np.array(b, np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


def pipeline(
    folder: Path, *, losses: list[float], b: list[list[float]], answers: dict[str, list[str]]
) -> Path:
    stage(folder / "first", "sft", losses, b=b)
    order = [{"name": "first", "stage": "sft"}, {"name": "never", "stage": "grpo"}]
    (folder / "run.json").write_text(json.dumps({"made_by": "pipeline", "order": order}))
    for model, texts in answers.items():
        place = folder / "evaluations" / model / "scenes"
        place.mkdir(parents=True)
        rows = [{"id": f"q{n}", "completion": text} for n, text in enumerate(texts)]
        (place / "predictions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    one = pipeline(
        tmp_path / "mac",
        losses=[2.0, 1.0, 0.5, 0.4],
        b=[[4.0], [0.0]],
        answers={"base": ["left", "3"], "first": ["left", "4"]},
    )
    other = pipeline(
        tmp_path / "gpu",
        losses=[2.00001, 1.0, 0.6, 0.4],
        b=[[0.0], [4.0]],
        answers={"base": ["left", "3"], "first": ["right", "4"]},
    )
    return one, other


def test_a_course_is_followed_until_it_parts(two):
    (course,) = compare(*two).courses
    assert (course.name, course.number) == ("first", "loss")
    assert course.alike == 2
    # 0.5 against 0.6, as a share of 2.
    assert course.apart == pytest.approx(0.05)


def test_weights_are_compared_as_one_vector(two):
    (weights,) = compare(*two).weights
    # (3, 0, 4, 0) and (3, 0, 0, 4): 9 of 25.
    assert (weights.count, weights.apart, weights.largest) == (4, 4.0, 4.0)
    assert weights.cosine == pytest.approx(9 / 25)


def test_answers_are_compared_in_the_order_in_which_models_came_to_be(two):
    base, first = compare(*two).answers
    assert (base.model, base.n, base.same, base.differing) == ("base", 2, 2, ())
    assert (first.model, first.n, first.same, first.differing) == ("first", 2, 1, ("q0",))


def test_single_runs_are_compared_too(tmp_path):
    one = stage(tmp_path / "a", "grpo", [0.5, 0.75], b=[[1.0]])
    other = stage(tmp_path / "b", "grpo", [0.5, 0.75, 0.8], b=[[1.0]])
    found = compare(one, other)
    assert found.courses[0].alike == 2 and found.courses[0].apart == 0.0
    assert found.weights[0].cosine == pytest.approx(1.0)
    assert found.answers == ()


def test_a_run_against_itself_is_the_same_throughout(two):
    found = compare(two[0], two[0])
    assert found.courses[0].alike == 4
    assert found.weights[0].apart == 0.0
    assert all(one.same == one.n for one in found.answers)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda other: (other / "run.json").unlink(), "has no run.json"),
        (
            lambda other: (other / "run.json").write_text('{"stage": "dpo"}'),
            "nothing in common: stages sft here, dpo there",
        ),
        (
            lambda other: save_file(
                {f"{LAYER}.lora_A.weight": np.ones((1, 2), np.float32)},
                other / "adapter_model.safetensors",
            ),
            "only one side trained .*lora_B",
        ),
        (
            lambda other: save_file(
                {
                    f"{LAYER}.lora_A.weight": np.ones((2, 2), np.float32),
                    f"{LAYER}.lora_B.weight": np.ones((1, 2), np.float32),
                },
                other / "adapter_model.safetensors",
            ),
            "unlike sizes",
        ),
    ],
)
def test_what_cannot_be_compared_is_said(change, said, tmp_path):
    one = stage(tmp_path / "a", "sft", [1.0], b=[[1.0]])
    other = stage(tmp_path / "b", "sft", [1.0], b=[[1.0]])
    change(other)
    with pytest.raises(ConfigError, match=said):
        compare(one, other)


def test_the_command_prints_and_draws(two, tmp_path, capsys):
    path = tmp_path / "two.svg"
    assert main([str(two[0]), str(two[1]), "--draw", str(path)]) == 0
    out = capsys.readouterr().out
    assert "1 of 2" in out and "q0" in out and "0.3600000" in out
    drawing = path.read_text()
    assert drawing.count("<polyline") == 2 and "first: loss" in drawing
    assert ">mac<" in drawing and ">gpu<" in drawing


def test_sides_are_called_by_what_differs(two):
    assert compare(*two).sides == ("mac", "gpu")
    for folder, backend in zip(two, ("mlx", "pytorch"), strict=True):
        record = json.loads((folder / "run.json").read_text()) | {"backend": backend}
        (folder / "run.json").write_text(json.dumps(record))
    assert compare(*two).sides == ("mlx", "pytorch")


@pytest.mark.parametrize("words", [[], ["one"], ["a", "b", "c"], ["a", "b", "--drow", "x"]])
def test_a_wrong_call_is_one_line(words, capsys):
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("ConfigError: ")
