"""Answers to which no reward applies: a rehearsal and a training leave out the same ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from vlmtune import config_file
from vlmtune.errors import RewardError
from vlmtune.training import rehearsal, train

# None for every answer to one row, and for the second of each four to the others.
REWARD = """
def odd(completions, id, **kwargs):
    found = []
    for place, (text, name) in enumerate(zip(completions, id)):
        skipped = name.endswith("1") or place % 4 == 1
        found.append(None if skipped else (sum(map(ord, text)) % 97) / 97)
    return found
"""
RUN = {
    "stage": "grpo",
    "data.max_samples": 4,
    "data.eval_fraction": 0.0,
    "grpo.num_generations": 4,
    "grpo.max_completion_length": 12,
    "rehearsal.temperatures": [],
    "rehearsal.train_steps": 0,
}


@pytest.fixture
def reward(in_folder) -> str:
    (in_folder / "odd.py").write_text(REWARD)
    return "odd.py"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rehearse(console: Console, **flags) -> dict:
    rehearsal.run(
        config_file.load(None, flags={**RUN, "output_dir": "out", "debug": True, **flags}),
        console=console,
    )
    return json.loads(Path("out/run.json").read_text())


def check_groups(groups: list[dict]) -> None:
    """Every mean and advantage is that of the graded answers alone."""
    for group in groups:
        rewards = [answer["reward"] for answer in group["completions"]]
        gained = [answer["advantage"] for answer in group["completions"]]
        graded = np.array([reward for reward in rewards if reward is not None])
        if group["example_id"].endswith("1"):
            assert rewards == [None] * 4
            assert (group["reward_mean"], group["reward_std"]) == (None, None)
            assert group["flat"]
        else:
            assert [reward is None for reward in rewards] == [False, True, False, False]
            assert group["reward_mean"] == pytest.approx(graded.mean())
            assert group["reward_std"] == pytest.approx(graded.std(ddof=1))
            spread = graded.std(ddof=1) + 1e-4
            wanted = [0.0 if r is None else (r - graded.mean()) / spread for r in rewards]
            assert gained == pytest.approx(wanted, abs=1e-9)
        assert gained[1] == 0.0


def test_a_rehearsal_leaves_them_out_of_every_mean(reward, console) -> None:
    run = rehearse(console, backend="scripted", **{"reward.file": reward})
    groups = lines(Path("out/samples.jsonl"))
    check_groups(groups)
    # One row of four, and a quarter of the answers to the other three.
    assert run["metrics"]["reward/not_applicable"] == (4 + 3) / 16
    graded = [a["reward"] for g in groups for a in g["completions"] if a["reward"] is not None]
    assert run["metrics"]["reward/mean"] == pytest.approx(np.mean(graded))
    told = {check["name"]: check for check in run["checks"]}
    assert told["rewards_apply"]["status"] == "warn"
    assert "no reward applies to 7 of 16 answers" in told["rewards_apply"]["detail"]
    assert told["rewards_valid"]["detail"] == "all 9 rewards are numbers in [0, 1]"
    page = Path("out/report.html").read_text()
    assert "no reward applies" in page


def test_rows_that_no_reward_grades_at_all_fail_a_rehearsal(in_folder, console) -> None:
    (in_folder / "none.py").write_text(
        "def none(completions, **_): return [None for _ in completions]"
    )
    run = rehearse(console, backend="scripted", **{"reward.file": "none.py"})
    told = {check["name"]: check["status"] for check in run["checks"]}
    assert told["rewards_apply"] == told["rewards_vary"] == "fail"
    assert run["metrics"]["reward/mean"] is None
    assert "no reward applies" in Path("out/report.html").read_text()


def test_a_training_leaves_them_out_as_the_rehearsal_does(reward) -> None:
    pytest.importorskip("trl", reason="TRL needs Python 3.11")
    settings = {
        "backend": "pytorch",
        "hardware.device": "cpu",
        "output_dir": "trained",
        "reward.file": reward,
        "training.max_steps": 1,
        "training.batch_size": 8,
        "data.max_samples": 2,
        "training.learning_rate": 1e-3,
        "model.lora.rank": 4,
        "tracking.log_steps": 1,
        "grpo.log_completions": True,
    }
    train.run(config_file.load(None, flags={**RUN, **settings}), console=Console(quiet=True))
    groups = lines(Path("trained/samples.jsonl"))
    assert len(groups) == 2
    check_groups(groups)
    graded = [a["reward"] for g in groups for a in g["completions"] if a["reward"] is not None]
    told = next(line for line in lines(Path("trained/metrics.jsonl")) if "reward/mean" in line)
    assert told["reward/mean"] == pytest.approx(np.mean(graded))
    # TRL's own mean of what it was told, beside ours.
    assert told["reward"] == pytest.approx(np.mean(graded), abs=1e-6)
    assert told["reward/not_applicable"] == (4 + 1) / 8
    judged = json.loads(Path("trained/run.json").read_text())["result"]["health"]
    checks = {one["name"]: one["detail"] for one in judged}
    assert "no reward applied to 62% of the answers" in checks["not_graded"]


def test_a_class_that_gives_no_number_stops_the_run_and_is_not_taken_for_not_applicable(
    in_folder,
) -> None:
    pytest.importorskip("trl", reason="TRL needs Python 3.11")
    (in_folder / "bad.py").write_text(
        "from vlmtune.types import How, Reading, Score\n"
        "class Bad:\n"
        "    name = 'bad'\n"
        "    def score(self, example, completion):\n"
        "        reading = Reading(value=None, how=How.UNREADABLE)\n"
        "        return Score(value=float('nan'), parts={}, reading=reading, why='oh')\n"
        "def build(options):\n"
        "    return Bad()\n"
    )
    settings = {"backend": "pytorch", "hardware.device": "cpu", "output_dir": "trained",
                "reward.type": "bad.py", "training.max_steps": 1}  # fmt: skip
    with pytest.raises(RewardError, match=r"reward 'bad' gave nan \(oh\); a finite number"):
        train.run(config_file.load(None, flags={**RUN, **settings}), console=Console(quiet=True))
