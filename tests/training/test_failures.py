"""What ends a training: numbers that run away, memory and disk that run out, signals.

Nothing is simulated: rates are really too high, and the limits are those of the operating system.
"""

import importlib.util
import json
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vlmtune.training import checkpoints

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

SHORT = {
    "hardware.device": "cpu",
    "data.max_samples": 6,
    "data.eval_fraction": 0.0,
    "training.max_steps": 12,
    "training.batch_size": 2,
    "model.lora.rank": 4,
    "tracking.log_steps": 5,
    "save.steps": 1,
}
GROUPS = {
    "training.batch_size": 4,
    "grpo.num_generations": 4,
    "grpo.max_completion_length": 8,
    "grpo.beta": 0.1,
}
limited = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux limits a process that runs"
)


@pytest.fixture
def start(forked_runs, tmp_path):
    """Start a training in `tmp_path`/run."""

    def started(stage, **flags):
        settings = SHORT | (GROUPS if stage == "grpo" else {}) | flags
        words = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        return forked_runs.start(
            stage, [*words, "--backend=pytorch", f"--output_dir={tmp_path / 'run'}"]
        )

    return started


def complaint(said: str) -> str:
    """The one line that a failed run ends with."""
    told = [line for line in said.splitlines() if line.startswith("RunFailed: ")]
    assert len(told) == 1, said
    assert "Traceback" not in said
    return told[0]


def finite(checkpoint: Path) -> bool:
    weights = load_file(checkpoint / "adapter_model.safetensors")
    return all(np.isfinite(value).all() for value in weights.values())


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_a_rate_that_explodes_ends_the_run_and_names_the_rows(start, forked_runs, tmp_path, stage):
    assert start(stage, **{"training.learning_rate": 1e25}).wait() == 1
    told = complaint(forked_runs.said())
    assert "lower training.learning_rate" in told
    assert "on rows scenes/" in told or "the weight" in told
    assert all(map(finite, checkpoints.steps(tmp_path / "run")))
    found = json.loads((tmp_path / "run" / "run.json").read_text())
    assert found["status"] == "failed" and found["why"] in told


@limited
def test_memory_that_runs_out_ends_with_what_to_change(start, forked_runs):
    run = start("sft", **{"data.max_samples": 48, "training.batch_size": 48})
    # What the process has when it is forked, and room for the model, but not for such a batch.
    taken = int(Path(f"/proc/{run.process}/statm").read_text().split()[0]) * resource.getpagesize()
    room = taken + 300 * 2**20
    resource.prlimit(run.process, resource.RLIMIT_AS, (room, room))
    assert run.wait() == 1
    told = complaint(forked_runs.said())
    assert "out of memory at update 1 while learning" in told
    assert "lower training.batch_size" in told and "gradient_checkpointing" in told


@limited
def test_a_full_disk_leaves_the_last_checkpoint_whole(start, forked_runs, tmp_path):
    run = start("sft", **{"training.max_steps": 400})
    while run.alive() and not checkpoints.steps(tmp_path / "run"):
        time.sleep(0.01)
    # Smaller than the adapter, larger than run.json: the system refuses the next checkpoint.
    resource.prlimit(run.process, resource.RLIMIT_FSIZE, (50_000, 50_000))
    assert run.wait() == 1
    assert "nothing can be written" in complaint(forked_runs.said())
    kept = checkpoints.steps(tmp_path / "run")
    assert kept and all(map(finite, kept)) and all(map(checkpoints.check, kept))
    assert not (tmp_path / "run" / checkpoints.SCRATCH).exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])
def test_a_signal_ends_a_run_with_a_checkpoint_and_says_how_to_go_on(
    start, forked_runs, tmp_path, number, code
):
    run = start("grpo", **{"training.max_steps": 400, "save.steps": 500})
    while run.alive() and not (tmp_path / "run" / "metrics.jsonl").exists():
        time.sleep(0.01)
    run.send(number)
    assert run.wait() == code
    assert "a checkpoint is saved. Go on with --resume auto" in forked_runs.said()
    assert len(checkpoints.steps(tmp_path / "run")) == 1
    found = json.loads((tmp_path / "run" / "run.json").read_text())
    assert found["status"] == "stopped"
