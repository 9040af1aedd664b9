"""A parquet file, or a folder of parquet or JSON Lines files, in any shape that `formats` knows.

    data: {datasets: [{name: /data/robots, split: train, options: {answer_key: correct_answer}}]}

Files of a folder belong to the split in their names: train-00000-of-00262.parquet is `train`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmtune.data import options as read_options
from vlmtune.data import published, rows, splits
from vlmtune.data.options import ROW_OPTIONS
from vlmtune.errors import ConfigError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

OPTIONS = ("path", *ROW_OPTIONS)


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield the rows of local tables in the order of their names.

    Args:
        split: A split, or a part of one.
        seed: Unused; the order is the files'.
        options: `path` (required: file or folder), `image_folder` (default: the path's folder),
            `preprocessing` and the keys.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If nothing there can be read.
    """
    read_options.refuse_unknown(options, OPTIONS, dataset="files")
    named = read_options.text(options, "path", dataset="files")
    if named is None:
        raise ConfigError("dataset files needs the option 'path': a file or folder to read")
    path, part = Path(named), splits.parse(split)
    folder = path if path.is_dir() else path.parent
    source = path.name if path.is_dir() else path.stem
    reader = rows.reader(options, dataset="files", source=source, image_folder=folder)
    table = published.open_local(path, split=part.name, dataset="files")
    label = f"{source}/{part.name}"
    return rows.examples(table, part=part, label=label, reader=reader, skip=skip)
