"""A pipeline that is killed again and again leaves what an undisturbed one leaves."""

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

pytest.importorskip("trl", reason="TRL needs Python 3.11")

CHECKOUT = Path(__file__).parents[2]
STAGES = ("sft", "dpo", "grpo")
SETTINGS = ("training.max_steps=4", "evaluation.max_samples=12", "evaluation.batch_size=1")
"""More moments to be killed at: an answer is written at a time."""
MOST_SECONDS = 600.0


def words(folder: Path) -> list[str]:
    found = ["--config", str(CHECKOUT / "tests" / "fixtures" / "tiny_pipeline.yaml")]
    found += ["--output_dir", str(folder), "--max_samples", "8"]
    return found + [word for setting in SETTINGS for word in ("--set", setting)]


def progress(folder: Path) -> int:
    """Count what is on the disk: records, answers and finished steps."""
    files = [*folder.glob("*/metrics.jsonl"), *folder.glob("evaluations/*/scenes/*.jsonl")]
    lines = sum(path.read_bytes().count(b"\n") for path in files)
    return lines + len(list(folder.glob("*/adapter_model.safetensors")))


def outcome(folder: Path):
    report = json.loads((folder / "report.json").read_text())
    return report["models"], [
        {name: points for name, points in stage["curves"].items() if "time" not in name}
        for stage in report["stages"]
    ]


@pytest.mark.long
def test_a_pipeline_killed_at_ten_moments_ends_as_if_it_had_not_been(forked_runs, tmp_path):
    once = tmp_path / "once"
    assert forked_runs.start(None, words(once)).wait() == 0, forked_runs.said()
    whole = progress(once)
    killed = tmp_path / "killed"
    draw = random.Random(20)
    for moment in sorted(draw.sample(range(1, whole), 10)):
        run = forked_runs.start(None, words(killed))
        started = time.monotonic()
        while run.alive() and progress(killed) < moment:
            assert time.monotonic() - started < MOST_SECONDS, forked_runs.said()
            time.sleep(0.01)
        run.send(signal.SIGKILL)
        assert run.wait() in (-signal.SIGKILL, 0), forked_runs.said()
    assert forked_runs.start(None, words(killed)).wait() == 0, forked_runs.said()
    for stage in STAGES:
        ours, theirs = (
            load_file(folder / stage / "adapter_model.safetensors") for folder in (killed, once)
        )
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours), stage
    assert outcome(killed) == outcome(once)
