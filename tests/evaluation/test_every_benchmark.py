"""What must hold for each benchmark, also for one that is added tomorrow."""

import random
from collections.abc import Sequence

import pytest

from vlmtune import discovery
from vlmtune.evaluation import metrics
from vlmtune.evaluation.saved import Answer
from vlmtune.evaluation.score import Result, score
from vlmtune.protocols import Benchmark
from vlmtune.types import JSON, BenchmarkRow, RowSource

COUNT = 40
VIETNAMESE = ("có", "không", "hai", "màu đỏ")

# Rows in each benchmark's own schema; those that draw their rows need none.
ROWS: dict[str, list[dict[str, JSON]]] = {
    "vsr": [
        {"image": "1.jpg", "caption": f"The cat is {name} the mat.", "label": i % 2}
        for i, name in enumerate(("on", "under", "among", "near") * (COUNT // 4))
    ],
    "cv_bench": [
        {
            "idx": i,
            "type": "2D",
            "task": ("Count", "Relation", "Depth", "Distance")[i % 4],
            "question": "Which?",
            "choices": ["red", "green", "blue", "white"],
            "answer": "(" + "ABCD"[i // 4 % 4] + ")",
            "prompt": "Which? ...",
            "source": ("ADE20K", "COCO", "Omni3D")[i % 3],
        }
        for i in range(COUNT)
    ],
    "robo2vlm": [
        {
            "id": f"r{i}",
            "question": "Is the gripper open?",
            "choices": "['open', 'closed', 'unclear', 'hidden', 'broken']",
            "correct_answer": i % 5,
            "image": None,
        }
        for i in range(COUNT)
    ],
    "vivqa_x": [
        {
            "question": "cái gì?",
            "answer": VIETNAMESE[i % 4],
            "question_id": i,
            "answer_type": "other",
            "question_type": "what",
        }
        for i in range(COUNT)
    ],
}  # fmt: skip
ROWS["vsr_random"] = ROWS["vsr"]
CHANCE = {"vsr": 0.5, "vsr_random": 0.5, "cv_bench": 0.25, "robo2vlm": 0.2, "vivqa_x": 0.25}

NAMES = discovery.available("benchmark")


def rows_of(name: str) -> tuple[Benchmark, list[BenchmarkRow]]:
    benchmark: Benchmark = discovery.load("benchmark", name).BENCHMARK
    if name not in ROWS:
        return benchmark, list(benchmark.rows(RowSource(count=COUNT)))
    return benchmark, [
        BenchmarkRow(id=str(number), columns=columns) for number, columns in enumerate(ROWS[name])
    ]


def graded(benchmark: Benchmark, rows: Sequence[BenchmarkRow], said: Sequence[str]) -> Result:
    answers = [
        Answer(row=row, saved={**row.columns, "completion": text})
        for row, text in zip(rows, said, strict=True)
    ]
    return score(benchmark, answers, style="direct", protocol=next(iter(benchmark.protocols)))


@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_answerer_gets_everything_right_under_every_protocol(name: str) -> None:
    benchmark, rows = rows_of(name)
    for protocol in benchmark.protocols:
        said = [str(benchmark.example(row, protocol=protocol).answer) for row in rows]
        report = graded(benchmark, rows, said).report
        assert report["accuracy"] == 1.0 and report["unreadable"] == 0, protocol


@pytest.mark.parametrize("name", NAMES)
def test_a_random_answerer_is_near_chance(name: str) -> None:
    benchmark, rows = rows_of(name)
    protocol = next(iter(benchmark.protocols))
    examples = [benchmark.example(row, protocol=protocol) for row in rows]
    draw = random.Random(7)
    said = []
    for example in examples:
        letters = [f"({chr(65 + index)})" for index in range(len(example.choices))]
        options = letters or (list(VIETNAMESE) if name == "vivqa_x" else ["yes", "no"])
        said.append(options[int(draw.random() * len(options))])
    report = graded(benchmark, rows, said).report
    chance = CHANCE.get(name, report.get("chance"))
    low, high = metrics.wilson(report["correct"], report["n"], z=3.0)
    assert low < chance < high
    if name in CHANCE and "chance" in report:
        assert report["chance"] == pytest.approx(CHANCE[name])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("silence", ["", "   \n", "..."])
def test_a_silent_answerer_is_unreadable_everywhere_and_never_right(
    name: str, silence: str
) -> None:
    benchmark, rows = rows_of(name)
    report = graded(benchmark, rows, [silence] * len(rows)).report
    assert report["correct"] == 0
    assert report["unreadable"] == report["n"] == len(rows)
    assert report["answered"] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_groups_of_a_grouping_add_up_to_all_rows(name: str) -> None:
    benchmark, rows = rows_of(name)
    report = graded(benchmark, rows, ["(A)"] * len(rows)).report
    assert report["groups"]
    for groups in report["groups"].values():
        assert sum(group["n"] for group in groups.values()) == report["n"]
        assert sum(group["correct"] for group in groups.values()) == report["correct"]


def test_there_are_the_benchmarks_that_users_were_promised() -> None:
    found = {discovery.load("benchmark", name).BENCHMARK.name for name in NAMES}
    assert found >= {
        "VSR", "VSR-random", "CV-Bench", "Robo2VLM", "ViVQA-X", "scenes-vsr", "scenes-cv-bench",
    }  # fmt: skip
    assert discovery.load("benchmark", "CV-Bench").BENCHMARK.name == "CV-Bench"
