"""The files of a report: each whole or not there."""

import json
from collections.abc import Mapping
from pathlib import Path

from vlmtune.errors import RunFailed


def as_json(value: object) -> str:
    """Write a value as lines that can be compared; a number that is none is an error."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def part_of(name: str) -> str:
    """Name the file that becomes `name` once it is whole; a run that was killed may leave it."""
    return f".{name}.part"


def write_whole(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files under other names first, and give each its own when all of it is there.

    Args:
        folder: Where; made if it is not there.
        texts: File name -> content; a lone surrogate becomes a question mark.

    Raises:
        RunFailed: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            part = folder / part_of(name)
            part.write_text(text, encoding="utf-8", errors="replace")
            part.replace(folder / name)
    except OSError as error:
        raise RunFailed(
            f"{folder} cannot be written ({error.strerror}); free some space"
        ) from error
