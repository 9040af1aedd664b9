import json
import re

import pytest

from vlmtune import objectives
from vlmtune.backends import scripted
from vlmtune.errors import ConfigError, DataError
from vlmtune.training import rehearsal
from vlmtune.training.findings import Status

RUN_KEYS = {
    "stage", "backend", "model", "config", "versions", "checks", "metrics", "seconds", "status",
}  # fmt: skip
SAMPLE_KEYS = {"example_id", "kind", "prompt", "answer", "images", "completions"}
COMPLETION_KEYS = {
    "text", "finish", "tokens", "reward", "parts", "reading", "why", "advantage",
}  # fmt: skip


def refuse_constant(name: str):
    raise AssertionError(f"{name} in JSON")


def read(folder):
    run = json.loads((folder / "run.json").read_text(), parse_constant=refuse_constant)
    lines = (folder / "samples.jsonl").read_text().split("\n")
    return run, [json.loads(line, parse_constant=refuse_constant) for line in lines if line]


def statuses(outcome) -> dict[str, Status]:
    return {check.name: check.status for check in outcome.checks}


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_every_stage_leaves_the_promised_files(make_config, console, in_folder, stage) -> None:
    outcome = rehearsal.run(make_config(stage), console=console, notes=["a note"])
    assert outcome.ok
    run, samples = read(in_folder / "out")
    assert run.keys() >= RUN_KEYS
    assert (run["stage"], run["backend"]) == (stage, "scripted")
    assert run["model"]["name"] == "scripted"
    assert run["model"]["parameters"] == 0
    assert run["config"]["data"]["datasets"][0]["name"] == "rows.jsonl"
    assert run["notes"] == ["a note"]
    assert {*map(frozenset, run["checks"])} == {frozenset({"name", "status", "detail"})}
    assert [sample["example_id"] for sample in samples] == [f"row/{i}" for i in range(4)]
    for sample in samples:
        assert sample.keys() >= SAMPLE_KEYS
        assert all(completion.keys() >= COMPLETION_KEYS for completion in sample["completions"])
    assert outcome.report.read_text().startswith("<!doctype html>")
    assert str(outcome.report) in console.file.getvalue()


def test_records_hold_what_the_objectives_say(make_config, console, in_folder) -> None:
    rehearsal.run(make_config("grpo", grpo={"num_generations": 6}), console=console)
    run, samples = read(in_folder / "out")
    rewards = [[answer["reward"] for answer in sample["completions"]] for sample in samples]
    advantages = objectives.group_advantages(rewards)
    assert len(rewards[0]) == 6
    for sample, expected in zip(samples, advantages.tolist(), strict=True):
        found = [answer["advantage"] for answer in sample["completions"]]
        assert found == pytest.approx(expected)
    flat = objectives.flat_groups(rewards)
    assert run["metrics"]["reward/flat_groups"] == flat.mean()
    assert run["metrics"]["reward/mean"] == pytest.approx(sum(map(sum, rewards)) / 24)
    assert run["estimates"]["flat_groups"]["n"] == 4


def test_equal_seeds_give_equal_files_but_for_the_seconds(make_config, console, in_folder) -> None:
    rehearsal.run(make_config("grpo"), console=console)
    first, samples = read(in_folder / "out")
    page = timeless(in_folder / "out" / "report.html")
    rehearsal.run(make_config("grpo"), console=console)
    second, again = read(in_folder / "out")
    assert samples == again
    assert first | {"seconds": 0} == second | {"seconds": 0}
    assert timeless(in_folder / "out" / "report.html") == page


def timeless(page) -> str:
    return re.sub(r"\b\d+\.\d s\b|Seconds</dt><dd>[\d.]+", "", page.read_text())


def test_temperatures_and_group_sizes_are_those_of_the_config(
    make_config, console, in_folder
) -> None:
    looked = {"temperatures": [0.3, 1.0], "forecast_generations": [3, 9], "forecast_prompts": 2}
    rehearsal.run(make_config("grpo", rehearsal=looked), console=console)
    measured = read(in_folder / "out")[0]["details"]["temperatures"]
    assert [(m["temperature"], m["prompts"], m["chosen"]) for m in measured] == [
        (0.3, 2, False),
        (1.0, 4, True),
    ]
    assert [[point["generations"] for point in m["forecast"]] for m in measured] == [[3, 9]] * 2


def test_rows_left_out_are_a_warning_with_the_reason(
    make_config, console, in_folder, rows, write
) -> None:
    good = {"kind": "count", "prompt": "How many?", "answer": "2"}
    write(rows, [good, {"kind": "count", "prompt": "No answer"}, good])
    outcome = rehearsal.run(make_config("grpo"), console=console)
    assert outcome.ok
    assert statuses(outcome)["rows_skipped"] is Status.WARN
    run, _ = read(in_folder / "out")
    assert run["status"] == "warn"
    assert run["data"]["skipped"] == 1
    assert "no answer" in json.dumps(run["data"]["sources"])


def test_a_reward_without_variance_fails_the_run(make_config, console, in_folder) -> None:
    (in_folder / "half.py").write_text(
        "from vlmtune.types import How, Reading, Score\n"
        "class Half:\n"
        "    name = 'half'\n"
        "    def score(self, example, completion):\n"
        "        reading = Reading(value=None, how=How.UNREADABLE)\n"
        "        return Score(value=0.5, parts={}, reading=reading, why='')\n"
        "def build(options):\n"
        "    return Half()\n"
    )
    outcome = rehearsal.run(make_config("grpo", reward={"type": "half.py"}), console=console)
    assert not outcome.ok
    found = statuses(outcome)
    assert found["flat_groups"] is found["rewards_vary"] is Status.FAIL
    assert read(in_folder / "out")[0]["status"] == "fail"
    assert "FAIL flat_groups" in console.file.getvalue()


