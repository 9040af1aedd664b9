"""The format of any tag set and order."""

import pytest

from vlmtune import discovery
from vlmtune.errors import ConfigError
from vlmtune.rewards import FormatReward

THREE = "<think>a</think><answer>b</answer><explain>c</explain>"
TWO = "<think>a</think><answer>b</answer>"
EXPLAINED = "<answer>b</answer><explain>because</explain>"


def pays(said: str, *tags: str, gold: str | None = None) -> float:
    columns = {} if gold is None else {"solution": [gold]}
    return FormatReward(tags=tags or None)(prompts=["?"], completions=[said], **columns)[0]


def test_tags_are_asked_for_in_their_order() -> None:
    assert pays(THREE, "think", "answer", "explain") == 1.0
    assert pays("\n<THINK>a</Think> <answer>b</answer>\n<explain>c</explain> ", "think", "answer",
                "explain") == 1.0  # fmt: skip
    assert pays(THREE, "answer", "think", "explain") == 0.0
    assert pays("<answer>b</answer><think>a</think>", "answer", "think") == 1.0
    assert pays("<answer>b</answer>", "answer") == 1.0


@pytest.mark.parametrize(
    "said",
    ["", TWO, "<think>a</think><explain>c</explain>", THREE + "!", "x" + THREE, THREE + THREE,
     "<think>a</think><answer>b</answer>and<explain>c</explain>",
     "<think>a</think><answer> </answer><explain>c</explain>",
     "<think>a</think><answer>b</answer><explain>\u200b</explain>",
     "<think>a<answer>b</answer></think><explain>c</explain>",
     "<think>a</think><answer>b</answer><explain>c", f"{TWO}c</explain>",
     THREE.replace("<explain>", "<explain >"), THREE.replace("<explain>", "＜explain＞"),
     "<think>a</think><answer>b</answer><explain>c<answer>d</answer></explain>"],
)  # fmt: skip
def test_what_is_missing_blank_nested_unclosed_or_beside_the_tags_is_no_format(said) -> None:
    assert pays(said, "think", "answer", "explain") == 0.0


def test_a_tag_that_nobody_asked_for_is_no_format() -> None:
    assert pays(TWO, "answer") == 0.0
    assert pays("<answer><think>a</think>b</answer>", "answer") == 0.0


def test_by_default_an_explanation_is_asked_for_where_the_gold_has_one() -> None:
    assert [pays(TWO), pays(THREE)] == [1.0, 0.0]
    assert [pays(TWO, gold="b"), pays(THREE, gold="b")] == [1.0, 0.0]
    assert [pays(TWO, gold=EXPLAINED), pays(THREE, gold=EXPLAINED)] == [0.0, 1.0]
    assert pays(TWO, "think", "answer", gold=EXPLAINED) == 1.0


@pytest.mark.parametrize(
    "written", ["<think>,<answer>,<explain>", ["think", "<Answer>", "explain"]]
)
def test_tags_may_be_written_with_brackets_or_without(written) -> None:
    assert FormatReward(tags=written).tags == ("think", "answer", "explain")


@pytest.mark.parametrize("tags", [[], ["think", "think"], ["a b"], [""], ["</think>"]])
def test_tags_that_are_none_are_refused(tags) -> None:
    options = {"format": {"tags": tags}}
    with pytest.raises(ConfigError, match=r"reward.format.tags is .*; name each tag once"):
        discovery.load("reward", "format").build(options)
