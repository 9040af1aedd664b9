"""The sixty cases that every reward must pass, each of them as a tagged answer and as plain text.

The numbers are those of the contract's table; the expected accuracy is the table's.
"""

import pytest

from vlmtune.rewards import grade

CAT = "Where is the cat relative to the dog?"
BOX = "Where is the cat relative to the box?"
TRUE = 'Is this statement true? "The cat is on the mat."'
DOGS = "How many dogs are in the image?"
WHICH = "Which object is closest to the camera?"
FURNITURE = ("table", "chair", "lamp", "sofa")
DIGITS = ("3", "2", "1", "0")


def relation(number, gold, answers, expected, question=CAT):
    return [(number, "relation", gold, question, (), answer, expected) for answer in answers]


def polar(number, gold, answers, expected):
    return [(number, "yes_no", gold, TRUE, (), answer, expected) for answer in answers]


def count(number, gold, answers, expected):
    return [(number, "count", gold, DOGS, (), answer, expected) for answer in answers]


def choice(number, gold, answers, expected, choices=FURNITURE):
    return [(number, "choice", gold, WHICH, choices, answer, expected) for answer in answers]


CASES = [
    *relation(1, "left of", ["left"], 1),
    *relation(2, "left of", ["not to the left of the dog"], 0),
    *relation(3, "left of", ["The dog is to the right of the cat"], 1),
    *relation(4, "left of", ["The dog is to the left of the cat"], 0),
    *relation(5, "left of", ["left or right"], 0),
    *relation(6, "left of", ["left, right, above, below, behind", "left, right, above..."], 0),
    *relation(7, "left of", ["leftover food"], 0),
    *relation(8, "left of", ["The cat left the room"], 0),
    *relation(9, "left of", ["LEFT.", "**left**", "left-hand side"], 1),
    *relation(10, "left of", ["think:left, answer:right"], 0),
    *relation(11, "left of", ["answer:left, then answer:right"], 0),
    *relation(12, "left of", ["", "  \n "], 0),
    *relation(13, "next to", ["beside", "adjacent to"], 1),
    *relation(14, "next to", ["near"], 0),
    *relation(15, "beside", ["behind"], 0),
    *relation(16, "under", ["underneath"], 1),
    *relation(17, "on top of", ["above"], 0),
    *relation(18, "in front of", ["The dog is behind the cat"], 1),
    *relation(19, "facing", ["facing away from"], 0),
    *relation(19, "facing away from", ["facing"], 0),
    *relation(20, "in", ["behind"], 0),
    *relation(20, "on", ["person", "in front of"], 0),
    *relation(21, "inside", ["The box contains the cat"], 1, BOX),
    *relation(22, "touching", ["The dog is touching the cat"], 1),
    *relation(23, "left", ["bên trái"], 1),
    *relation(23, "left", ["không ở bên trái"], 0),
    *polar(24, "false", ["I don't know", "now", "", "I don't know; now"], 0),
    *polar(25, "true", ["Yes, the cat is not on the mat"], 1),
    *polar(26, "true", ["not false", "có"], 1),
    *polar(26, "true", ["both yes and no"], 0),
    *polar(27, "false", ["không đúng", "untrue"], 1),
    *count(28, "3", ["three", "three (3)", "3.0"], 1),
    *count(29, "3", ["3 or 4", "2-4", "at least 3", "2, 3, 4"], 0),
    *count(30, "3", ["1 2 3 4 5 6 7 8 9 10", "1 2 3 ... 10"], 0),
    *count(31, "3", ["３"], 1),
    *count(32, "3", ["٣"], 1),
    *count(33, "3", ["-3"], 0),
    *count(34, "3", ["3rd"], 0),
    *count(35, "3", ["1+2"], 0),
    *count(36, "21", ["twenty-one"], 1),
    *count(37, "21", ["twenty / one"], 0),
    *count(38, "1", ["twenty-one"], 0),
    *count(39, "2", ["a couple"], 0),
    *count(40, "12", ["a dozen"], 1),
    *count(41, "0", ["no dogs", "none", "0"], 1),
    *count(42, "0", ["No doubt there are 3"], 0),
    *count(43, "10", ["often"], 0),
    *count(43, "9", ["canine"], 0),
    *count(43, "8", ["height"], 0),
    *count(43, "1", ["someone"], 0),
    *count(44, "4", ["a dog and 4 cats"], 0),
    *count(45, "3", ["4", "13", "300"], 0),
    *count(46, "3", ["think:3, answer:5"], 0),
    *count(47, "21", ["hai mươi mốt"], 1),
    *count(48, "0", ["không có con chó nào"], 1),
    *count(49, "3", ["9" * 400, "nan", "inf"], 0),
    *choice(50, "(B)", ["B", "(B)", "B.", "B)", "b", "Option B"], 1),
    *choice(51, "(B)", ["chair", "A chair"], 1),
    *choice(52, "(B)", ["(B) table", "A or B", "(A)(B)(C)(D)"], 0),
    *choice(53, "(B)", ["Based on the image, A"], 0),
    *choice(54, "(B)", ["not B", "E", "armchair", "Be"], 0),
    *choice(55, "(C)", ["1", "C 1"], 1, DIGITS),
    *choice(55, "(C)", ["3", "C. 3"], 0, DIGITS),
    *choice(56, "(F)", ["F"], 1, ("one", "two", "three", "four", "five", "six")),
    *choice(60, "(B)", ["Cannot determine"], 0),
    *choice(60, "(C)", ["Cannot determine"], 0),
]


