"""A run that lost its last updates makes them again bit by bit, whatever trains.

`test_kills.py` ends runs at any moment; here it is the kinds of weights that differ.
"""

import importlib.util
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

SHORT = {
    "data.max_samples": 9,
    "data.eval_fraction": 0.0,
    "training.max_steps": 4,
    "training.batch_size": 2,
    "training.learning_rate": 1e-3,
    "model.lora.rank": 4,
    "model.lora.dropout": 0.1,
    "tracking.log_steps": 1,
    "save.steps": 2,
}
WHOLE = {"model.tuning": "full", "training.learning_rate": 1e-4}
GROUPS = {
    "training.batch_size": 4,
    "grpo.num_generations": 4,
    "grpo.max_completion_length": 12,
    "grpo.temperature": 1.5,
    "grpo.beta": 0.04,
}
PARTS = {"model.freeze_vision": False, "model.freeze_projector": False}


@pytest.fixture(scope="module", params=["pytorch", pytest.param("mlx", marks=pytest.mark.long)])
def train(request, forked_runs):
    """Run a stage in a folder."""

    def trained(stage, folder, *words, **flags):
        settings = SHORT | (GROUPS if stage == "grpo" else {}) | flags
        if request.param == "pytorch":
            settings["hardware.device"] = "cpu"
        words = [*(f"--set={key}={json.dumps(value)}" for key, value in settings.items()), *words]
        words += [f"--backend={request.param}", "--dataset=scenes", f"--output_dir={folder}"]
        run = forked_runs.start(stage, words)
        assert run.wait() == 0, forked_runs.said()
        (weights,) = folder.glob("*model.safetensors")
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        kept = [{k: v for k, v in line.items() if not timed(k)} for line in lines]
        return load_file(weights), kept

    return trained


@pytest.fixture(scope="module")
def start(train, tmp_path_factory):
    """The adapter that a later stage begins with."""
    folder = tmp_path_factory.mktemp("start") / "sft"
    train("sft", folder)
    return folder


def timed(name: str) -> bool:
    """Whether a number is about the clock; transformers counts operations since the start."""
    return name.startswith("train_") or "time" in name or name == "total_flos"


def hold(train, folder, stage, **flags) -> None:
    """Train, take the last updates away, go on, and compare."""
    whole, cut = folder / "whole", folder / "cut"
    weights, lines = train(stage, whole, **flags)
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "checkpoints" / "step_000004")
    for path in cut.glob("*.safetensors"):
        path.unlink()
    again, said = train(stage, cut, "--resume=must", **flags)
    assert json.loads((cut / "run.json").read_text())["resumed_from"].endswith("step_000002")
    assert said == lines
    assert weights.keys() == again.keys()
    assert [name for name in weights if not np.array_equal(weights[name], again[name])] == []


@pytest.mark.parametrize(
    ("stage", "flags"),
    [
        ("sft", WHOLE),
        ("dpo", WHOLE),
        ("grpo", WHOLE),
        ("sft", PARTS),
        ("sft", {"model.tuning": "dora"}),
        ("sft", {"model.quantization": "4bit"}),
    ],
    ids=["sft-full", "dpo-full", "grpo-full", "parts", "dora", "4bit"],
)
def test_updates_that_were_lost_are_made_again(train, tmp_path, stage, flags) -> None:
    hold(train, tmp_path, stage, **flags)


@pytest.mark.parametrize("way", ["stack", "merge"])
def test_so_are_those_over_an_adapter(train, start, tmp_path, way) -> None:
    hold(train, tmp_path, "dpo", **{"model.start_from": str(start), "model.start_adapter": way})
