"""Killed with SIGKILL at any moment, a run that goes on ends where an uninterrupted one does.

Every run has a process of its own and one thread: weights are equal bit by bit only where the
arithmetic is. The long test ends each stage several times, at moments drawn by a seed:

    loading      before the first update of that process
    updating     while an update is made, or its answers are drawn
    writing      while a checkpoint is being written
    finishing    while the finished model is being written
"""

import importlib.util
import json
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vlmtune.training import checkpoints

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

REWARD = '''
def sum_of_letters(completions, **kwargs):
    """Earn something different for nearly every answer."""
    return [(sum(map(ord, text)) % 97) / 97 for text in completions]
'''
SHARED = {
    "data.max_samples": 9,
    "data.eval_fraction": 0.2,
    "data.shuffle": True,
    "training.learning_rate": 1e-3,
    "training.warmup_steps": 3,
    "training.gradient_accumulation_steps": 2,
    "model.lora.rank": 4,
    "model.lora.dropout": 0.1,
    "evaluation.strategy": "steps",
    "evaluation.steps": 4,
    "evaluation.batch_size": 4,
    "tracking.log_steps": 2,
    "save.steps": 3,
    "save.keep": 2,
}
"""Lines of metrics span checkpoints, and passes over the rows end between them."""
STAGES = {
    "sft": {"training.batch_size": 1, "training.max_steps": 36},
    "dpo": {"training.batch_size": 2, "training.max_steps": 24},
    "grpo": {
        "training.batch_size": 4,
        "training.max_steps": 18,
        "grpo.num_generations": 4,
        "grpo.max_completion_length": 16,
        "grpo.num_iterations": 2,
        "grpo.beta": 0.05,
        "grpo.disable_dropout": False,
        "grpo.resample_flat_groups": 1,
        "grpo.temperature": 1.3,
        "tracking.sample_steps": 5,
    },
}
SMALL = {"model.max_pixels": 6272}
"""Smaller pictures, since MLX's arithmetic on Linux CPUs is slow."""
SHORT = SMALL | {
    "training.max_steps": 14,
    "training.gradient_accumulation_steps": 1,
    "save.steps": 2,
}
"""Fewer updates, for the same reason; three passes over the rows and seven checkpoints."""
CLOCK = ("runtime", "per_second", "step_time")
"""Parts of the names of metrics that a clock decides."""


@dataclass
class Course:
    """A run in one folder, in as many processes as it takes.

    Attributes:
        stage: Its stage.
        folder: Its folder.
        runs: Starts processes.
        more: Settings beside those of its stage.
        backend: What trains.
        kills: The moment of each kill, the updates behind it, and how the process ended.
    """

    stage: str
    folder: Path
    runs: Any
    more: dict
    backend: str = "pytorch"
    kills: list = field(default_factory=list)

    def _start(self):
        settings = SHARED | STAGES[self.stage] | self.more
        if self.backend == "pytorch":
            settings["hardware.device"] = "cpu"
        words = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        words += [f"--backend={self.backend}", f"--output_dir={self.folder}", "--resume=auto"]
        return self.runs.start(self.stage, words)

    def finish(self) -> None:
        code = self._start().wait()
        assert code == 0, self.runs.said()

    def kill(self, moment: str, *, after: int, delay: float) -> None:
        """Start, wait for the moment once `after` updates are on disk, and kill.

        The finished model is written in a few hundredths of a second. Who comes too late puts the
        folder back as it was, and comes earlier.
        """
        before = self.folder.with_name("before")
        if moment == "finishing":
            shutil.copytree(self.folder, before)
        while (
            (code := self._killed(moment, after, delay)) == 0 and before.exists() and delay > 1e-4
        ):
            shutil.rmtree(self.folder)
            shutil.copytree(before, self.folder)
            delay /= 4
        shutil.rmtree(before, ignore_errors=True)
        self.kills.append((moment, self._written(), code))
        for checkpoint in checkpoints.steps(self.folder):
            readable(checkpoint)

    def _killed(self, moment: str, after: int, delay: float) -> int:
        training = self._start()
        while training.alive() and not self._has_come(moment, after):
            time.sleep(0.001)
        time.sleep(delay)
        training.send(signal.SIGKILL)
        return training.wait()

    def _has_come(self, moment: str, after: int) -> bool:
        if moment == "loading":
            return (self.folder / "run.json").exists()
        if self._written() < after:
            return False
        scratch = self.folder / checkpoints.SCRATCH
        if moment == "writing":
            return any(scratch.glob("checkpoint-*/*"))
        if moment == "finishing":
            return (self.folder / ".model.building").exists()
        return not scratch.exists() or not any(scratch.glob("checkpoint-*"))

    def _written(self) -> int:
        """Count the updates that the metrics tell of."""
        try:
            lines = (self.folder / "metrics.jsonl").read_text().splitlines()
            return max((json.loads(line)["step"] for line in lines), default=0)
        except (OSError, ValueError):
            return 0


