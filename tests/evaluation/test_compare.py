"""Two evaluations of the same questions, compared with numbers worked by hand."""

import json
from pathlib import Path

import pytest

from vlmtune.errors import ConfigError, DataError
from vlmtune.evaluation.benchmarks.cv_bench import BENCHMARK
from vlmtune.evaluation.compare import Side, compare, load
from vlmtune.evaluation.saved import Answer
from vlmtune.evaluation.score import score
from vlmtune.types import JSON, BenchmarkRow

SOURCES = ("ADE20K", "COCO", "Omni3D", "Omni3D")


def side(right: str, *, name: str = "CV-Bench", question: str = "Which?", skip: int = -1) -> Side:
    """Grade answers: '1' says the right letter in its place, '0' a wrong one."""
    answers = []
    for index, digit in enumerate(right):
        columns: dict[str, JSON] = {
            "idx": index,
            "task": "Depth",
            "question": question,
            "choices": ["a", "b"],
            "answer": "(A)",
            "source": SOURCES[index % 4],
        }
        row = BenchmarkRow(id=str(index), columns=columns)
        if index != skip:
            said = "A" if digit == "1" else "B"
            answers.append(Answer(row=row, saved={**columns, "completion": said}))
    result = score(BENCHMARK, answers, style="direct", protocol="generate")
    report = {"model": {"name": "m"}, "benchmarks": {name: dict(result.report)}}
    return Side(path=Path("report.json"), report=report)


def test_differences_and_the_test_are_worked_by_hand() -> None:
    #          ACOOACOOACOO
    a = side("110010001100")
    b = side("111111001111")
    found = compare(a, b)["benchmarks"]["CV-Bench"]
    # Both 1 at 0, 1, 4, 8, 9; only B at 2, 3, 5, 10, 11; neither at 6, 7.
    assert (found["both"], found["only_a"], found["only_b"], found["neither"]) == (5, 0, 5, 2)
    assert found["accuracy_a"] == 5 / 12 and found["accuracy_b"] == 10 / 12
    assert found["difference"] == pytest.approx(5 / 12)
    assert found["mcnemar_p"] == 2 / 32
    omni = found["groups"]["source"]["Omni3D"]
    assert (omni["n"], omni["only_b"], omni["neither"]) == (6, 4, 2)
    assert omni["mcnemar_p"] == 2 / 16
    assert list(found["groups"]["source"]) == ["Omni3D", "ADE20K", "COCO"]
    # Sources of A: ADE20K 3/3, COCO 2/3, Omni3D 0; of B: 3/3, 3/3, 4/6.
    assert found["official"]["cv_bench_a"] == pytest.approx((5 / 6 + 0) / 2)
    assert found["official"]["cv_bench_b"] == pytest.approx((1 + 4 / 6) / 2)
    low, high = found["official"]["bootstrap95"]
    assert low < found["official"]["difference"] < high


def test_an_evaluation_compared_with_itself_shows_nothing() -> None:
    found = compare(side("1010"), side("1010"))["benchmarks"]["CV-Bench"]
    assert found["difference"] == 0 and found["mcnemar_p"] == 1.0
    assert found["bootstrap95"] == [0.0, 0.0]


def test_other_rows_are_refused_and_named() -> None:
    with pytest.raises(DataError, match=r"CV-Bench: .* differ: 1 only in B \(3\)"):
        compare(side("1010", skip=3), side("1010"))
    with pytest.raises(DataError, match=r"1 only in A \(2\)"):
        compare(side("1010"), side("1010", skip=2))
    with pytest.raises(
        DataError, match=r"4 with another question under the same name \(0, 1, 2, 3"
    ):
        compare(side("1010"), side("1010", question="Where?"))
    with pytest.raises(DataError, match=r"8 only in B \(4, 5, 6, 7, 8, \.\.\.\)"):
        compare(side("1010"), side("101010101010"))


def test_without_a_common_benchmark_there_is_nothing_to_compare() -> None:
    with pytest.raises(ConfigError, match=r"nothing to compare: .* has VSR, .* has CV-Bench"):
        compare(side("1", name="VSR"), side("1"))


def test_a_benchmark_of_one_side_is_named_as_left_out() -> None:
    a, b = side("1010"), side("1010")
    more = {**b.report, "benchmarks": {**b.benchmarks, "VSR": b.benchmarks["CV-Bench"]}}
    assert compare(a, Side(path=b.path, report=more))["left_out"] == ["VSR"]


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no report\.json"):
        load(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({"benchmarks": {"VSR": 3}}))
    with pytest.raises(DataError, match="is no report of an evaluation"):
        load(tmp_path / "report.json")
