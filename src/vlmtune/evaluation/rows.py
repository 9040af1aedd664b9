"""Rows of a benchmark from a local file, a folder or the hub, none of them left out.

    rows.jsonl            one JSON object a line; pictures are paths beside it
    test.parquet          pictures inside it are put on disk, under their content
    a folder              the one .jsonl file in it, or all of its .parquet files
    owner/name            the test split of a dataset on the hub

A benchmark without some of its rows is another benchmark, so a row that cannot be read is an error
with its line number, not a skip. A picture that is not there is another matter: its row stays and
is counted as missing.
"""

import ast
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from vlmtune.data import hub, store, tables
from vlmtune.data.images import FileImage
from vlmtune.data.splits import SAME
from vlmtune.data.tables import Table, Unreadable
from vlmtune.errors import DataError
from vlmtune.types import JSON, BenchmarkRow, ImageRef, RowSource

SPLIT = "test"
_FOLDERS = ("", "train2017", "val2017", "train2014", "val2014", "images")
"""Where below the image folder COCO's pictures may lie."""


def read(
    source: RowSource,
    *,
    name: str,
    repository: str | None,
    key: str | None,
    images: Sequence[str] = ("image",),
) -> Iterator[BenchmarkRow]:
    """Yield the rows of a file or of the hub.

    Args:
        source: Where to look.
        name: The benchmark, for messages.
        repository: "owner/name" on the hub, for when `source` names no file.
        key: The column that names a row, if there is one.
        images: Columns that may hold the picture; the first that a row has is taken.

    Raises:
        DataError: If there are no rows, or one cannot be read.
        MissingDependency: If a library for parquet or the hub is not installed.
    """
    for number, (row, image) in enumerate(
        _found(source, name=name, repository=repository, images=images)
    ):
        yield BenchmarkRow(id=row_id(row, key=key, number=number), columns=row, image=image)


def row_id(row: Mapping[str, JSON], *, key: str | None, number: int) -> str:
    """Name a row by its column `key`, or by its number from 0."""
    named = row.get(key) if key is not None else None
    return str(number if named is None else named)


def _found(
    source: RowSource, *, name: str, repository: str | None, images: Sequence[str]
) -> Iterator[tuple[Mapping[str, JSON], ImageRef | None]]:
    folder = source.image_folder
    if folder is not None and not folder.is_dir():
        raise DataError(f"--image_folder {folder} is not a folder; correct it")
    if source.path is None:
        if repository is None:
            raise DataError(f"{name} is not on the hub; give its file with --data")
        rows = _table_rows(_from_hub(repository, name=name))
    else:
        files = _files(source.path, name=name)
        folder = folder or files[0].parent
        if files[0].suffix == ".parquet":
            rows = _table_rows(tables.open_files(files, dataset=name))
        else:
            rows = json_lines(files[0])
    for row in rows:
        column = next((column for column in images if row.get(column)), None)
        if column is None:
            yield row, None
            continue
        picture, shown = _picture(row, column=column, folder=folder or Path())
        yield {**row, column: shown}, picture


def _from_hub(repository: str, *, name: str) -> Table:
    try:
        return hub.open_table(repository, split=SPLIT, dataset=name)
    except DataError as error:
        # What helps here is a flag of this script, not an option of a training config.
        reason = str(error).partition("; ")[0]
        raise DataError(
            f"{reason}; connect to the network, give the rows with --data, or take a benchmark "
            "that needs neither: scenes-vsr, scenes-cv-bench"
        ) from error


def _picture(
    row: Mapping[str, JSON], *, column: str, folder: Path
) -> tuple[ImageRef | None, str | None]:
    """Find a row's picture, and what stands for it in the row's columns."""
    cell = row[column]
    if isinstance(cell, Mapping):
        data, named = cell.get("bytes"), cell.get("path")
        if not data:
            return None, named
        # Kept on disk under its content: a benchmark of pictures would not fit into memory.
        path = store.by_content(bytes(data), cache=store.cache_folder())
        return FileImage(str(path)), named
    name = str(cell)
    places = [folder / below / name for below in _FOLDERS]
    if isinstance(link := row.get("image_link"), str) and link:
        places.append(store.at_address(link, cache=store.cache_folder()))
    found = next((place for place in places if place.is_file()), places[0])
    return FileImage(str(found)), name


def _table_rows(table: Table) -> Iterator[Mapping[str, JSON]]:
    for row in table.read(0, None):
        if isinstance(row, Unreadable):
            raise DataError(f"{row.where}: {row.reason}")
        yield row


def json_lines(path: Path) -> Iterator[dict[str, JSON]]:
    """Read a JSON Lines file, or a JSON file that is one list of objects.

    Raises:
        DataError: If the file cannot be read or a line is not an object.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}); convert it") from error
    if text.lstrip().startswith("["):
        yield from _json_list(text, path=path)
        return
    empty = True
    # Not splitlines: it also cuts at U+2028 and its kin, which JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            empty = False
            yield _json_object(line, where=f"{path.name} line {number}")
    if empty:
        raise DataError(f"{path} is empty; it should hold one JSON object a line")


def python_list(value: JSON) -> JSON:
    """Read a cell that should be a list and may be written as text: "['a', 'b']" or "[2, 9]".

    Returns:
        The list, or the value itself where it is neither.
    """
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        found = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if isinstance(found, list) else value


def _json_list(text: str, *, path: Path) -> Iterator[dict[str, JSON]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} starts like a JSON list and is not one ({error})") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path.name} entry {number} is not a JSON object")
        yield row


def _json_object(line: str, *, where: str) -> dict[str, JSON]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is not a JSON object; write one object a line")
    return row


def _asked(files: Sequence[Path], *, below: Path) -> list[Path]:
    """Leave out training files where names tell splits apart; test comes before validation."""
    by_split: dict[str | None, list[Path]] = {}
    for file in files:
        by_split.setdefault(tables.split_of(file, below=below), []).append(file)
    for names in (SAME["test"], SAME["validation"]):
        if found := [file for name in names for file in by_split.get(name, [])]:
            return found
    return by_split.get(None, [])


def _files(path: Path, *, name: str) -> list[Path]:
    if path.is_dir():
        lines = _asked(sorted(path.glob("*.jsonl")), below=path)
        if len(lines) == 1:
            return lines
        parquet = _asked(sorted(path.glob("*.parquet")), below=path)
        if parquet and not lines:
            return parquet
        raise DataError(
            f"--data {path} holds {len(lines)} .jsonl and {len(parquet)} .parquet files to ask "
            f"about; name the file that has the rows of {name}"
        )
    if not path.exists():
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [], n=1
        )
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise DataError(f"--data {path} does not exist{hint}")
    if path.suffix not in (".jsonl", ".json", ".ndjson", ".parquet"):
        raise DataError(f"--data {path} is no .jsonl, .json or .parquet file and no folder")
    return [path]
