"""GRPO whose completions vLLM draws: a real training, and the same one without vLLM."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
CONFIG = """
stage: grpo
backend: pytorch
seed: 5
model: {name: pico, tuning: lora, lora: {rank: 8, alpha: 16}}
data: {datasets: [scenes], max_samples: 16}
training: {batch_size: 16, max_steps: 4, learning_rate: 1.0e-3}
grpo: {num_generations: 8, max_completion_length: 40, beta: 0.02}
evaluation: {strategy: steps, steps: 2, batch_size: 8}
save: {steps: 100}
hardware: {device: cpu}
tracking: {log_steps: 1, sample_steps: null}
"""


def run(*words: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def train(folder: Path, *flags: str) -> list[dict[str, float]]:
    config = folder.parent / "grpo.yaml"
    config.write_text(CONFIG)
    run("scripts/train_grpo.py", "--config", config, "--output_dir", folder, *flags)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("runs")
    return {"vllm": place / "vllm", "transformers": place / "transformers"}


@pytest.fixture(scope="module")
def metrics(runs) -> dict[str, list[dict[str, float]]]:
    return {
        "vllm": train(runs["vllm"], "--set", "hardware.use_vllm=true"),
        "transformers": train(runs["transformers"]),
    }


def of(lines, name):
    return [line[name] for line in lines if name in line]


def test_the_rewards_are_those_of_a_run_without_vllm(metrics):
    for name in ("reward/mean", "completions/mean_length", "eval_reward/mean"):
        found, expected = (of(metrics[run], name) for run in ("vllm", "transformers"))
        assert len(found) >= 2
        assert found == pytest.approx(expected, abs=1e-6), name
    assert max(of(metrics["vllm"], "reward_std")) > 0


def test_the_weights_are_those_of_a_run_without_vllm(metrics, runs):
    found, expected = (load_file(runs[name] / "adapter_model.safetensors") for name in runs)
    assert found.keys() == expected.keys()
    moved = max(abs(found[name]).max() for name in found if "lora_B" in name)
    assert moved > 1e-3
    furthest = max(abs(found[name] - expected[name]).max() for name in found)
    assert furthest < 0.05 * moved


def test_vllm_and_the_trainer_agree_about_what_was_drawn(metrics):
    greatest = of(metrics["vllm"], "sampling/sampling_logp_difference/max")
    assert len(greatest) == 4
    assert max(greatest) < 1e-3
    ratios = of(metrics["vllm"], "sampling/importance_sampling_ratio/mean")
    assert ratios == pytest.approx([1.0] * 4, abs=1e-3)


def test_every_update_hands_a_small_adapter_over(metrics):
    # The second update's adapter is handed over for the evaluation, and the third draws with it.
    both = ("vllm/sync_{}", "eval_vllm/sync_{}")
    seconds = [one for name in both for one in of(metrics["vllm"], name.format("seconds"))]
    megabytes = [one for name in both for one in of(metrics["vllm"], name.format("megabytes"))]
    assert len(seconds) == len(megabytes) == 5
    assert all(0 < one < 10 for one in seconds)
    assert all(0.1 < one < 2 for one in megabytes)
    assert not of(metrics["transformers"], "vllm/sync_seconds")


def test_what_was_trained_is_evaluated_by_vllm_as_by_transformers(metrics, runs, tmp_path):
    common = ("--model_path", runs["vllm"], "--benchmarks", "scenes-vsr", "--max_samples", 40)
    run("scripts/evaluate.py", *common, "--use_vllm", "--output_dir", tmp_path / "vllm")
    run("scripts/evaluate.py", *common, "--backend", "pytorch", "--output_dir", tmp_path / "torch")
    answers, reports = {}, {}
    for name in ("vllm", "torch"):
        lines = (tmp_path / name / "scenes_vsr" / "predictions.jsonl").read_text().splitlines()
        answers[name] = [json.loads(line)["completion"] for line in lines]
        reports[name] = json.loads((tmp_path / name / "report.json").read_text())
    assert len(answers["vllm"]) == 40
    assert answers["vllm"] == answers["torch"]
    assert reports["vllm"]["backend"] == "pytorch with vLLM"


def test_a_server_that_draws_gives_the_same_rewards(metrics, runs, server_url):
    settings = ("use_vllm=true", "vllm_mode=server", f"vllm_server_url={server_url}")
    flags = [word for one in settings for word in ("--set", f"hardware.{one}")]
    found = train(runs["vllm"].parent / "server", *flags)
    for name in ("reward/mean", "completions/mean_length", "eval_reward/mean"):
        assert of(found, name) == pytest.approx(of(metrics["transformers"], name), abs=1e-6), name
    assert max(of(found, "sampling/sampling_logp_difference/max")) < 1e-3
