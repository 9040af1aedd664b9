"""What metrics.jsonl says of a stage is the same on both engines, line by line."""

import importlib.util
import json

import pytest

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

SHARED = {
    "data.max_samples": 10,
    "data.eval_fraction": 0.3,
    "training.max_steps": 3,
    "training.batch_size": 2,
    "training.gradient_accumulation_steps": 2,
    "training.learning_rate": 1e-4,
    "evaluation.strategy": "steps",
    "evaluation.steps": 3,
    "evaluation.batch_size": 2,
    "tracking.log_steps": 1,
}
"""Three rows are held out, in batches of two: the last one is short.

Not all groups may be flat: of a gradient that is but rounding, Adam makes steps of its rate.
"""
STAGES = {
    "sft": {},
    "dpo": {"dpo.beta": 0.5},
    "grpo": {
        "training.batch_size": 16,
        "training.gradient_accumulation_steps": 1,
        "evaluation.batch_size": 8,
        "grpo.num_generations": 4,
        "grpo.max_completion_length": 24,
        "grpo.num_iterations": 2,
        "grpo.beta": 0.04,
    },
}
WATCHED = {
    "sft": {"loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens",
            "eval_loss", "eval_entropy", "eval_mean_token_accuracy"},
    "dpo": {"loss", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens", "logits/chosen",
            "logits/rejected", "logps/chosen", "logps/rejected", "rewards/margins", "eval_loss",
            "eval_logits/rejected", "eval_rewards/margins", "eval_entropy"},
    "grpo": {"loss", "grad_norm", "entropy", "num_tokens", "kl", "reward/mean",
             "reward/flat_groups", "clip_ratio/region_mean", "completions/mean_length",
             "completions/truncated", "eval_reward/mean", "eval_reward/flat_groups",
             "eval_completions/max_length"},
}  # fmt: skip
DRAWN = {"num_tokens"}
"""What TRL leaves out of the lines of updates that draw nothing."""
OWN = ("_runtime", "_per_second", "total_flos", "eval_num_tokens", "step_time")


@pytest.fixture
def lines(forked_runs, tmp_path):
    """Train on an engine and hand out its lines."""

    def trained(stage, engine):
        settings = SHARED | STAGES[stage]
        if engine == "pytorch":
            settings = {**settings, "hardware.device": "cpu"}
        folder = tmp_path / engine
        words = [
            *(f"--set={key}={json.dumps(value)}" for key, value in settings.items()),
            f"--backend={engine}",
            "--dataset=scenes",
            f"--output_dir={folder}",
        ]
        run = forked_runs.start(stage, words, folder=str(tmp_path))
        assert run.wait() == 0, forked_runs.said()
        text = (folder / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    return trained


@pytest.mark.parametrize("stage", list(STAGES))
def test_numbers_are_the_same_on_both_engines(lines, stage) -> None:
    one, other = (lines(stage, engine) for engine in ("pytorch", "mlx"))
    assert [line["step"] for line in one] == [line["step"] for line in other]
    compared = set()
    for mine, yours in zip(one, other, strict=True):
        assert {name for name in yours if not name.endswith(OWN)} <= set(mine) | DRAWN
        for name in set(mine) & set(yours):
            if not name.endswith(OWN):
                assert mine[name] == pytest.approx(yours[name], rel=1e-4, abs=2e-5), name
                compared.add(name)
    assert WATCHED[stage] <= compared
