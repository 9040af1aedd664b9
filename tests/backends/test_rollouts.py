"""Groups are drawn, graded and replaced; the model is a script and the reward counts letters."""

from dataclasses import replace

import numpy as np
import pytest

from vlmtune.backends.rollouts import advantages, roll_out
from vlmtune.language.prompts import build
from vlmtune.types import Completion, Example, Finish, How, Prompt, Reading, Sampling, Score

PROMPTS = [
    build(Example(id=f"row/{row}", question=f"Question {row}?"), style="direct-v1")
    for row in range(6)
]


class Echo:
    """A generator whose answers to a row depend on the row, the place in the group and the seed."""

    def __init__(self, flat=()) -> None:
        self.flat, self.asked, self.seeds = flat, [], []

    def generate(self, prompts, sampling, *, progress=None):
        self.asked += [prompt.example_id for prompt in prompts]
        self.seeds.append(sampling.seed)
        return [[self._answer(prompt, place) for place in range(sampling.samples)]
                for prompt in prompts]  # fmt: skip

    def _answer(self, prompt: Prompt, place: int) -> Completion:
        text = "x" * (1 if int(prompt.example_id[-1]) in self.flat else place)
        cut = Finish.LENGTH if place == 3 else Finish.STOP
        return Completion(text=text, token_ids=(7,), logprobs=None, finish=cut, seconds=0.0)


def grade(prompts, completions):
    return [[score(answer.text) for answer in group] for group in completions]


def score(text: str) -> Score:
    how = How.PHRASE if text else How.UNREADABLE
    value = len(text) / 4
    return Score(value=value, parts={"size": value}, reading=Reading(value=text, how=how), why="")


def drawn(generator, rows, *, number=0, resample=0):
    return roll_out(
        generator, rows, PROMPTS, grade=grade, sampling=Sampling(samples=4, seed=3),
        number=number, resample=resample,
    )  # fmt: skip


def test_rows_keep_their_order_and_rewards_are_the_scores() -> None:
    found = drawn(Echo(), [4, 1])
    assert [group.row for group in found.groups] == [4, 1]
    assert found.rewards_PG.tolist() == [[0.0, 0.25, 0.5, 0.75]] * 2
    assert (found.drawn, found.flat) == (2, 0)


def test_each_drawing_has_its_own_seed_and_the_same_one_when_it_is_repeated() -> None:
    first, second, again = Echo(), Echo(), Echo()
    drawn(first, [0])
    drawn(second, [0], number=1)
    drawn(again, [0])
    assert first.seeds == again.seeds != second.seeds


def test_flat_groups_stay_unless_asked_otherwise() -> None:
    found = drawn(Echo(flat={2}), [2, 0])
    assert [group.flat for group in found.groups] == [True, False]
    assert found.metrics()["reward/flat_groups"] == 0.5


def test_a_flat_group_makes_room_for_another_prompt() -> None:
    generator = Echo(flat={2})
    found = drawn(generator, [2, 0], resample=1)
    assert found.groups[0].row not in (0, 2)
    assert found.groups[1].row == 0
    assert generator.asked[:2] == ["row/2", "row/0"]
    assert (found.drawn, found.flat) == (3, 1)
    assert found.metrics()["reward/resampled_groups"] == 1.0
    assert found.metrics()["reward/flat_groups"] == pytest.approx(1 / 3)
    assert found.metrics()["reward/flat_groups_left"] == 0.0


def test_replacement_ends_after_so_many_times_and_asks_no_prompt_twice() -> None:
    generator = Echo(flat=set(range(6)))
    assert drawn(generator, [0, 1], resample=1).drawn == 4
    everything = Echo(flat=set(range(6)))
    found = drawn(everything, [0, 1], resample=9)
    # Four other prompts are there: two replacements, two more, and none is left.
    assert found.drawn == 6
    assert sorted(everything.asked) == [f"row/{row}" for row in range(6)]


def test_metrics_count_what_was_cut_and_what_could_not_be_read() -> None:
    metrics = drawn(Echo(), [0]).metrics()
    assert metrics["answers/unreadable"] == 0.25  # the empty answer
    assert metrics["completions/truncated"] == 0.25  # the fourth
    assert metrics["reward/mean"] == metrics["reward/parts/size"] == 0.375


def partly(prompts, completions):
    """Grade the answers of two letters and of three; to the others no reward applies."""
    return [[replace(score(one.text), applies=len(one.text) > 1) for one in group]
            for group in completions]  # fmt: skip


def test_answers_that_no_reward_applies_to_are_in_no_mean() -> None:
    found = roll_out(
        Echo(flat={2}), [0, 2], PROMPTS, grade=partly, sampling=Sampling(samples=4, seed=3),
        number=0,
    )  # fmt: skip
    assert np.array_equal(
        found.rewards_PG, [[np.nan, np.nan, 0.5, 0.75], [np.nan] * 4], equal_nan=True
    )
    metrics = found.metrics()
    assert metrics["reward/mean"] == metrics["reward/parts/size"] == 0.625
    assert metrics["answers/unreadable"] == 0.0  # the empty answer was not graded
    assert metrics["reward/not_applicable"] == 0.75
    # A group that nothing was said about teaches nothing, and makes room like any other.
    assert [group.flat for group in found.groups] == [False, True]
    # mean 0.625, sample deviation 0.1767767: 0.125 / (0.1767767 + 0.0001)
    gained = advantages(found.rewards_PG, scale="group")
    assert gained == pytest.approx(np.array([[0, 0, -0.7067069, 0.7067069], [0] * 4]))


def test_a_drawing_that_no_reward_applies_to_has_no_mean() -> None:
    found = roll_out(
        Echo(flat={2}), [2], PROMPTS, grade=partly, sampling=Sampling(samples=4), number=0
    )
    assert "reward/mean" not in found.metrics()
    assert found.metrics()["reward/not_applicable"] == 1.0


def test_advantages_are_those_of_the_objectives() -> None:
    # mean 0.5, sample deviation 0.5773503: 0.5 / (0.5773503 + 0.0001)
    assert advantages([[1.0, 0.0, 1.0, 0.0]], scale="group")[0, 0] == pytest.approx(0.8658754)
