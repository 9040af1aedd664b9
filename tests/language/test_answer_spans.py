"""Normalising, and finding where the answer stands."""

import pytest

from vlmtune.language.answers import infer_kind
from vlmtune.language.normalise import fold, is_blank, plain
from vlmtune.language.spans import find_answer, gold_text, well_formed
from vlmtune.types import Kind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Ｌｅｆｔ**.", "left."),
        ("$\\boxed{\\text{Three}}$", "three"),
        ("be\u0302n tra\u0301i", "bên trái"),
        ("٣ ३ ๓ ３", "3 3 3 3"),
        ("3²", "3^2"),
        ("−3", "-3"),
        ("3\ufe0f\u20e3", "3"),
        ("t\u200bhree\u202e", "three"),
        ("a\r\n\n  b", "a\nb"),
        ("# Left", "left"),
        ("2*3", "2*3"),
        ("\\frac{3}{4}", "/ 3 4"),
        ("3 \\pm 1", "3 ± 1"),
        ("don’t", "don't"),
        ("\ud800left", "\ud800left"),
        ("le\x00ft", "le ft"),
    ],
)
def test_what_looks_alike_becomes_alike_and_meaning_stays(text, expected) -> None:
    assert fold(text) == expected


def test_plain_texts_are_equal_when_their_words_are() -> None:
    assert plain("The  Red-Cube!") == plain("red cube")
    assert plain("red") != plain("reds")
    assert plain(" ...") == ""


def test_blank_is_what_nobody_sees() -> None:
    assert is_blank(" \n\u200b\ufeff\x00")
    assert not is_blank("\u200b.")


def test_the_span_says_whether_it_was_tagged_and_what_follows() -> None:
    span = find_answer("<think>x</think><answer>left</answer> of it")
    assert (span.text, span.tagged, span.outside.strip()) == ("left", True, "of it")
    span = find_answer("First I look at the cat.\nleft")
    assert (span.text, span.tagged) == ("left", False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<answer>a</answer><answer>b</answer>", "2 <answer> pairs that differ"),
        ("<answer>3</answer><answer>-3</answer>", "2 <answer> pairs that differ"),
        ("<answer>a", "an <answer> tag has no partner"),
        ("a</answer>", "an <answer> tag has no partner"),
        ("<think>a", "the thinking never ends"),
        ("<think><answer>a</answer></think>", "the only <answer> stands inside the thinking"),
        ("\\boxed{a} \\boxed{b}", "boxed answers that differ"),
        ("\\boxed{a", "a box that is never closed"),
    ],
)
def test_a_span_that_cannot_be_trusted_says_why(text, problem) -> None:
    assert find_answer(text).problem == problem


def test_form_does_not_ask_what_is_said() -> None:
    assert well_formed("<think>reasoning process here</think><answer>answer here</answer>")
    assert not well_formed("<think>a</think><answer> \u200b</answer>")


def test_a_gold_may_carry_its_own_tags() -> None:
    assert gold_text("<think>x</think>\n\n<answer>3</answer>") == "3"
    assert gold_text("3") == "3"


@pytest.mark.parametrize(
    ("question", "answer", "choices", "kind"),
    [
        ("How many dogs?", "3", (), Kind.COUNT),
        ("Có mấy con chó?", "không", (), Kind.COUNT),
        ("Is it red?", "yes", (), Kind.YES_NO),
        ("Nó có màu đỏ không?", "không", (), Kind.YES_NO),
        ("Where is it?", "left of", (), Kind.RELATION),
        ("Con mèo ở đâu?", "bên trái", (), Kind.RELATION),
        ("Which?", "(B)", (), Kind.CHOICE),
        ("Which?", "chair", ("table", "chair"), Kind.CHOICE),
        ("What colour is it?", "red", (), Kind.OPEN),
        ("Describe it.", "A cat lies on a mat.", (), Kind.OPEN),
        ("Who left?", "the right person", (), Kind.OPEN),
    ],
)
def test_a_kind_is_guessed_only_when_it_is_plain(question, answer, choices, kind) -> None:
    assert infer_kind(question=question, answer=answer, choices=choices) is kind
