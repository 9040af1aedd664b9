import pytest

from vlmtune.config import RunConfig
from vlmtune.training.findings import Status
from vlmtune.training.health import course, judge, read_lines

GRPO = RunConfig(stage="grpo")


def lines(**series):
    return [dict(zip(series, values, strict=True)) for values in zip(*series.values(), strict=True)]


def found(config, told):
    return {check.name: check for check in judge(config, told)}


def test_ends_are_the_first_and_last_fifth() -> None:
    # Ten lines: a fifth is two. Means of 0, 1 and of 8, 9; a straight line has no scatter.
    seen = course(lines(reward=list(range(10))), "reward")
    assert (seen.first, seen.last, seen.clear) == (0.5, 8.5, True)
    assert seen.told() == "rose from 0.5 to 8.5"


def test_scatter_is_no_trend() -> None:
    # Ends differ by 0.5 and the lines jump by 1: the first and the last two average 0.5 and 0.5.
    seen = course(lines(reward=[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), "reward")
    assert seen.verb == "stayed about the same"


def test_a_number_that_never_moves_has_no_trend() -> None:
    assert course(lines(reward=[0.3] * 10), "reward").verb == "stayed about the same"


def test_too_few_lines_say_nothing() -> None:
    assert course(lines(reward=[0.0, 1.0]), "reward") is None
    assert judge(GRPO, []) == ()


def test_a_healthy_run_has_no_warning() -> None:
    told = lines(
        **{
            "reward/mean": [0.2 + 0.05 * step for step in range(10)],
            "reward/flat_groups": [0.25] * 10,
            "kl": [0.01 * step for step in range(10)],
            "completions/mean_length": [20.0] * 10,
            "completions/truncated": [0.0] * 10,
            "clip_ratio/region_mean": [0.0] * 10,
        }
    )
    checks = found(GRPO, told)
    assert {check.status for check in checks.values()} == {Status.PASS}
    assert checks["reward"].detail.startswith("rose from 0.225 to 0.625")
    assert checks["flat_groups"].detail.startswith("25% of the groups drawn taught nothing")
    assert "every ratio is 1" in checks["clipped"].detail


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("reward", "reward/mean", [0.9 - 0.05 * step for step in range(10)]),
        ("flat_groups", "reward/flat_groups", [0.9] * 10),
        ("kl", "kl", [0.5 * step for step in range(10)]),
        ("length", "completions/mean_length", [40.0 - 4 * step for step in range(10)]),
        ("length", "completions/mean_length", [50.0 + 20 * step for step in range(10)]),
        ("cut_off", "completions/truncated", [0.5] * 10),
        ("clipped", "clip_ratio/region_mean", [0.4] * 10),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(name, key, values) -> None:
    check = found(GRPO, lines(**{key: values}))[name]
    assert check.status is Status.WARN
    assert "; " in check.detail


def test_a_supervised_run_is_judged_by_its_losses() -> None:
    told = lines(loss=[3.0 - 0.2 * step for step in range(10)])
    told += [{"eval_loss": 1.0}, {"eval_loss": 0.8}, {"eval_loss": 1.1}]
    checks = found(RunConfig(stage="sft"), told)
    assert checks["loss"].status is Status.PASS
    assert checks["held_out"].status is Status.WARN  # 1.1 is more than 5 % above 0.8
    assert "at best 0.8 in evaluation 2 of 3" in checks["held_out"].detail


def test_preferences_that_end_the_wrong_way_round_are_told() -> None:
    checks = found(RunConfig(stage="dpo"), lines(**{"rewards/accuracies": [0.4] * 10}))
    assert checks["preferred"].status is Status.WARN


def test_lines_are_read_from_the_run_and_a_run_without_any_has_none(tmp_path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    assert read_lines(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 2.0}]
    assert read_lines(tmp_path / "none.jsonl") == []
