"""Rows with drawn pictures, and a console that keeps what was printed."""

import io
import json
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest
from rich.console import Console

from vlmtune.config import RunConfig

QUESTIONS = (
    {"kind": "count", "prompt": "How many squares are there?", "answer": "2"},
    {"kind": "yes_no", "prompt": "Is the red square left of the blue one?", "answer": "yes"},
    {"kind": "relation", "prompt": "Where is the red square relative to the blue one?",
     "answer": "left of"},
    {"kind": "choice", "prompt": "Which is larger?", "answer": "(A)",
     "choices": ["the red square", "the blue square"]},
)  # fmt: skip


@pytest.fixture
def in_folder(tmp_path, monkeypatch) -> Path:
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, soft_wrap=True)


@pytest.fixture
def rows(in_folder) -> Path:
    """Four questions over one drawing, with everything that any stage needs."""
    picture = PIL.Image.new("RGB", (96, 64), "#ddd8cc")
    pen = PIL.ImageDraw.Draw(picture)
    pen.rectangle((8, 16, 40, 48), fill="#c03030")
    pen.rectangle((60, 24, 80, 44), fill="#3050c0")
    picture.save(in_folder / "squares.png")
    path = in_folder / "rows.jsonl"
    write_rows(path, [{**question, "rejected": "nothing at all"} for question in QUESTIONS])
    return path


@pytest.fixture
def write():
    """Write rows over the drawing to a file."""
    return write_rows


def write_rows(path: Path, rows) -> None:
    lines = [json.dumps({"id": f"row/{i}", "image": "squares.png", **row}) for i, row in
             enumerate(rows)]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def make_config(rows):
    """Configs over the four rows, without a model."""

    def made(stage: str, **sections) -> RunConfig:
        settings = {
            "stage": stage,
            "backend": "scripted",
            "debug": True,
            "output_dir": "out",
            "data": {"datasets": [{"name": "rows.jsonl"}], "max_samples": None},
        }
        return RunConfig.model_validate(settings | sections)

    return made
