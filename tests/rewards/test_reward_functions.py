"""The reward classes: weights, parts, and the way trainers call them."""

import math

import numpy as np
import pytest

from vlmtune import discovery
from vlmtune.errors import ConfigError, DataError
from vlmtune.rewards import (
    CombinedRewardFunction,
    CountingRewardFunction,
    FormatReward,
    SpatialRewardFunction,
)
from vlmtune.types import Example, Kind, Verdict

DOGS = "How many dogs are in the image?"
CAT = "Where is the cat relative to the dog?"
CLASSES = (SpatialRewardFunction, CountingRewardFunction, CombinedRewardFunction)


def tagged(answer: str) -> str:
    return f"<think>I look.</think><answer>{answer}</answer>"


def example(kind: Kind, question: str, answer: str | None) -> Example:
    return Example(id="rows/7", question=question, answer=answer, kind=kind)


def test_accuracy_earns_nine_tenths_and_form_one_tenth() -> None:
    row = example(Kind.RELATION, CAT, "left of")
    score = SpatialRewardFunction().score
    assert score(row, tagged("left")).value == pytest.approx(1.0)
    assert score(row, "left").value == pytest.approx(0.9)
    assert score(row, tagged("right")).value == pytest.approx(0.1)
    assert score(row, "right").value == 0


def test_the_spatial_reward_shows_exact_words_beside_the_relation() -> None:
    row = example(Kind.RELATION, CAT, "left of")
    parts = SpatialRewardFunction().score(row, tagged("left of")).parts
    assert (parts["exact"], parts["relation"], parts["accuracy"]) == (1, 1, 1)
    parts = SpatialRewardFunction().score(row, tagged("the dog is right of the cat")).parts
    assert (parts["exact"], parts["relation"], parts["accuracy"]) == (0, 1, 1)


@pytest.mark.parametrize("answer", ["2", "4", "four", "bốn", "There are 4 dogs."])
def test_a_single_count_off_by_one_earns_a_fifth_and_no_accuracy(answer) -> None:
    score = CountingRewardFunction().score(example(Kind.COUNT, DOGS, "3"), answer)
    assert score.value == pytest.approx(0.9 * 0.2)
    assert score.parts["accuracy"] == 0
    assert score.parts["close"] == 0.2
    assert score.verdict is Verdict.WRONG


@pytest.mark.parametrize(
    "answer",
    ["4 or 5", "2, 4", "about 4", "3-4", "2 to 4", "at least 4", "maybe 4", "5", "1", "", "4 cats",
     "-2", "4th", "2, 3, 4", "not 4", "khoảng 4"],
)  # fmt: skip
def test_lists_ranges_hedges_and_far_counts_are_never_close(answer) -> None:
    score = CountingRewardFunction(format_weight=0).score(example(Kind.COUNT, DOGS, "3"), answer)
    assert score.value == 0


def test_the_credit_for_a_close_count_can_be_switched_off() -> None:
    reward = CountingRewardFunction(close_count=0)
    assert reward.score(example(Kind.COUNT, DOGS, "3"), "4").value == 0


def test_combined_weighs_by_kind() -> None:
    reward = CombinedRewardFunction()
    assert reward.score(example(Kind.COUNT, DOGS, "3"), "4").value == pytest.approx(0.18)
    assert "relation" in reward.score(example(Kind.RELATION, CAT, "left"), "left").parts
    caption = reward.score(example(Kind.CAPTION, "Describe.", "A cat."), "a cat")
    assert caption.value == 1
    assert caption.parts["format"] == 0


def test_the_format_reward_pays_for_form_alone() -> None:
    row = example(Kind.COUNT, DOGS, "3")
    assert FormatReward().score(row, tagged("5")).value == 1
    assert FormatReward().score(row, tagged("5")).parts["accuracy"] == 0
    assert FormatReward().score(row, "3").value == 0
    assert FormatReward()(prompts=["x"], completions=[tagged("5")]) == [1.0]


