"""The tables of docs/evaluation.md, checked against the program."""

import re
from pathlib import Path

import pytest

from vlmtune import discovery
from vlmtune.evaluation.benchmarks.cv_bench import official_letter
from vlmtune.rewards import grade
from vlmtune.types import How, Kind

TEXT = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def section(title: str) -> list[list[str]]:
    part = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_benchmark_is_in_the_table() -> None:
    files = discovery.available("benchmark")
    names = {discovery.load("benchmark", file).BENCHMARK.name for file in files}
    assert {row[0].strip("`") for row in section("Benchmarks")} == names


def test_every_protocol_of_vsr_is_in_the_table() -> None:
    protocols = discovery.load("benchmark", "VSR").BENCHMARK.protocols
    told = [re.findall(r"`([^`]+)`", row[0])[0] for row in section("How a question is put")]
    assert told == list(protocols)


@pytest.mark.parametrize("row", section("CV-Bench, official and robust"), ids=lambda row: row[0])
def test_answers_are_read_as_the_table_says(row: list[str]) -> None:
    answer, official, robust = (cell.strip("`") for cell in row)
    assert official_letter(answer, source="COCO") == official
    reading = grade(
        kind=Kind.CHOICE,
        question="How many?",
        answer="(C)",
        completion=answer,
        choices=("3", "2", "1", "0"),
    )
    if robust == "nothing":
        assert reading.reading.how is How.UNREADABLE
    else:
        assert robust == "C" and reading.parts["accuracy"] == 1.0
