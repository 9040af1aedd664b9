"""The expected letters follow from the authors' rules, applied by hand, not from this program.

The rules: lower-case and strip; after each of "answer is", "answer is:", "answer:" in turn keep
what follows its last appearance; strip, drop trailing "." (Omni3D: ".", ":" and ","), leading "(",
trailing ")"; keep the first character.
"""

from fractions import Fraction

import pytest

from vlmtune.errors import DataError
from vlmtune.evaluation.benchmarks.cv_bench import (
    BENCHMARK,
    SIZES,
    official_correct,
    official_letter,
    roll_up,
)
from vlmtune.types import JSON, BenchmarkRow, Judgement, Verdict

ANSWERS = [
    ("C", "c"),
    ("c", "c"),
    ("(C)", "c"),
    ("(c)", "c"),
    ("C.", "c"),
    ("(C).", "c"),
    ("C)", "c"),
    ("C) 1", "c"),
    ("(C) 1", "c"),
    ("C. 1", "c"),
    ("C: 1", "c"),
    (" C ", "c"),
    ("\n\tC\n", "c"),
    ("((C))", "c"),
    ("F", "f"),
    ("(E) 5", "e"),
    ("", ""),
    ("   ", ""),
    (".", ""),
    ("...", ""),
    ("(", ""),
    ("()", ""),
    (").", ""),
    ("The answer is C", "c"),
    ("The answer is C.", "c"),
    ("The answer is (C).", "c"),
    ("The answer is (C) 1", "c"),
    ("the ANSWER IS (c)", "c"),
    ("The correct answer is: (C) 1", ":"),
    ("The answer is: C", ":"),
    ("The answer is : C", ":"),
    ("Answer: C", "c"),
    ("Answer: (C)", "c"),
    ("ANSWER:C", "c"),
    ("Answer : C", "a"),
    ("Final answer: (B). Because it is left.", "b"),
    ("Answer: B. My answer is C", "c"),
    ("The answer is A. Wait, the answer is B.", "b"),
    ("The answer is not clear. Answer: D", "d"),
    ("My answer: it is. The answer is C. answer: E", "e"),
    ("The answer is", ""),
    ("The answer is.", ""),
    ("Answer:", ""),
    ("The answer is **C**", "*"),
    ("**C**", "*"),
    ("*C*", "*"),
    ("`C`", "`"),
    ("<answer>C</answer>", "<"),
    ("<think>x</think><answer>(C)</answer>", "<"),
    ("\\boxed{C}", "\\"),
    ("$C$", "$"),
    ('"C"', '"'),
    ("[C]", "["),
    ("Option C", "o"),
    ("option (c)", "o"),
    ("I think it is (C).", "i"),
    ("It is C", "i"),
    ("Based on the image, (A)", "b"),
    ("Cannot determine", "c"),
    ("Both", "b"),
    ("Four", "f"),
    ("chair", "c"),
    ("3", "3"),
    ("1", "1"),
    ("(A) or (C)", "a"),
    ("A, B or C", "a"),
    ("Not A", "n"),
    ("C C C", "c"),
    ("Ⓒ", "ⓒ"),
    ("答案是C", "答"),
    ("（C）", "（"),
    ("The answer is\nC", "c"),
    ("-C", "-"),
]


@pytest.mark.parametrize(("completion", "letter"), ANSWERS)
def test_the_official_scripts_read_it_so(completion: str, letter: str) -> None:
    assert official_letter(completion, source="ADE20K") == letter
    assert official_letter(completion, source="COCO") == letter


@pytest.mark.parametrize(
    ("completion", "elsewhere", "omni"),
    [
        (":", ":", ""),
        (",", ",", ""),
        (".,:", ".", ""),
        ("The answer is:", ":", ""),
        ("The answer is: (C)", ":", ":"),
        ("C,", "c", "c"),
        ("(C):", "c", "c"),
        ("(:", ":", ""),
        ("()", "", ""),
        ("A).,", "a", "a"),
    ],
)
def test_the_omni3d_script_drops_more_at_the_end(
    completion: str, elsewhere: str, omni: str
) -> None:
    assert official_letter(completion, source="COCO") == elsewhere
    assert official_letter(completion, source="Omni3D") == omni


def test_only_omni3d_takes_an_option_of_one_character_for_its_letter() -> None:
    choices = ["3", "2", "1"]
    assert official_correct("1", answer="(C)", choices=choices, source="Omni3D")
    assert not official_correct("1", answer="(C)", choices=choices, source="ADE20K")
    assert not official_correct("2", answer="(C)", choices=choices, source="Omni3D")
    # The extracted text is lower case and the option is not.
    assert not official_correct("x", answer="(A)", choices=["X"], source="Omni3D")
    assert official_correct("f", answer="(F)", choices=list("123456"), source="COCO")


def test_the_combined_score_averages_sources_and_not_rows() -> None:
    outcomes = [("ADE20K", index < 1) for index in range(3)]  # 1/3
    outcomes += [("COCO", index < 4) for index in range(5)]  # 4/5
    outcomes += [("Omni3D", index < 3) for index in range(7)]  # 3/7
    found = roll_up(outcomes)
    acc_2d = (Fraction(1, 3) + Fraction(4, 5)) / 2  # 17/30
    assert found["sources"] == {"ADE20K": 1 / 3, "COCO": 4 / 5, "Omni3D": 3 / 7}
    assert found["acc_2d"] == pytest.approx(float(Fraction(17, 30)), abs=1e-15)
    assert found["acc_3d"] == 3 / 7
    # (17/30 + 3/7) / 2 = 209/420, while 8 of 15 rows are right.
    assert (acc_2d + Fraction(3, 7)) / 2 == Fraction(209, 420)
    assert found["cv_bench"] == pytest.approx(209 / 420, abs=1e-15)
    assert "refused" not in found


