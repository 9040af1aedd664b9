"""TRL's rows: conversational and plain, with and without a prompt."""

from pathlib import Path
from typing import Any

import pytest

from vlmtune.data.formats import to_example
from vlmtune.errors import DataError
from vlmtune.types import Example, Turn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"not decoded here")
    return tmp_path


def example(row: dict[str, Any], folder: Path) -> Example:
    return to_example(row, row_id="file/000007", source="file", image_folder=folder)


def names(found: Example) -> list[str]:
    return [Path(image.name).name for image in found.images]


def said(role: str, text: str, *, pictures: int = 0) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "image", "text": None}] * pictures
    return {"role": role, "content": [*parts, {"type": "text", "text": text}]}


def test_trls_conversational_rows(folder: Path) -> None:
    prompt = [said("system", "Be brief."), said("user", "How many?", pictures=2)]
    images = {"images": ["a.png", "b.png"]}
    found = example({**images, "prompt": prompt, "completion": [said("assistant", "3")]}, folder)
    assert (found.question, found.answer, names(found)) == ("How many?", "3", ["a.png", "b.png"])
    assert found.facts == {"system": "Be brief."}
    pair = {"chosen": [said("assistant", "good")], "rejected": [said("assistant", "bad")]}
    found = example({**images, "prompt": prompt, **pair}, folder)
    assert (found.question, found.answer, found.rejected) == ("How many?", "good", "bad")
    found = example({**images, "prompt": prompt, "answer": "3", "hard": True}, folder)
    assert (found.answer, found.facts["hard"]) == ("3", True)


def test_trls_pairs_without_a_prompt(folder: Path) -> None:
    first, again = said("user", "Q1"), said("user", "Q2")
    talk = [first, said("assistant", "A1"), again]
    row = {
        "chosen": [*talk, said("assistant", "good")],
        "rejected": [*talk, said("assistant", "bad")],
    }
    found = example(row, folder)
    assert found.turns == (Turn(user="Q1", assistant="A1"),)
    assert (found.question, found.answer, found.rejected) == ("Q2", "good", "bad")
    row["rejected"] = [first, said("assistant", "bad")]
    with pytest.raises(DataError, match="pair has two questions"):
        example(row, folder)


def test_trls_plain_rows(folder: Path) -> None:
    found = example({"prompt": "How many?", "completion": "3"}, folder)
    assert (found.question, found.answer, found.facts) == ("How many?", "3", {})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": [said("user", "Q"), said("assistant", "A")]}, "prompt ends with an answer"),
        ({"prompt": "Q", "completion": [said("user", "A")]}, "answer is not one message of the"),
        (
            {"prompt": "Q", "completion": [said("assistant", "A")] * 2},
            "answer is not one message of the assistant",
        ),
        (
            {"prompt": "Q", "completion": [said("assistant", "A", pictures=1)]},
            "answer holds an image",
        ),
    ],
)
def test_trls_rows_that_make_no_sense(row: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=message):
        example(row, folder)
