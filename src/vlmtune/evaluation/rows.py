"""Rows of a benchmark from a local file, a folder or the hub, none of them left out.

    rows.jsonl            one JSON object a line; pictures are paths beside it
    test.parquet          through the `datasets` library, which leaves pictures on disk until asked
    a folder              the one .jsonl file in it, or all of its .parquet files
    owner/name            a dataset on the hub, through the same library

A benchmark without some of its rows is another benchmark, so a row that cannot be read is an error
with its line number, not a skip. A picture that is not there is another matter: its row stays and
is counted as missing.
"""

import ast
import difflib
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image

from vlmtune.data.images import BytesImage, FileImage
from vlmtune.errors import DataError, MissingDependency
from vlmtune.types import JSON, BenchmarkRow, ImageRef, RowSource

INSTALL_DATASETS = "pip install datasets"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSet:
    """A dataset on the hub.

    Attributes:
        repository: "owner/name".
        split: Which split.
        files: Files of the split, where the repository does not say it itself.
    """

    repository: str
    split: str
    files: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableImage:
    """A picture in a table on disk, read and decoded when it is opened.

    Attributes:
        name: How messages call it.
        row: Its row.
        column: Its column.
        table: The table, of the `datasets` library.
    """

    name: str
    row: int
    column: str
    table: Any = field(repr=False, compare=False)

    def open(self) -> PIL.Image.Image:
        """Decode it.

        Raises:
            DataError: If the cell holds no picture or a damaged one.
        """
        cell = self.table[self.row][self.column]
        data = cell.get("bytes") if isinstance(cell, Mapping) else None
        return BytesImage(name=self.name, data=data or b"").open()


def read(
    source: RowSource,
    *,
    name: str,
    hub: HubSet | None,
    key: str | None,
    images: Sequence[str] = ("image",),
) -> Iterator[BenchmarkRow]:
    """Yield the rows of a file or of the hub.

    Args:
        source: Where to look.
        name: The benchmark, for messages.
        hub: What stands for the benchmark when `source` names no file.
        key: The column that names a row, if there is one.
        images: Columns that may hold the picture; the first that a row has is taken.

    Raises:
        DataError: If there are no rows, or one cannot be read.
        MissingDependency: If parquet or the hub needs a library that is not installed.
    """
    for number, (row, image) in enumerate(_found(source, name=name, hub=hub, images=images)):
        yield BenchmarkRow(id=row_id(row, key=key, number=number), columns=row, image=image)


def row_id(row: Mapping[str, JSON], *, key: str | None, number: int) -> str:
    """Name a row by its column `key`, or by its number from 0."""
    named = row.get(key) if key is not None else None
    return str(number if named is None else named)


def _found(
    source: RowSource, *, name: str, hub: HubSet | None, images: Sequence[str]
) -> Iterator[tuple[Mapping[str, JSON], ImageRef | None]]:
    if source.path is None:
        if hub is None:
            raise DataError(f"{name} is not on the hub; give its file with --data")
        table = _from_hub(hub, name=name)
        yield from _table_rows(table, images=images, folder=source.image_folder)
        return
    files = _files(source.path, name=name)
    folder = source.image_folder or files[0].parent
    if not folder.is_dir():
        raise DataError(f"--image_folder {folder} is not a folder; correct it")
    if files[0].suffix == ".parquet":
        yield from _table_rows(_from_parquet(files), images=images, folder=folder)
        return
    for row in json_lines(files[0]):
        column = next((column for column in images if row.get(column)), None)
        picture = row[column] if column else None
        yield row, FileImage(str(folder / str(picture))) if picture else None


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


def _files(path: Path, *, name: str) -> list[Path]:
    if path.is_dir():
        lines = sorted(path.glob("*.jsonl"))
        if len(lines) == 1:
            return lines
        tables = sorted(path.glob("*.parquet"))
        if tables and not lines:
            return tables
        raise DataError(
            f"--data {path} holds {len(lines)} .jsonl and {len(tables)} .parquet files; "
            f"name the file that has the rows of {name}"
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


def _from_hub(hub: HubSet, *, name: str) -> Any:
    _need_datasets(f"{name} comes from the hub ({hub.repository}), which")
    import datasets

    try:
        return datasets.load_dataset(
            hub.repository,
            split=hub.split,
            data_files={hub.split: hub.files} if hub.files else None,
        )
    except datasets.exceptions.DatasetNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the hub does not give {hub.repository}: {reason}") from error
    except (OSError, ValueError) as error:
        # No network and no cached copy: the library says so with either, never with its own type.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{name} cannot be had from the hub ({reason}); connect to the network, or download "
            f"https://huggingface.co/datasets/{hub.repository} elsewhere and give it with --data"
        ) from error


def _from_parquet(files: Sequence[Path]) -> Any:
    _need_datasets(f"{files[0].name} is a parquet file, which")
    import datasets

    try:
        return datasets.load_dataset(
            "parquet", data_files=[str(file.resolve()) for file in files], split="train"
        )
    except (datasets.exceptions.DatasetGenerationError, ValueError) as error:
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(f"{files[0]} cannot be read as parquet ({cause})") from error


def _need_datasets(why: str) -> None:
    if importlib.util.find_spec("datasets") is None:
        raise MissingDependency(f"{why} needs the 'datasets' library: {INSTALL_DATASETS}")


def _table_rows(
    table: Any, *, images: Sequence[str], folder: Path | None
) -> Iterator[tuple[Mapping[str, JSON], ImageRef | None]]:
    import datasets

    column = next((name for name in images if name in table.column_names), None)
    if column and isinstance(table.features[column], datasets.Image):
        table = table.cast_column(column, datasets.Image(decode=False))
    # Only the other columns are read for the list of rows: the pictures stay on disk.
    plain = table.remove_columns([column]) if column else table
    for index, row in enumerate(plain):
        picture = _table_picture(table, index=index, column=column, folder=folder)
        shown = picture.name if isinstance(picture, TableImage) else None
        if column is not None:
            held = isinstance(table.features[column], datasets.Image)
            row[column] = shown if held else table[index][column]
        yield row, picture


def _table_picture(
    table: Any, *, index: int, column: str | None, folder: Path | None
) -> ImageRef | None:
    import datasets

    if column is None:
        return None
    if isinstance(table.features[column], datasets.Image):
        return TableImage(name=f"row {index}", row=index, column=column, table=table)
    cell = table[index][column]
    return FileImage(str((folder or Path()) / str(cell))) if cell else None
