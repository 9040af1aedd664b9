import math

import numpy as np
import pytest

from vlmtune.errors import ConfigError
from vlmtune.rewards import build_reward
from vlmtune.training.findings import Status
from vlmtune.training.grading import grade_groups, reward_checks
from vlmtune.types import Completion, Example, Finish, How, Kind, Reading, Score

EXAMPLES = (
    Example(id="a", question="How many dogs are there?", answer="3", kind=Kind.COUNT),
    Example(id="b", question="How many cats are there?", answer="5", kind=Kind.COUNT),
    Example(id="c", question="Is there a dog?", answer="yes", kind=Kind.YES_NO),
)


class Paying:
    """A reward that pays what a function of the completion says."""

    name = "paying"

    def __init__(self, pay) -> None:
        self.pay = pay

    def score(self, example: Example, completion: str) -> Score:
        value = self.pay(example, completion)
        return Score(
            value=value,
            parts={"accuracy": value},
            reading=Reading(value=None, how=How.UNREADABLE),
            why="",
        )


def said(*texts: str) -> list[Completion]:
    return [
        Completion(text=text, token_ids=(1, 0), logprobs=None, finish=Finish.STOP, seconds=0.0)
        for text in texts
    ]


def checked(reward) -> dict[str, Status]:
    graded = grade_groups(reward, EXAMPLES, [said("one", "two")] * 3)
    found = reward_checks(reward, EXAMPLES, graded, style="spatial-v1")
    return {check.name: check.status for check in found}


@pytest.mark.parametrize("name", ["spatial", "counting", "combined"])
def test_the_projects_own_rewards_pass_every_question(make_config, name) -> None:
    reward = build_reward(make_config("grpo", reward={"type": name}).reward)
    assert set(checked(reward).values()) == {Status.PASS}


def test_a_reward_that_pays_for_silence_fails() -> None:
    found = checked(Paying(lambda example, text: float(text == "" or example.answer in text)))
    assert found["empty_answer"] is Status.FAIL
    assert found["gold_answers"] is Status.PASS


def test_a_reward_that_pays_for_naming_everything_fails() -> None:
    found = checked(Paying(lambda example, text: float(str(example.answer) in text)))
    assert found["listed_answers"] is Status.FAIL


def test_a_reward_that_no_answer_can_please_fails() -> None:
    assert checked(Paying(lambda *_: 0.0))["gold_answers"] is Status.FAIL


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.5, 1.5])
def test_rewards_that_are_no_number_in_0_to_1_fail_and_train_as_0(bad) -> None:
    reward = Paying(lambda _, text: bad if text == "two" else 1.0)
    assert checked(reward)["rewards_valid"] is Status.FAIL
    graded = grade_groups(reward, EXAMPLES, [said("one", "two")] * 3)
    assert graded.rewards_PG.tolist() == [[1.0, 0.0]] * 3
    assert len(graded.invalid) == 3


def test_a_row_of_the_wrong_kind_is_named() -> None:
    examples = (Example(id="odd", question="How many?", answer="a few", kind=Kind.COUNT),)
    from vlmtune.rewards import CombinedRewardFunction

    reward = CombinedRewardFunction()
    graded = grade_groups(reward, examples, [said("3", "4")])
    found = {c.name: c for c in reward_checks(reward, examples, graded, style="spatial-v1")}
    assert found["gold_answers"].status is Status.FAIL
    assert "odd" in found["gold_answers"].detail


def test_a_reward_that_raises_stops_the_run() -> None:
    def broken(example, text):
        raise KeyError("typo")

    with pytest.raises(KeyError, match="typo"):
        checked(Paying(broken))


def test_an_unknown_reward_is_suggested(make_config) -> None:
    with pytest.raises(ConfigError, match="did you mean 'spatial'"):
        build_reward(make_config("grpo", reward={"type": "spacial"}).reward)


def test_parts_that_only_some_kinds_have_are_not_a_number_elsewhere(make_config) -> None:
    reward = build_reward(make_config("grpo").reward)
    graded = grade_groups(reward, EXAMPLES, [said("3", "4")] * 3)
    close = graded.part_PG("close")
    assert np.isnan(close[2]).all()
    assert not np.isnan(close[:2]).any()