def readable(checkpoint: Path) -> None:
    """Load every file of a checkpoint."""
    assert checkpoints.check(checkpoint) == checkpoints.step_of(checkpoint)
    for path in checkpoint.iterdir():
        if path.suffix == ".safetensors":
            assert load_file(path)
        elif path.suffix in (".pt", ".pth"):
            with torch.serialization.safe_globals(
                [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.UInt32DType]
            ):
                assert torch.load(path, weights_only=True, map_location="cpu")
        elif path.suffix == ".json":
            json.loads(path.read_text())


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(folder: Path) -> list[dict]:
    return [
        {name: value for name, value in line.items() if not any(part in name for part in CLOCK)}
        for line in lines(folder / "metrics.jsonl")
    ]


def assert_equal_runs(one: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert told(one) == told(other)
    if (other / "samples.jsonl").exists():
        assert untimed(one) == untimed(other)
        pages = [sorted(path.name for path in (run / "samples").iterdir()) for run in (one, other)]
        assert pages[0] == pages[1]
    records = [json.loads((folder / "run.json").read_text()) for folder in (one, other)]
    assert all(record["status"] == "done" for record in records)
    assert records[0]["result"]["health"] == records[1]["result"]["health"]


def untimed(folder: Path) -> list[dict]:
    """Read the answers without the seconds that each took."""
    found = lines(folder / "samples.jsonl")
    for record in found:
        for answer in record["completions"]:
            answer.pop("seconds", None)
    return found


@pytest.fixture(scope="module")
def reward(tmp_path_factory) -> dict:
    path = tmp_path_factory.mktemp("reward") / "letters.py"
    path.write_text(REWARD)
    return {"reward.file": str(path)}


def more_of(stage: str, reward: dict) -> dict:
    return reward if stage == "grpo" else {}


def test_grpo_killed_while_a_checkpoint_is_written_ends_where_it_would_have(
    forked_runs, tmp_path, reward
):
    short = {**reward, "training.max_steps": 6}
    whole, cut = (Course("grpo", tmp_path / name, forked_runs, short) for name in ("whole", "cut"))
    whole.finish()
    cut.kill("writing", after=4, delay=0.005)
    cut.finish()
    assert_equal_runs(cut.folder, whole.folder)


def test_dpo_on_mlx_killed_while_a_checkpoint_is_written_ends_where_it_would_have(
    forked_runs, tmp_path
):
    short = {"training.max_steps": 6, **SMALL}
    whole, cut = (
        Course("dpo", tmp_path / name, forked_runs, short, "mlx") for name in ("whole", "cut")
    )
    whole.finish()
    cut.kill("writing", after=4, delay=0.002)
    cut.finish()
    assert_equal_runs(cut.folder, whole.folder)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["pytorch", "mlx"])
@pytest.mark.parametrize("work", [("sft", 7), ("dpo", 6), ("grpo", 7)], ids=lambda work: work[0])
def test_a_run_killed_again_and_again_ends_where_it_would_have(
    forked_runs, tmp_path, reward, work, backend
):
    stage, kills = work
    drawn = random.Random(f"{stage} 20")
    more = more_of(stage, reward) | (SHORT if backend == "mlx" else {})
    whole, cut = (
        Course(stage, tmp_path / name, forked_runs, more, backend) for name in ("whole", "cut")
    )
    whole.finish()
    updates = (STAGES[stage] | more)["training.max_steps"]
    moments = ["loading", "writing", "finishing"]
    moments += drawn.choices(["updating", "writing"], k=kills - len(moments))
    # In the order of the run, as each process gets further than the one before.
    places = sorted(drawn.sample(range(1, updates - 2), k=kills - 2))
    order = ["loading", *drawn.sample([*moments[3:], "writing"], k=kills - 2), "finishing"]
    for moment, place in zip(order, [0, *places, updates], strict=True):
        spread = {"loading": 2.0, "updating": 0.6, "writing": 0.03, "finishing": 0.02}[moment]
        cut.kill(moment, after=place, delay=drawn.random() * spread)
    cut.finish()
    print(backend, stage, cut.kills)
    assert sum(code == -signal.SIGKILL for _, _, code in cut.kills) == kills
    assert_equal_runs(cut.folder, whole.folder)
