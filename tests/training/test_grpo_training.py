"""GRPO on pico, start to end: what is left behind, how it goes on, what is repaired or refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from vlmtune import config_file
from vlmtune.errors import DataError, VlmtuneError
from vlmtune.training import train

pytest.importorskip("trl", reason="TRL needs Python 3.11")

TINY = {
    "stage": "grpo",
    "backend": "pytorch",
    "hardware.device": "cpu",
    "data.max_samples": 6,
    "data.eval_fraction": 0.34,
    "training.max_steps": 4,
    "training.batch_size": 2,
    "training.learning_rate": 1e-3,
    "model.lora.rank": 4,
    "grpo.num_generations": 4,
    "grpo.max_completion_length": 12,
    "grpo.num_iterations": 2,
    "grpo.beta": 0.05,
    "tracking.log_steps": 1,
    "tracking.sample_steps": 2,
    "save.steps": 3,
}
REWARD = '''
def length_of_odd_letters(completions, id, **kwargs):
    """Earn something different for nearly every answer."""
    return [(sum(map(ord, text)) % 97) / 97 for text in completions]
'''


def config(folder: Path, **flags):
    return config_file.load(None, flags={**TINY, "output_dir": str(folder), **flags})


def run(folder: Path, **flags):
    return train.run(config(folder, **flags), console=Console(quiet=True))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def reward(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("reward") / "odd.py"
    path.write_text(REWARD)
    return str(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, reward) -> Path:
    folder = tmp_path_factory.mktemp("grpo") / "run"
    evaluated = {"evaluation.strategy": "steps", "evaluation.steps": 4}
    run(folder, **{"reward.file": reward, **evaluated})
    return folder


def test_the_adapter_moved_and_lies_in_the_run(finished) -> None:
    weights = load_file(finished / "adapter_model.safetensors")
    assert any(np.abs(value).max() > 0 for name, value in weights.items() if "lora_B" in name)
    assert not (finished / "ref").exists()


def test_what_a_group_relative_run_is_watched_by_is_recorded(finished) -> None:
    told = [line for line in lines(finished / "metrics.jsonl") if "reward/mean" in line]
    assert [line["step"] for line in told] == [1, 3]  # a rollout serves two updates
    first = told[0]
    for name in (
        "reward/flat_groups",
        "reward/parts/length_of_odd_letters",
        "kl",
        "completions/mean_length",
        "completions/truncated",
        "clip_ratio/region_mean",
        "entropy",
        "grad_norm",
    ):
        assert np.isfinite(first[name]), name
    assert first["reward/mean"] == pytest.approx(first["reward"], abs=1e-6)


def test_held_out_prompts_are_asked_for_their_mean_reward(finished) -> None:
    held = [line for line in lines(finished / "metrics.jsonl") if "eval_reward/mean" in line]
    assert len(held) == 1
    assert 0 <= held[0]["eval_reward/mean"] <= 1


def test_answers_are_kept_with_what_they_earned(finished) -> None:
    records = lines(finished / "samples.jsonl")
    assert {record["step"] for record in records} == {0, 2}
    for record in records:
        assert len(record["completions"]) == 4
        rewards = [answer["reward"] for answer in record["completions"]]
        advantages = [answer["advantage"] for answer in record["completions"]]
        assert np.argmax(rewards) == np.argmax(advantages)
    pages = sorted(path.name for path in (finished / "samples").iterdir())
    assert pages == ["step_000000.html", "step_000002.html"]
    assert "data:image/" in (finished / "samples" / pages[0]).read_text()


def test_the_end_says_how_healthy_the_run_was(finished) -> None:
    found = json.loads((finished / "run.json").read_text())
    names = [check["name"] for check in found["result"]["health"]]
    assert {"flat_groups", "kl", "cut_off", "clipped"} <= set(names)
    assert any("gradient_accumulation_steps: 1 became 2" in note for note in found["notes"])


def test_a_killed_run_ends_where_an_uninterrupted_one_does(finished, reward, tmp_path) -> None:
    """The checkpoint lies between two updates on the same completions."""
    killed = tmp_path / "run"
    shutil.copytree(finished, killed)
    for path in killed.glob("adapter_*"):
        path.unlink()
    for path in (killed / "checkpoints").glob("step_*"):
        if path.name != "step_000003":
            shutil.rmtree(path)
    assert (killed / "checkpoints" / "step_000003" / "rollout.pt").is_file()
    evaluated = {"evaluation.strategy": "steps", "evaluation.steps": 4}
    run(killed, **{"reward.file": reward, "resume": "must", **evaluated})
    before = load_file(finished / "adapter_model.safetensors")
    after = load_file(killed / "adapter_model.safetensors")
    assert all(np.array_equal(value, after[name]) for name, value in before.items())
    for name in ("loss", "grad_norm", "kl", "eval_reward/mean"):
        told = [
            [line[name] for line in lines(folder / "metrics.jsonl") if name in line]
            for folder in (finished, killed)
        ]
        assert told[0] == told[1], name
    assert lines(finished / "samples.jsonl") == lines(killed / "samples.jsonl")


def test_the_shortest_config_of_the_nanovlm_guide_runs(tmp_path) -> None:
    shortest = {
        "training.batch_size": 1,
        "training.max_steps": 1,
        "grpo.num_iterations": 1,
        "grpo.beta": 0.0,
        "data.eval_fraction": 0.0,
    }
    done = run(tmp_path / "run", **shortest)
    assert done.result.steps == 1
    notes = json.loads((tmp_path / "run" / "run.json").read_text())["notes"]
    assert any(
        note.startswith("training.gradient_accumulation_steps: 1 became 4") for note in notes
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"grpo.loss_type": "cispo", "grpo.epsilon_high": 0.28}, "caps every ratio below 1"),
        ({"training.global_batch_size": 6}, "use a multiple of 4"),
        ({"grpo.resample_flat_groups": 2, "grpo.scale_rewards": "batch"}, "scale_rewards: batch"),
        ({"hardware.use_vllm": True}, "use_vllm"),
        ({"reward.type": "spacial"}, "did you mean"),
    ],
)
def test_what_cannot_be_honoured_is_refused_before_anything_loads(tmp_path, flags, said) -> None:
    with pytest.raises(VlmtuneError, match=said):
        run(tmp_path / "run", **flags)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_too_few_rows_for_an_update_are_told(tmp_path) -> None:
    with pytest.raises(DataError, match="rows are not enough for one update"):
        run(tmp_path / "run", **{"training.batch_size": 64})


@pytest.mark.parametrize(
    "flags",
    [
        {"model.tuning": "full", "training.learning_rate": 1e-5},
        {"model.tuning": "dora", "training.gradient_checkpointing": True},
        {"grpo.loss_type": "dapo", "grpo.resample_flat_groups": 2, "grpo.beta": 0.0},
        {"grpo.mask_truncated_completions": True, "grpo.loss_type": "dr_grpo"},
        {"model.attention": "eager", "grpo.loss_type": "cispo"},
        {"model.quantization": "4bit", "grpo.importance_sampling_level": "sequence"},
    ],
    ids=["full", "dora", "dapo", "masked", "eager", "4bit"],
)
def test_variants_make_their_updates_on_finite_numbers(tmp_path, reward, flags) -> None:
    # Two updates on one rollout: the second has ratios, and a distance from the reference.
    short = {"training.max_steps": 2, "data.eval_fraction": 0.0, "save.steps": 9}
    run(tmp_path / "run", **{"reward.file": reward, **short, **flags})
    told = [line for line in lines(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert len(told) == 2
    assert all(np.isfinite([line["loss"], line["grad_norm"]]).all() for line in told)
    if flags.get("grpo.beta", 0.05) and "grpo.mask_truncated_completions" not in flags:
        assert told[0]["kl"] == pytest.approx(0.0, abs=1e-6)
        assert told[1]["kl"] > 0