@pytest.mark.parametrize("gone", list(SIZES))
def test_without_a_source_there_is_no_combined_score(gone: str) -> None:
    found = roll_up([(source, True) for source in SIZES if source != gone])
    assert found["cv_bench"] is None
    assert f"no rows of {gone}" in found["refused"]
    assert (found["acc_2d"] is None) == (gone != "Omni3D")
    assert (found["acc_3d"] is None) == (gone == "Omni3D")


def test_an_unknown_source_is_counted_and_refuses_the_combined_score() -> None:
    found = roll_up([*((source, True) for source in SIZES), ("KITTI", False)])
    assert found["sources"]["KITTI"] == 0.0
    assert found["cv_bench"] is None and "KITTI is no source" in found["refused"]


def row(source: str = "ADE20K", task: str = "Count", answer: str = "(C)") -> dict[str, JSON]:
    return {
        "idx": 0,
        "type": "2D",
        "task": task,
        "question": "How many organs are in the image?",
        "choices": ["3", "2", "1", "0"],
        "answer": answer,
        "prompt": "How many organs are in the image? Select from the following choices.",
        "source": source,
    }


def judged(completion: str, *, thinking: bool = False, **columns: str) -> Judgement:
    return BENCHMARK.judge(row(**columns), completion, thinking=thinking)


def test_a_thinking_model_is_read_inside_its_answer_tags_and_both_readings_are_kept() -> None:
    completion = "<think>I see one (A).</think><answer>(C) 1</answer>"
    one = judged(completion, thinking=True)
    assert one.verdict is Verdict.CORRECT and one.reading == "(C)"
    assert one.details["official"] == {"letter": "<", "correct": False}
    assert one.details["official_answer_tag"] == {"letter": "c", "correct": True}
    assert judged(completion).verdict is Verdict.UNREADABLE


def test_two_different_answers_in_tags_are_none() -> None:
    one = judged("<answer>C</answer><answer>A</answer>", thinking=True)
    assert one.verdict is Verdict.UNREADABLE
    assert judged("<answer>C</answer> <answer> C </answer>", thinking=True).reading == "(C)"


def test_the_robust_reader_stands_beside_the_official_one() -> None:
    bold = judged("**C**")
    assert bold.verdict is Verdict.UNREADABLE and bold.details["robust"]["verdict"] == "correct"
    lucky = judged("Cannot determine")
    assert lucky.verdict is Verdict.CORRECT
    assert lucky.details["robust"]["verdict"] == "unreadable"


def test_the_summary_adds_up_every_reading() -> None:
    completions = {
        "ADE20K": ["C", "**C**", "A"],
        "COCO": ["<answer>C</answer>", "C"],
        "Omni3D": ["", "The answer is (C)."],
    }
    pairs = [
        (row(source=source), judged(completion, source=source))
        for source, texts in completions.items()
        for completion in texts
    ]
    found = BENCHMARK.summary(pairs, thinking=False)
    assert found["official"]["sources"] == {"ADE20K": 1 / 3, "COCO": 1 / 2, "Omni3D": 1 / 2}
    assert found["official"]["cv_bench"] == pytest.approx(((1 / 3 + 1 / 2) / 2 + 1 / 2) / 2)
    assert found["official_answer_tag"]["sources"]["COCO"] == 1.0
    assert found["robust"]["sources"] == {"ADE20K": 2 / 3, "COCO": 1.0, "Omni3D": 1 / 2}
    assert found["robust"]["unreadable"] == 1 and found["chance"] == 0.25
    assert found["complete"] is False
    # Four options, gold "1": read 1 three times, 3 once, nothing three times.
    assert found["confusion"] == {"1": {"1": 3, "3": 1, "": 3}}


def test_a_row_whose_gold_answer_cannot_be_used_is_named() -> None:
    with pytest.raises(DataError, match=r"row 0: 'answer' is '\(G\)'; with 4 choices"):
        judged("C", answer="(G)")
    with pytest.raises(DataError, match="'choices' should be a list"):
        BENCHMARK.judge({**row(), "choices": "3, 2"}, "C", thinking=False)


def test_choices_written_as_text_are_read_as_a_list() -> None:
    columns = {**row(), "choices": "['3', '2', '1', '0']"}
    assert BENCHMARK.judge(columns, "C", thinking=False).verdict is Verdict.CORRECT


def test_the_official_protocol_asks_in_the_authors_words() -> None:
    example = BENCHMARK.example(BenchmarkRow(id="0", columns=row()), protocol="generate-official")
    assert example.question.endswith(
        "following choices.\nAnswer with the option's letter from the given choices directly."
    )
    assert example.choices == ()
    usual = BENCHMARK.example(BenchmarkRow(id="0", columns=row()), protocol="generate")
    assert usual.choices == ("3", "2", "1", "0") and usual.answer == "(C)"