def identify(case) -> str:
    return f"{case[0]}-{case[5][:24]!r}-{case[6]}"


@pytest.mark.parametrize("case", CASES, ids=identify)
@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "plain"])
def test_row_of_the_table(case, tagged) -> None:
    _, kind, gold, question, choices, answer, expected = case
    completion = f"<think>I look.</think><answer>{answer}</answer>" if tagged else answer
    score = grade(kind=kind, question=question, answer=gold, completion=completion, choices=choices)
    assert score.parts["accuracy"] == expected, score.why


@pytest.mark.parametrize(
    ("thought", "answer"), [("left", "right"), ("The cat is left of the dog.", "right")]
)
def test_row_10_a_right_thought_does_not_make_up_for_a_wrong_answer(thought, answer) -> None:
    completion = f"<think>{thought}</think><answer>{answer}</answer>"
    score = grade(kind="relation", question=CAT, answer="left of", completion=completion)
    assert (score.parts["accuracy"], score.parts["format"]) == (0, 1)


def test_row_11_two_different_answers_earn_nothing() -> None:
    completion = "<think>x</think><answer>left</answer><answer>right</answer>"
    for gold in ("left of", "right of"):
        score = grade(kind="relation", question=CAT, answer=gold, completion=completion)
        assert (score.parts["accuracy"], score.parts["format"]) == (0, 0)


def test_row_46_the_number_counts_that_stands_in_the_answer() -> None:
    completion = "<think>3</think><answer>5</answer>"
    score = grade(kind="count", question=DOGS, answer="3", completion=completion)
    assert (score.parts["accuracy"], score.parts["format"]) == (0, 1)


def test_row_57_an_echoed_template_has_the_form_and_no_answer() -> None:
    completion = "<think> reasoning process here </think><answer> answer here </answer>"
    for kind, gold in (("relation", "left of"), ("count", "3"), ("yes_no", "yes")):
        score = grade(kind=kind, question=CAT, answer=gold, completion=completion)
        assert (score.parts["accuracy"], score.parts["format"]) == (0, 1)


@pytest.mark.parametrize(
    "completion",
    [
        "<think></think><answer>left</answer>",
        "<think> \n </think><answer>left</answer>",
        "Sure! <think>x</think><answer>left</answer>",
        "<think>x</think><answer>left</answer> I hope this helps.",
        "<think>x</think> so <answer>left</answer>",
        "<think>x<think>y</think></think><answer>left</answer>",
        "<think>x<answer>left</answer></think>",
        "<think>x</think><answer><answer>left</answer></answer>",
        "<think>x</think><answer>left",
        "<think>x<answer>left</answer>",
        "<answer>left</answer>",
        "<think>left</think>",
        "left",
        "",
    ],
)
def test_row_58_anything_but_the_exact_form_has_no_format(completion) -> None:
    score = grade(kind="relation", question=CAT, answer="left of", completion=completion)
    assert score.parts["format"] == 0


def test_row_59_an_answer_smuggled_into_the_thinking_is_a_second_answer() -> None:
    completion = "<think>x <answer>left</answer></think><answer>right</answer>"
    for gold in ("left of", "right of"):
        score = grade(kind="relation", question=CAT, answer=gold, completion=completion)
        assert (score.parts["accuracy"], score.parts["format"]) == (0, 0)


def test_the_table_is_whole() -> None:
    elsewhere = {57, 58, 59}
    assert {case[0] for case in CASES} | elsewhere == set(range(1, 61))
