"""Rows with drawn pictures, and a console that keeps what was printed."""

import io
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
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


class ForkedRun:
    """One run; its process is a child of the server."""

    def __init__(self, runs: "ForkedRuns", process: int) -> None:
        self._runs = runs
        self.process = process
        self._code: int | None = None

    def alive(self) -> bool:
        """Whether it still runs, as far as the server has said."""
        return self._code is None and not self._runs.has_said()

    def send(self, number: signal.Signals) -> None:
        """Send a signal; the number of one that has ended is not given away before the next."""
        os.kill(self.process, number)

    def wait(self) -> int:
        """Wait for its end, and tell its exit code, -9 after SIGKILL."""
        if self._code is None:
            self._code = self._runs.number()
        return self._code


class ForkedRuns:
    """Trainings in processes of their own, forked from one that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._output = folder / "output.txt"
        script = Path(__file__).parents[1] / "fixtures" / "forked_runs.py"
        self._server = subprocess.Popen(
            [sys.executable, str(script)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output.open("a"),
            env=os.environ | {"OMP_NUM_THREADS": "1", "TRACKIO_DIR": str(folder / "trackio")},
        )

    def start(
        self, stage: str, words: Sequence[str], *, folder: str = ".", **environment: str
    ) -> ForkedRun:
        self._output.write_text("")
        request = {"stage": stage, "words": list(words), "environment": environment}
        request["folder"] = folder
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request | {"output": str(self._output)}).encode())
        self._server.stdin.write(b"\n")
        self._server.stdin.flush()
        return ForkedRun(self, self.number())

    def said(self) -> str:
        """What the last run printed."""
        return self._output.read_text()

    def has_said(self) -> bool:
        """Whether a number can be read without waiting."""
        return bool(select.select([self._server.stdout], [], [], 0)[0])

    def number(self) -> int:
        assert self._server.stdout is not None
        # Unbuffered, so that `has_said` sees all that was not read.
        line = self._server.stdout.readline()
        assert line, f"the server ended: {self.said()}"
        return int(line)

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


@pytest.fixture(scope="module")
def forked_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedRuns]:
    """Start trainings without waiting for their imports."""
    runs = ForkedRuns(tmp_path_factory.mktemp("forked"))
    yield runs
    runs.close()
