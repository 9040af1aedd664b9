"""Where the answer stands: tags, boxes, last lines, chat messages; and what the format is."""

import pytest

from vlmtune.errors import DataError
from vlmtune.rewards import grade

CAT = "Where is the cat relative to the dog?"
DOGS = "How many dogs are in the image?"
MAT = "Is the cat on the mat?"
QUESTIONS = {"relation": CAT, "count": DOGS, "yes_no": MAT, "choice": "Which?"}
FURNITURE = ("table", "chair", "lamp", "sofa")
LEFT = ("relation", "left")
THREE = ("count", "3")

# Each case: its kind and gold; the completion; the accuracy and the format it has.
CASES = [
    (LEFT, "<think>a</think><answer>left</answer>", 1, 1),
    (LEFT, "<think>a</think>\n\n<answer>\nleft\n</answer>\n", 1, 1),
    (LEFT, "  <think>a</think><answer>left</answer>  ", 1, 1),
    (LEFT, "<THINK>a</THINK><ANSWER>LEFT</ANSWER>", 1, 1),
    (LEFT, "<think>a</think><answer><b>left</b></answer>", 1, 1),
    (LEFT, "<think>left</think><answer>I don't know</answer>", 0, 1),
    (LEFT, "<think>a</think><answer>left</answer><answer>left</answer>", 1, 0),
    (LEFT, "<think>a</think><answer>left</answer><answer> LEFT.</answer>", 1, 0),
    (LEFT, "<think>a</think><answer>left</answer><answer>right</answer>", 0, 0),
    (LEFT, "<think>a</think><answer></answer>", 0, 0),
    (LEFT, "<think>a</think><answer> \u200b </answer>", 0, 0),
    (LEFT, "<think>\u200b</think><answer>left</answer>", 1, 0),
    (LEFT, "<think>a</think><answer>left", 0, 0),
    (LEFT, "<think>a<answer>left</answer></think>", 0, 0),
    (LEFT, "<think>a</think><answer><answer>left</answer></answer>", 0, 0),
    (LEFT, "a</think><answer>left</answer>", 1, 0),
    (LEFT, "<think>a</think>left", 1, 0),
    (LEFT, "<think>left</think>", 0, 0),
    (LEFT, "<think>left", 0, 0),
    (LEFT, "<think>a</think><answer>left</answer> or right", 0, 0),
    (LEFT, "<think>a</think><answer>left</answer>\nActually right.", 0, 0),
    (LEFT, "<think>a</think><answer>left</answer> Thank you!", 1, 0),
    (LEFT, "```<think>a</think><answer>left</answer>```", 1, 0),
    (LEFT, "<think>a</think><think>b</think><answer>left</answer>", 1, 0),
    (LEFT, "<thinking>a</thinking><answer>left</answer>", 1, 0),
    (LEFT, "＜think＞a＜/think＞＜answer＞left＜/answer＞", 1, 0),
    (LEFT, "<answer>left</answer>", 1, 0),
    (LEFT, "Let me think. The cat is at x=2 and the dog at x=7.\nleft", 1, 0),
    (LEFT, "The dog is on the right of the cat.\n\nFinal answer: left", 1, 0),
    (LEFT, "The cat is on the right at first glance.\nFinal answer: left", 1, 0),
    (LEFT, "left. Or maybe right. Final: left", 0, 0),
    (LEFT, "Final answer: left or right", 0, 0),
    (LEFT, "left\nright", 0, 0),
    (LEFT, "right\nleft", 0, 0),
    (LEFT, "right\nor left", 0, 0),
    (LEFT, "right\nabove\nbehind\nleft", 0, 0),
    (LEFT, "- right\n- left", 0, 0),
    (LEFT, "The answer is right. No wait, the answer is left.", 0, 0),
    (LEFT, "So the answer is \\boxed{left}.", 1, 0),
    (LEFT, "I considered right, but\n\\boxed{\\text{left}}", 1, 0),
    (LEFT, "\\boxed{left} \\boxed{right}", 0, 0),
    (LEFT, "\\boxed{left} or right", 0, 0),
    (LEFT, "Đáp án: bên trái", 1, 0),
    (LEFT, "Câu trả lời là bên trái.", 1, 0),
    (THREE, "I see 2 dogs on the left, 1 on the right. Answer: 3", 1, 0),
    (THREE, "There are two dogs on the sofa and one on the floor.\nThe answer is 3.", 1, 0),
    (THREE, "Maybe 2 or 4. Answer: 3", 0, 0),
    (THREE, "1\n2\n3", 0, 0),
    (THREE, "1. dog\n2. dog\n3. dog", 0, 0),
    (THREE, "Step 1: look\nStep 2: count\n3", 1, 0),
    (THREE, "<think>5</think>\n3", 1, 0),
    (THREE, "<think>3</think>", 0, 0),
    (THREE, "<think>4 or 5</think><answer>3</answer>", 1, 1),
    (THREE, "<think>a</think><answer>3</answer> dogs", 1, 0),
    (THREE, "<think>a</think><answer>3</answer> or 4", 0, 0),
    (THREE, [{"role": "assistant", "content": "<think>a</think><answer>3</answer>"}], 1, 1),
    (THREE, [{"role": "assistant", "content": [{"type": "text", "text": "3"}]}], 1, 0),
    (THREE, {"role": "assistant", "content": "3"}, 1, 0),
    (THREE, None, 0, 0),
    (THREE, [], 0, 0),
    (("yes_no", "yes"), "No.\nYes.", 0, 0),
    (("yes_no", "yes"), "Let me look at the mat.\nYes.", 1, 0),
    (("yes_no", "yes"), MAT, 0, 0),
    (("yes_no", "yes"), f"{MAT} Yes.", 1, 0),
    (("choice", "(B)"), "The table is far away, so the answer is (B).", 1, 0),
    (("choice", "(B)"), "Answer: B\nExplanation: the chair is nearest.", 1, 0),
    (("choice", "(B)"), "A dog is near.\nB", 1, 0),
    (("choice", "(A)"), "A dog is near.\nB", 0, 0),
    (("choice", "(B)"), "A: no. B: yes.", 0, 0),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]!r:.60}")