@pytest.mark.parametrize("reward", [make() for make in (*CLASSES, FormatReward)])
def test_trainers_find_a_name_to_log(reward) -> None:
    assert reward.__name__ == reward.name
    assert type(reward).__name__.startswith(reward.name.capitalize())


@pytest.mark.parametrize("reward", [make() for make in CLASSES])
def test_a_trainer_calls_it_with_columns_and_everything_else(reward) -> None:
    values = reward(
        prompts=["p", [{"role": "user", "content": [{"type": "text", "text": DOGS}]}], "p"],
        completions=[
            tagged("left"),
            [{"role": "assistant", "content": tagged("three")}],
            "nothing",
        ],
        completion_ids=[[1], [2], [3]],
        answer=["left of", "3", "yes"],
        kind=["relation", "count", "yes_no"],
        question=[CAT, DOGS, "Is it?"],
        choices=[[], None, []],
        images=[None, None, None],
        trainer_state=object(),
        log_extra=print,
        log_metric=print,
    )
    assert values == pytest.approx([1.0, 1.0, 0.0])
    assert all(type(value) is float and math.isfinite(value) for value in values)


@pytest.mark.parametrize("name", ["answer", "solution", "ground_truth", "expected_answer"])
def test_the_gold_column_has_several_names(name) -> None:
    columns = {name: ["<answer>left</answer>"]}
    assert SpatialRewardFunction()(prompts=[CAT], completions=["left"], **columns) == [0.9]


def test_columns_may_be_arrays() -> None:
    values = CombinedRewardFunction()(
        prompts=[DOGS, DOGS], completions=["3", "5"], answer=np.array(["3", "3"])
    )
    assert values == [0.9, 0.0]


def test_kind_and_options_are_found_when_no_column_says_them() -> None:
    asked = "How many organs? Select from the following choices.\n(A) 3\n(B) 2\n(C) 1\n(D) 0"
    values = CombinedRewardFunction(format_weight=0)(
        prompts=[CAT, DOGS, "Is it?", asked, asked, "What?"],
        completions=["bên trái", "three", "yes", "(C)", "3", "Red"],
        answer=["left", "3", "true", "(C)", "(C)", "red"],
    )
    assert values == [1, 1, 1, 1, 0, 1]


def test_a_batch_without_gold_names_the_columns_that_are_there() -> None:
    expected = "rewards need a column answer, .* or expected_answer; found images, label"
    with pytest.raises(DataError, match=expected):
        CombinedRewardFunction()(prompts=["p"], completions=["x"], images=[1], label=["left"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"answer": [None]}, "column 'answer' has NoneType in row 0"),
        ({"answer": [["left"]]}, "column 'answer' has list in row 0"),
        ({"answer": "left"}, "column 'answer' is str"),
        ({"answer": ["left", "left"]}, "column 'answer' has 2 rows for 1 completions"),
        ({"answer": ["left"], "kind": ["nonsense"]}, "kind 'nonsense' is unknown"),
    ],
)
def test_columns_that_cannot_be_graded_are_named(columns, message) -> None:
    with pytest.raises(DataError, match=message):
        SpatialRewardFunction()(prompts=["p"], completions=["left"], **columns)


def test_a_row_without_answer_is_an_error_not_a_zero() -> None:
    with pytest.raises(DataError, match="row rows/7 has no answer"):
        CombinedRewardFunction().score(example(Kind.COUNT, DOGS, None), "3")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format_weight": 0.3}, "format_weight is 0.3"),
        ({"format_weight": -0.1}, "format_weight is -0.1"),
        ({"close_count": 0.3}, "close_count is 0.3"),
        ({"closeness": 1}, "has no option 'closeness'"),
    ],
)
def test_a_weight_that_could_outrank_correctness_is_refused(options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        discovery.load("reward", "combined").build(options)


def test_rewards_are_found_by_their_file_name() -> None:
    ours = {"combined", "counting", "format", "spatial"}
    assert ours <= set(discovery.available("reward"))
    options = {"type": "any", "format_weight": 0.05, "close_count": 0.1}
    for name in sorted(ours):
        assert discovery.load("reward", name).build(options).name == name
