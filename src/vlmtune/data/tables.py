"""Tables on disk: a parquet or JSON Lines file, or a folder of them, read a few rows at a time.

In a folder the files of a split are told apart by their names, as the hub writes them:

    train-00000-of-00262.parquet, test-00000-of-00003.parquet, validation.parquet, train/0.parquet

so that asking for `train` never reads a row of `test`.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmtune.data.cells import Row
from vlmtune.data.splits import SAME, choose
from vlmtune.errors import ConfigError, DataError, MissingDependency

BATCH = 16
"""Rows read at a time: a row may bring four pictures of many megabytes."""

_SUFFIXES = (".parquet", ".jsonl", ".ndjson")
_NAMES = frozenset(itertools.chain.from_iterable(SAME.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row that cannot even be taken apart into columns.

    Attributes:
        where: "rows.jsonl line 17".
        reason: What is wrong with it.
    """

    where: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows that can be read from any place on.

    Attributes:
        name: For messages: a path or hub id.
        columns: Their names, or None where only the rows themselves tell.
        count: Counts the rows.
        read: First row, row after the last or None -> the rows.
    """

    name: str
    columns: tuple[str, ...] | None
    count: Callable[[], int]
    read: Callable[[int, int | None], Iterator[Row | Unreadable]]


def local_files(path: Path, *, split: str, dataset: str) -> tuple[Path, ...]:
    """Find the files of a split.

    Args:
        path: A file, or a folder that is searched with all folders inside.
        split: The split's name, without a slice.
        dataset: For messages.

    Returns:
        Files of one kind, sorted by path.

    Raises:
        ConfigError: If there is no such split, or the names leave open which file belongs to it.
        DataError: If the path does not exist or holds no table.
    """
    if path.is_file():
        _refuse_other_split(path, split=split)
        return (path,)
    if not path.is_dir():
        raise DataError(f"dataset {dataset}: {path} does not exist; correct the path")
    by_suffix = {suffix: sorted(path.rglob(f"*{suffix}")) for suffix in _SUFFIXES}
    found = next((files for files in by_suffix.values() if files), [])
    if not found:
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:6]) or "nothing"
        raise DataError(
            f"dataset {dataset}: {path} holds no .parquet or .jsonl file but {inside}; "
            "name the folder of the tables"
        )
    groups: dict[str, list[Path]] = {}
    for file in found:
        groups.setdefault(split_of(file, below=path) or "", []).append(file)
    unnamed = groups.pop("", [])
    if unnamed and groups:
        raise ConfigError(
            f"dataset {dataset}: in {path} some files name their split and others do not, such as "
            f"{unnamed[0].name}; name the files' folder or rename them to train-*, test-*"
        )
    if unnamed:
        groups["train"] = unnamed
    return tuple(groups[choose(split, tuple(groups), dataset=dataset)])


def split_of(file: Path, *, below: Path) -> str | None:
    """Read a file's split from its name, or from the folders between it and `below`.

    Returns:
        The split as it is written there, or None.
    """
    for name in (file.stem, *(part.name for part in file.parents if _is_inside(part, below))):
        first = re.split(r"[-_.]", name.lower(), maxsplit=1)[0]
        if first in _NAMES:
            return first
    return None


def open_files(files: Sequence[Path], *, dataset: str) -> Table:
    """Open parquet files as one table.

    Args:
        files: From `local_files`.
        dataset: For messages.

    Raises:
        DataError: If a file is no parquet file, or the files differ in their columns.
        MissingDependency: If pyarrow is not installed.
    """
    parquet = _pyarrow_parquet()
    metadata = [_opened(parquet, file).schema_arrow.names for file in files]
    for file, columns in zip(files, metadata, strict=True):
        if set(columns) != set(metadata[0]):
            raise DataError(
                f"dataset {dataset}: {file.name} has the columns {', '.join(columns)} and "
                f"{files[0].name} has {', '.join(metadata[0])}; keep files of one table together"
            )

    def read(start: int, stop: int | None) -> Iterator[Row | Unreadable]:
        """Yield rows of all files as if they were one."""
        return _rows(parquet, files, start=start, stop=stop)

    def count() -> int:
        """Add up the rows of all files."""
        return sum(_opened(parquet, file).metadata.num_rows for file in files)

    name = str(files[0] if len(files) == 1 else files[0].parent)
    return Table(name=name, columns=tuple(metadata[0]), count=count, read=read)


def _rows(
    parquet: ModuleType, files: Sequence[Path], *, start: int, stop: int | None
) -> Iterator[Row]:
    first = 0
    for file in files:
        table = _opened(parquet, file)
        for group in range(table.metadata.num_row_groups):
            length = table.metadata.row_group(group).num_rows
            if stop is not None and first >= stop:
                return
            if first + length > start:
                low = max(0, start - first)
                high = length if stop is None else min(length, stop - first)
                yield from itertools.islice(_group(table, group, file=file), low, high)
            first += length


def _group(table: Any, group: int, *, file: Path) -> Iterator[Row]:
    try:
        for batch in table.iter_batches(batch_size=BATCH, row_groups=[group]):
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(_damaged(file, error)) from error


def _opened(parquet: ModuleType, file: Path) -> Any:
    try:
        return parquet.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise DataError(_damaged(file, error)) from error


def _damaged(file: Path, error: Exception) -> str:
    what = " ".join(str(error).split())[:160]
    return f"parquet file {file} cannot be read ({what}); download or export it again"


def _pyarrow_parquet() -> ModuleType:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "reading parquet needs pyarrow; install it with: pip install 'vlmtune[data]'"
        ) from error
    module: ModuleType = pyarrow.parquet
    return module


def _refuse_other_split(file: Path, *, split: str) -> None:
    """A file that the user names is taken, unless its own name contradicts the split asked for."""
    own = split_of(file, below=file.parent)
    same = next((names for names in SAME.values() if split in names), (split,))
    if split != "train" and own is not None and own not in same:
        raise ConfigError(
            f"split '{split}' is asked for, and {file.name} is '{own}' by its name; "
            "leave the split out or name another file"
        )


def _is_inside(folder: Path, below: Path) -> bool:
    return below in folder.parents
