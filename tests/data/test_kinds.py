"""Kinds: stated ones win, guessed ones stay narrow."""

import pytest

from vlmtune.data.kinds import infer_kind, stated_kind
from vlmtune.errors import DataError
from vlmtune.types import Kind

CAPTION = "Two cats lie on a pink couch with a remote control between them."


@pytest.mark.parametrize(
    ("question", "answer", "choices", "kind"),
    [
        ("How many cats?", "2", (), Kind.COUNT),
        ("How many cats?", "<think>a 5</think><answer>two</answer>", (), Kind.COUNT),
        ("Có bao nhiêu con mèo?", "2", (), Kind.COUNT),
        ("How many people are there?", "There are three people.", (), Kind.OPEN),
        ("What is 2 + 2?", "4", (), Kind.OPEN),
        ("Is the cat asleep?", "Yes.", (), Kind.YES_NO),
        ("Con mèo ngủ?", "không", (), Kind.YES_NO),
        ("Where is the cat relative to the dog?", "it is left of the dog", (), Kind.RELATION),
        ("How do they stand?", "to the left of", (), Kind.RELATION),
        ("Where is the worker?", "in the warehouse", (), Kind.OPEN),
        ("Which is closer?", "(A)", ("a", "b"), Kind.CHOICE),
        ("Describe the image.", CAPTION, (), Kind.CAPTION),
        ("Describe the image.", None, (), Kind.OPEN),
        ("How many cats?", "twenty-one", (), Kind.COUNT),
        ("Có bao nhiêu con mèo?", "hai mươi mốt", (), Kind.COUNT),
        # "không" says no, and where somebody counts it says none.
        ("Có bao nhiêu con mèo?", "không", (), Kind.COUNT),
        ("Con mèo ở đâu so với con chó?", "bên trái", (), Kind.RELATION),
        ("Which is closer? (A) the cup (B) the plate", "(A)", (), Kind.CHOICE),
        ("Who left?", "the right person", (), Kind.OPEN),
        ("How many cats?", None, (), Kind.OPEN),
    ],
)
def test_the_kind_follows_from_question_and_answer(
    question: str, answer: str | None, choices: tuple[str, ...], kind: Kind
) -> None:
    assert infer_kind(question=question, answer=answer, choices=choices) is kind


@pytest.mark.parametrize("value", ["yes_no", "Yes/No", "yes-no", " YES NO "])
def test_a_stated_kind_may_be_written_in_several_ways(value: str) -> None:
    assert stated_kind(value) is Kind.YES_NO


def test_no_stated_kind_leaves_the_guess() -> None:
    assert stated_kind(None) is None
    assert stated_kind(" ") is None


@pytest.mark.parametrize("value", ["cuont", 3, ["count"]])
def test_an_unknown_kind_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="kind is unknown"):
        stated_kind(value)


def test_a_misspelt_kind_gets_a_suggestion() -> None:
    with pytest.raises(DataError, match="did you mean 'count'"):
        stated_kind("cuont")
