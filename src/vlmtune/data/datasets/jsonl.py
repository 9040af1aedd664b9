"""Rows of a local JSON Lines file: one object a line, in any shape that `formats` knows.

    {"id": "photos/001", "image": "cats.jpg", "prompt": "How many cats are there?", "answer": "2"}

A line that cannot be used is reported as "file.jsonl line 17" and the reading goes on.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmtune.data import options as read_options
from vlmtune.data import rows, splits
from vlmtune.data.lines import count_lines, read_lines, refuse_unreadable
from vlmtune.data.options import ROW_OPTIONS
from vlmtune.data.rows import RowReader
from vlmtune.data.tables import Unreadable
from vlmtune.errors import ConfigError, DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

OPTIONS = ("path", *ROW_OPTIONS)


def load(
    *,
    split: str,
    seed: int,
    options: Mapping[str, JSON],
    skip: SkipReport,
) -> Iterator[Example]:
    """Read Examples from a file, in its order.

    Args:
        split: "train" or a part of it, as in "train[:5%]": a file is one split.
        seed: Unused; the order is the file's.
        options: `path` (required); `image_folder`, where relative picture paths start (default:
            the file's folder); `prompt_key`, `answer_key`, `choice_key` and `image_keys` name
            columns that the aliases do not cover; `preprocessing` names a file of functions.
        skip: Told of every line that cannot be used.

    Returns:
        Examples, read as they are asked for.

    Raises:
        ConfigError: If an option is unknown or of the wrong type.
        DataError: If there is no such file or it holds no lines of JSON.
    """
    part = splits.parse(split)
    if part.name != "train":
        raise ConfigError(
            f"dataset jsonl has no split '{part.name}': a file is one split; "
            "leave 'split' out and name the other file"
        )
    read_options.refuse_unknown(options, OPTIONS, dataset="jsonl")
    named = read_options.text(options, "path", dataset="jsonl")
    if named is None:
        raise ConfigError("dataset jsonl needs the option 'path': the .jsonl file to read")
    path = Path(named)
    refuse_unreadable(path)
    reader = rows.reader(options, dataset="jsonl", source=path.stem, image_folder=path.parent)
    return _examples(path, part=part, reader=reader, skip=skip)


def _examples(
    path: Path, *, part: splits.Slice, reader: RowReader, skip: SkipReport
) -> Iterator[Example]:
    start, stop = part.bounds(lambda: count_lines(path))
    for number, row in itertools.islice(read_lines(path), start, stop):
        if isinstance(row, Unreadable):
            skip(row.where, row.reason)
            continue
        try:
            found = reader.example(row, row_id=f"{path.stem}/{number:06d}")
        except DataError as error:
            skip(f"{path.name} line {number}", str(error))
            continue
        yield found
