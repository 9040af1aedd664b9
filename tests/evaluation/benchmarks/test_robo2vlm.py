import pytest

from vlmtune.errors import DataError
from vlmtune.evaluation.benchmarks.robo2vlm import BENCHMARK
from vlmtune.types import JSON, Verdict

ROW: dict[str, JSON] = {
    "id": "a1",
    "question": "Is the gripper open?",
    "choices": "['Yes', 'No', 'It\\'s unclear', 'None of the above', 'Both']",
    "correct_answer": 4,
}


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("E", Verdict.CORRECT),
        ("(E)", Verdict.CORRECT),
        ("A", Verdict.WRONG),
        ("", Verdict.UNREADABLE),
        ("<think>hm</think><answer>E</answer>", Verdict.CORRECT),
    ],
)
def test_the_index_counts_options_and_not_characters_of_their_text(
    completion: str, verdict: Verdict
) -> None:
    assert BENCHMARK.judge(ROW, completion, thinking=False).verdict is verdict


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"correct_answer": 5}, "an index from 0 to 4"),
        ({"correct_answer": "E"}, "an index from 0 to 4"),
        ({"correct_answer": True}, "an index from 0 to 4"),
        ({"choices": "Yes, No"}, "should be a list"),
        ({"choices": "[]"}, "should be a list"),
        ({"choices": "[__import__('os')]"}, "should be a list"),
    ],
)
def test_a_row_that_cannot_be_graded_is_named(columns: dict[str, JSON], message: str) -> None:
    with pytest.raises(DataError, match=f"row a1: .*{message}"):
        BENCHMARK.judge({**ROW, **columns}, "A", thinking=False)