def test_a_reward_that_returns_nan_fails_the_run_and_leaves_valid_json(
    make_config, console, in_folder
) -> None:
    (in_folder / "nan.py").write_text(
        "from vlmtune.types import How, Reading, Score\n"
        "class Nan:\n"
        "    name = 'nan'\n"
        "    def score(self, example, completion):\n"
        "        reading = Reading(value=None, how=How.UNREADABLE)\n"
        "        return Score(value=float('nan'), parts={'accuracy': float('nan')},\n"
        "                     reading=reading, why='')\n"
        "def build(options):\n"
        "    return Nan()\n"
    )
    outcome = rehearsal.run(make_config("grpo", reward={"type": "nan.py"}), console=console)
    assert statuses(outcome)["rewards_valid"] is Status.FAIL
    _, samples = read(in_folder / "out")
    assert samples[0]["completions"][0]["reward"] is None


def test_rows_that_are_too_long_are_reported(make_config, console) -> None:
    config = make_config("sft", training={"max_length": 30})
    outcome = rehearsal.run(config, console=console)
    assert statuses(outcome)["length"] is Status.FAIL


def test_sft_says_what_is_trained_and_what_is_masked(make_config, console, in_folder) -> None:
    rehearsal.run(make_config("sft"), console=console)
    run, samples = read(in_folder / "out")
    # The answer "2" is one word, and the end token.
    assert samples[0]["target"] == samples[0]["target"] | {"text": "2", "tokens": 2}
    assert samples[0]["target"]["masked_tokens"] == samples[0]["prompt_tokens"] > 16
    assert samples[0]["image_tokens"] == 16
    assert samples[0]["style"] == "direct-v1"
    assert run["metrics"]["tokens/target"] == sum(sample["target"]["tokens"] for sample in samples)


def test_sft_loss_is_minus_the_mean_logprob(make_config, console, in_folder) -> None:
    from vlmtune.config import RunConfig
    from vlmtune.data.load import load_examples
    from vlmtune.training.sft_rehearsal import prompts_and_targets

    config: RunConfig = make_config("sft")
    rehearsal.run(config, console=console)
    examples = load_examples(config).examples
    asked, targets = prompts_and_targets(examples, style=config.prompt.style)
    expected = scripted.load_generator("any").score(asked, targets)
    found = [sample["target"]["loss"] for sample in read(in_folder / "out")[1]]
    assert found == pytest.approx([-sum(logs) / len(logs) for logs in expected])


def test_dpo_measures_both_sides_and_their_margin(make_config, console, in_folder) -> None:
    outcome = rehearsal.run(make_config("dpo"), console=console)
    assert statuses(outcome)["pairs_distinct"] is Status.PASS
    pair = read(in_folder / "out")[1][0]["pair"]
    assert (pair["chosen"]["text"], pair["rejected"]["text"]) == ("2", "nothing at all")
    assert pair["margin"] == pytest.approx(pair["chosen"]["logprob"] - pair["rejected"]["logprob"])
    # "2" and the end token, "nothing at all" and the end token
    assert (pair["chosen"]["tokens"], pair["rejected"]["tokens"]) == (2, 4)
    assert pair["chosen"]["logprob_per_token"] == pytest.approx(pair["chosen"]["logprob"] / 2)


def test_pairs_that_differ_in_dots_and_case_only_are_a_warning(
    make_config, console, rows, write
) -> None:
    same = {"prompt": "Where?", "answer": "On the left.", "rejected": "on the LEFT"}
    other = {"prompt": "Where?", "answer": "left", "rejected": "right"}
    write(rows, [same, other])
    outcome = rehearsal.run(make_config("dpo"), console=console)
    assert statuses(outcome)["pairs_distinct"] is Status.WARN


def test_a_foreign_folder_is_refused_before_anything_is_loaded(
    make_config, console, in_folder
) -> None:
    (in_folder / "out").mkdir()
    (in_folder / "out" / "thesis.tex").write_text("mine")
    config = make_config("grpo", data={"datasets": [{"name": "missing.jsonl"}]})
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        rehearsal.run(config, console=console)
    assert "loading" not in console.file.getvalue()


def test_a_missing_dataset_leaves_the_old_output(make_config, console, in_folder) -> None:
    rehearsal.run(make_config("grpo"), console=console)
    before = (in_folder / "out" / "run.json").read_text()
    with pytest.raises((ConfigError, DataError)):
        rehearsal.run(
            make_config("grpo", data={"datasets": [{"name": "missing.jsonl"}]}), console=console
        )
    assert (in_folder / "out" / "run.json").read_text() == before


def test_a_smaller_run_replaces_a_larger_one_whole(make_config, console, in_folder) -> None:
    rehearsal.run(make_config("grpo"), console=console)
    fewer = {"datasets": [{"name": "rows.jsonl"}], "max_samples": 1}
    rehearsal.run(make_config("grpo", data=fewer), console=console)
    assert len(read(in_folder / "out")[1]) == 1
    assert "row/3" not in (in_folder / "out" / "report.html").read_text()