def test_the_answer_is_found_where_it_stands(case) -> None:
    (kind, gold), completion, accuracy, form = case
    choices = FURNITURE if kind == "choice" else ()
    score = grade(
        kind=kind, question=QUESTIONS[kind], answer=gold, completion=completion, choices=choices
    )
    assert (score.parts["accuracy"], score.parts["format"]) == (accuracy, form), score.why


@pytest.mark.parametrize("gold", [None, "", "  ", "<answer></answer>", "nan", float("nan"), "null"])
@pytest.mark.parametrize("answer", ["", "3", "nan", "none", "null", "No answer"])
def test_a_missing_gold_is_equal_to_nothing(gold, answer) -> None:
    for kind in ("relation", "count", "yes_no", "choice", "caption", "open"):
        completion = f"<think>a</think><answer>{answer}</answer>"
        score = grade(kind=kind, question=DOGS, answer=gold, completion=completion)
        assert score.parts["accuracy"] == 0
        assert score.why == "the row has no gold"


@pytest.mark.parametrize("gold", ["3", 3, 3.0, "<answer>3</answer>", "three", "ba", " 3. "])
def test_a_gold_is_read_like_an_answer(gold) -> None:
    assert grade(kind="count", question=DOGS, answer=gold, completion="3").parts["accuracy"] == 1


@pytest.mark.parametrize("gold", ["left of(cat, dog)", "The cat is to the left of the dog."])
def test_a_gold_may_name_its_two_things(gold) -> None:
    score = grade(
        kind="relation", question="", answer=gold, completion="The dog is right of the cat"
    )
    assert score.parts["accuracy"] == 1


def test_two_directions_of_one_place_need_both() -> None:
    gold = "above and to the left of"
    earned = [
        grade(kind="relation", question=CAT, answer=gold, completion=answer).parts["accuracy"]
        for answer in ("upper left", "to the left and above the dog", "left", "above", "top right")
    ]
    assert earned == [1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("red", "Red.", 1), ("red", "the red", 1), ("red", "blue", 0), ("red", "red or blue", 0),
        ("3", "three", 1), ("yes", "Yes, it is", 1), ("left", "to the left", 1), ("(B)", "B", 1),
        ("màu đỏ", "Màu đỏ", 1), ("có", "đúng", 1), ("3", "3 or 4", 0), ("left", "right", 0),
    ],
)  # fmt: skip
def test_an_open_answer_is_read_as_what_its_gold_is(gold, answer, expected) -> None:
    score = grade(kind="open", question="What is it?", answer=gold, completion=answer)
    assert score.parts["accuracy"] == expected


def test_captions_are_compared_as_texts() -> None:
    for caption, expected in (("a cat on a mat", 1), ("a dog on a mat", 0), ("", 0)):
        score = grade(
            kind="caption", question="Describe.", answer="A cat on a mat.", completion=caption
        )
        assert score.parts["accuracy"] == expected


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(DataError, match="kind 'spacial' is unknown; kinds are relation, count"):
        grade(kind="spacial", question="", answer="left", completion="left")


def test_the_reason_names_what_was_read_and_what_was_expected() -> None:
    score = grade(kind="count", question="How many?", answer="3", completion="four circles")
    assert score.why == "read '4' from 'four circles', expected '3'"
    assert score.reading.value == 4
