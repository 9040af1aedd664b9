import unicodedata

import pytest

from vlmtune.errors import DataError
from vlmtune.evaluation.benchmarks.vivqa_x import BENCHMARK
from vlmtune.types import JSON, Verdict


def verdict(answer: str, completion: str) -> Verdict:
    row: dict[str, JSON] = {"question": "cái gì?", "answer": answer}
    return BENCHMARK.judge(row, completion, thinking=False).verdict


@pytest.mark.parametrize(
    ("answer", "completion"),
    [
        ("màu đỏ", "Màu đỏ."),
        ("màu đỏ", unicodedata.normalize("NFD", "màu đỏ")),
        (unicodedata.normalize("NFD", "con mèo"), "con mèo"),
        ("có", "đúng"),
        ("đúng", "Có!"),
        ("hai", "<think>một, hai</think><answer>hai</answer><explain>Có hai con.</explain>"),
    ],
)
def test_the_same_words_are_the_same_answer(answer: str, completion: str) -> None:
    assert verdict(answer, completion) is Verdict.CORRECT


@pytest.mark.parametrize(
    ("answer", "completion"), [("có", "không"), ("hai", "hai mươi"), ("mèo", "mẹo"), ("có", "co")]
)
def test_other_words_and_other_tones_are_other_answers(answer: str, completion: str) -> None:
    assert verdict(answer, completion) is Verdict.WRONG


def test_a_row_without_an_answer_is_refused() -> None:
    with pytest.raises(DataError, match="has no answer to compare with"):
        verdict("  ", "có")
