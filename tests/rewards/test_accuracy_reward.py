"""The outcome reward: right, half the words, or nothing; and how it cannot be played."""

import itertools
import random
import time
import unicodedata

import pytest

from vlmtune.errors import ConfigError, DataError
from vlmtune.rewards import AccuracyReward
from vlmtune.types import Example, Kind

WHAT = "What is parked there?"


def earn(gold: str, said: str, *, question: str = WHAT, scale: str = "unit") -> float:
    reward = AccuracyReward(scale=scale)
    return reward(prompts=[question], completions=[said], solution=[gold])[0]


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("red car", "Red car."),
        ("red car", "a red car"),
        ("red car", "<think>I look.</think><answer>RED CAR!</answer>"),
        ("<answer>hai</answer><explain>có hai con mèo</explain>", "<answer>2</answer>"),
        ("con mèo", unicodedata.normalize("NFD", "Con mèo")),
    ],
)
def test_the_same_words_earn_full_marks(gold, said) -> None:
    assert earn(gold, said) == 1.0
    assert earn(gold, said, scale="seed") == 3.0


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("red car", "red"),
        ("red car", "a red van"),
        ("old red fire truck", "fire truck"),
        ("red car", "a shiny red car on the road"),
        ("màu đỏ", unicodedata.normalize("NFD", "đỏ")),
        ("<answer>xe tải màu đỏ</answer><explain>nó to</explain>", "<answer>xe đỏ</answer>"),
    ],
)
def test_half_of_the_truths_words_earn_half(gold, said) -> None:
    assert earn(gold, said) == 0.5
    assert earn(gold, said, scale="seed") == 1.5


@pytest.mark.parametrize(
    "said",
    ["", "van", "truck or red car", "red car or red van", "not a red car", "red, blue", "red/green",
     "red and blue", "maybe a red one", "red\nblue\ngreen", "I don't know, red", "red car, red bus",
     "red blue green yellow black white car bus van bike truck", "car bus van truck bike red",
     "the of on in a at", WHAT, f"{WHAT} {WHAT}", "<answer>red</answer><answer>car</answer>",
     "<think>red</think>", "<answer>red</answer> or blue", "đỏ hoặc xanh", "không phải red"],
)  # fmt: skip
def test_lists_hedges_denials_and_echoes_of_a_free_text_earn_nothing(said) -> None:
    assert earn("red car", said) == 0.0


def test_words_of_the_question_count_for_nothing() -> None:
    asked = "What colour is the fire truck?"
    assert earn("red fire truck", "fire truck", question=asked) == 0.0
    assert earn("red fire truck", "red", question=asked) == 0.5


@pytest.mark.parametrize(
    ("kind", "gold", "said"),
    [
        ("relation", "to the left of", "to the right of"),
        ("relation", "left of", "left or right of"),
        ("count", "3", "3 or 4"),
        ("count", "3", "4"),
        ("yes_no", "no", "I don't know"),
        ("choice", "(B) red car", "(A) red car"),
    ],
)
def test_answers_of_a_known_set_are_right_or_wrong(kind, gold, said) -> None:
    reward = AccuracyReward()
    assert reward(prompts=["?"], completions=[said], solution=[gold], kind=[kind]) == [0.0]


def test_a_list_of_two_pays_no_more_than_the_better_guess() -> None:
    golds = ["red", "blue", "green", "black"]
    for guess in itertools.permutations(golds, 2):
        both = sum(earn(gold, " ".join(guess)) for gold in golds)
        assert both <= max(sum(earn(gold, one) for gold in golds) for one in golds)


def test_accuracy_stays_binary_beside_partial_credit() -> None:
    example = Example(id="r/1", question=WHAT, answer="red car", kind=Kind.OPEN)
    score = AccuracyReward().score(example, "red")
    assert (score.value, score.parts["accuracy"], score.parts["partial"]) == (0.5, 0.0, 0.5)
    score = AccuracyReward(scale="seed").score(example, "red car")
    assert (score.value, score.parts["accuracy"], score.parts["partial"]) == (3.0, 1.0, 0.0)


def test_what_is_explained_after_the_answer_does_not_change_it() -> None:
    gold = "<answer>hai</answer><explain>có hai con mèo</explain>"
    said = "<think>a</think><answer>hai</answer><explain>một con mèo và 3 con chó</explain>"
    question = "Có bao nhiêu con mèo?"
    assert earn(gold, said, question=question) == 1.0
    smuggled = "<think>a</think><answer>ba</answer><explain>hai</explain>"
    assert earn(gold, smuggled, question=question) == 0.0


BEHIND = "<think>I look.</think><answer>red car</answer> "


@pytest.mark.parametrize(
    "behind",
    ["The answer is blue van.", "Final answer: a bus", "\\boxed{bus}", "Đáp án là xe buýt",
     "No wait, the answer is not red car.", "So the answer is car."],
)  # fmt: skip
def test_another_answer_behind_the_tags_takes_a_free_text_back(behind) -> None:
    assert earn("red car", BEHIND + behind) == 0.0


@pytest.mark.parametrize(
    "behind", ["", "Hope this helps!", "So the answer is the red car.", "It stands near a bus."]
)
def test_other_words_behind_the_tags_leave_a_free_text_alone(behind) -> None:
    assert earn("red car", BEHIND + behind) == 1.0


def test_rows_are_graded_by_their_own_truth_in_any_order() -> None:
    golds = ["red car", "blue van", "3", "left", "có"]
    said = ["red car", "blue", "three", "right", "Có."]
    expected = [1.0, 0.5, 1.0, 0.0, 1.0]
    order = list(range(5))
    random.Random(3).shuffle(order)
    for places in (range(5), order):
        paid = AccuracyReward()(
            prompts=[WHAT] * 5,
            completions=[said[place] for place in places],
            solution=[golds[place] for place in places],
        )
        assert paid == [expected[place] for place in places]


@pytest.mark.parametrize(
    "unit", ["red ", "red, ", "<answer>", "\u0301", "đỏ hoặc ", "((((", "\ud800"]
)
def test_a_hundred_kilobytes_earn_nothing_and_take_no_time(unit) -> None:
    flood = (unit * 100_000)[:100_000]
    best = 1.0
    for _ in range(5):
        started = time.thread_time()
        assert earn("red car", flood) == 0.0
        assert earn("red car", f"<think>a</think><answer>{flood}</answer>") == 0.0
        best = min(best, time.thread_time() - started)
    assert best < 0.1


def test_a_scale_that_is_none_and_a_row_without_truth_are_errors() -> None:
    with pytest.raises(ConfigError, match="scale is 'raw'; unit or seed"):
        AccuracyReward(scale="raw")
    with pytest.raises(DataError, match="NoneType in row 0"):
        AccuracyReward()(prompts=["?"], completions=["x"], solution=[None])
