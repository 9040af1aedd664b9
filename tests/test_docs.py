"""What the documents tell people to type is typed here.

A block is run when the line above it is an HTML comment:

    <!-- run -->               bash: each line by `bash -c` in the checkout; python: as one program
    <!-- run: exits 2 -->      the same, with the exit code that it must have

Blocks without the comment are for reading: they need a GPU, a download or a person's own files.
A block must be quick; what it writes goes to outputs/, which git ignores.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^<!-- run(?:: exits (?P<code>\d+))? -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r"^<!-- run\b.*$", flags=re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|#|mailto:)(?P<target>[^)#\s]+)")


def documents() -> list[Path]:
    return sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")])


def blocks() -> list[tuple[str, str, str, int]]:
    """Find the blocks to run: where, language, text, exit code."""
    return [
        (
            f"{path.relative_to(CHECKOUT)}:{text[: match.start()].count(chr(10)) + 1}",
            match["language"],
            match["text"],
            int(match["code"] or 0),
        )
        for path in documents()
        for text in [path.read_text(encoding="utf-8")]
        for match in BLOCK.finditer(text)
    ]


@pytest.mark.parametrize(
    ("language", "text", "code"),
    [pytest.param(*block[1:], id=block[0]) for block in blocks()],
)
def test_a_marked_block_does_what_it_says(language: str, text: str, code: int) -> None:
    command = {"bash": ["bash", "-euc", text], "python": [sys.executable, "-c", text]}[language]
    # `python` in a document means the Python that vlmtune is installed in.
    folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_mark_stands_above_a_block(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(MARK.findall(text)) == len(BLOCK.findall(text))


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [match["target"] for match in LINK.finditer(text)]
    assert [target for target in targets if not (path.parent / target).exists()] == []
