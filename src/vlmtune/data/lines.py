"""JSON Lines: one object a line, read as it is asked for, each bad line told apart from a good one.

The file is read line by line, so a file of any length costs no memory.
"""

import difflib
import itertools
import json
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from vlmtune.data.cells import Row
from vlmtune.data.tables import Table, Unreadable
from vlmtune.errors import DataError
from vlmtune.types import JSON

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. A longer line is skipped without being held in memory."""

_BOM = b"\xef\xbb\xbf"
_OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a parquet file"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
)


def read_lines(path: Path) -> Iterator[tuple[int, Row | Unreadable]]:
    """Yield (line number from 1, row) of every line that is not blank.

    Args:
        path: A file that `refuse_unreadable` accepts.
    """
    with path.open("rb") as stream:
        for number, line in _lines(stream):
            try:
                yield number, _object(line)
            except DataError as error:  # noqa: PERF203 (a bad line ends nothing)
                yield number, Unreadable(where=f"{path.name} line {number}", reason=str(error))
            except RecursionError:
                reason = "nested too deeply: the row has lists or objects inside hundreds of others"
                yield number, Unreadable(where=f"{path.name} line {number}", reason=reason)


def count_lines(path: Path) -> int:
    """Count the lines that are not blank."""
    with path.open("rb") as stream:
        return sum(1 for _ in _lines(stream))


def open_lines(files: Sequence[Path], *, dataset: str) -> Table:
    """Open JSON Lines files as one table.

    Args:
        files: Read one after the other.
        dataset: For messages.

    Raises:
        DataError: If a file does not exist or holds no lines of JSON.
    """
    for file in files:
        refuse_unreadable(file)

    def read(start: int, stop: int | None) -> Iterator[Row | Unreadable]:
        """Yield rows of all files as if they were one."""
        rows = (row for file in files for _, row in read_lines(file))
        return itertools.islice(rows, start, stop)

    def count() -> int:
        """Add up the rows of all files."""
        return sum(count_lines(file) for file in files)

    name = str(files[0] if len(files) == 1 else files[0].parent)
    return Table(name=name, columns=None, count=count, read=read)


def refuse_unreadable(path: Path) -> None:
    """Look at a file before its first line is read.

    Raises:
        DataError: If it does not exist, is empty, or is of another kind by its first bytes.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"dataset file {path} does not exist{neighbour(path)}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"dataset file {str(path)[:200]!r} cannot be read ({error})") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"dataset file {path} is not a file; name a .jsonl file{neighbour(path)}")
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise DataError(f"dataset file {path} cannot be read ({error.strerror})") from error
    if not head.strip():
        raise DataError(f"dataset file {path} is empty; write one JSON object a line")
    for mark, meaning in _OTHER_FILES:
        if head.startswith(mark):
            raise DataError(f"dataset file {path} is not JSON Lines but {meaning}")
    first = head.removeprefix(_BOM).strip().split(b"\n")[0].strip()
    if first == b"{" or (first.startswith(b"[") and path.suffix == ".json") or first == b"[":
        raise DataError(
            f"dataset file {path} is one JSON document, not JSON Lines; convert it with: "
            f"jq -c '.[]' {path.name} > {path.stem}.jsonl"
        )


def neighbour(path: Path) -> str:
    """Say what lies near a path that does not exist."""
    folder = path.parent
    if not folder.is_dir():
        return f"; neither does the folder {folder}"
    names = sorted(file.name for file in folder.iterdir() if file.suffix in (".jsonl", ".json"))
    guess = difflib.get_close_matches(path.name, names, n=1)
    if guess:
        return f"; did you mean {folder / guess[0]}?"
    return f"; {folder} holds {', '.join(names[:6]) if names else 'no .jsonl file'}"


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, bytes) of every line that is not blank."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            # The rest is passed over in pieces; the row is refused by its length alone.
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(LONGEST_LINE)
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _object(line: bytes) -> Mapping[str, JSON]:
    if len(line) > LONGEST_LINE:
        raise DataError(
            f"line is too long: more than {LONGEST_LINE:,} bytes; "
            "keep pictures in files and give their paths"
        )
    try:
        row = json.loads(
            line.decode(),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_repeats,
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 text: byte 0x{line[error.start]:02x} at position {error.start + 1}; "
            "save the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON ({error.msg} at column {error.colno}); write one object a line"
        ) from error
    except ValueError as error:
        raise DataError(f"not valid JSON ({error}); shorten the number") from error
    if not isinstance(row, dict):
        raise DataError(
            f"not a JSON object (a {type(row).__name__}); write one object a line, {{...}}"
        )
    return row


def _refuse_constant(name: str) -> float:
    raise DataError(f"not valid JSON ({name} is no JSON value); write null instead")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DataError(f"not valid JSON (the number {digits[:20]} overflows); write a text")
    return value


def _without_repeats(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = [key for key, _ in pairs]
        twice = next(key for key in seen if seen.count(key) > 1)
        raise DataError(f"not valid JSON (the key {twice!r} stands twice); keep one of them")
    return found
