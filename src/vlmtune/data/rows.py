"""From a table to Examples: columns asserted once, every row read or reported."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmtune.data import options as read_options
from vlmtune.data import preprocessing
from vlmtune.data.cells import Row, is_blank
from vlmtune.data.formats import IMAGES, Keys, to_example
from vlmtune.data.splits import Slice
from vlmtune.data.tables import Table, Unreadable
from vlmtune.errors import DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example


def unchanged(row: Row) -> Row:
    """Give a row back as it is."""
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """Turns rows into Examples.

    Attributes:
        source: The dataset's name.
        image_folder: What relative paths of pictures start from.
        keys: Columns that the user named.
        functions: The user's preprocessing.
        shape: Turns a dataset's own columns into those that `formats` knows.
        pictured: Refuse a row without a picture: every row of the dataset asks about one.
    """

    source: str
    image_folder: Path = Path()
    keys: Keys = field(default_factory=Keys)
    functions: Sequence[preprocessing.RowFunction] = ()
    shape: Callable[[Row], Row] = unchanged
    pictured: bool = False

    def example(self, row: Row, *, row_id: str) -> Example:
        """Read one row.

        Raises:
            DataError: If it cannot be used.
        """
        columns = self.keys.images if self.keys.images is not None else IMAGES
        row = preprocessing.apply(
            self.functions, row, columns=columns, folder=self.image_folder, label=row_id
        )
        row = self.shape(row)
        if self.pictured and all(is_blank(row.get(name)) for name in columns):
            raise DataError(
                f"picture is missing: every row of {self.source} asks about one; give the row its "
                "picture or remove it"
            )
        try:
            return to_example(
                row,
                row_id=row_id,
                source=self.source,
                image_folder=self.image_folder,
                keys=self.keys,
            )
        except RecursionError:
            raise DataError(
                "nested too deeply: the row has lists or objects inside hundreds of others"
            ) from None


def reader(
    options: Mapping[str, JSON],
    *,
    dataset: str,
    source: str,
    image_folder: Path = Path(),
    shape: Callable[[Row], Row] = unchanged,
    pictured: bool = False,
) -> RowReader:
    """Make a reader from a dataset's options.

    Args:
        options: `ROW_OPTIONS` are read.
        dataset: For messages.
        source: Put into every Example.
        image_folder: Used where the options name none.
        shape: Turns a dataset's own columns into those that `formats` knows.
        pictured: Refuse a row without a picture.

    Raises:
        ConfigError: If an option is of the wrong type, or a folder or file does not exist.
    """
    named = read_options.folder(options, "image_folder", dataset=dataset)
    file = read_options.text(options, "preprocessing", dataset=dataset)
    return RowReader(
        source=source,
        image_folder=image_folder if named is None else named,
        keys=read_options.keys(options, dataset=dataset),
        functions=preprocessing.load_functions(file) if file else (),
        shape=shape,
        pictured=pictured,
    )


def require_columns(table: Table, needed: Sequence[str], *, dataset: str) -> None:
    """Compare a table's columns with those that its loader was written for.

    Raises:
        DataError: If one is missing; names those found, those needed and the nearest.
    """
    if table.columns is None:
        return
    missing = [name for name in needed if name not in table.columns]
    if not missing:
        return
    near = difflib.get_close_matches(missing[0], table.columns, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise DataError(
        f"dataset {dataset}: {table.name} has no column '{missing[0]}'; {hint}"
        f"Found: {', '.join(table.columns) or 'none'}. Needed: {', '.join(needed)}"
    )


def examples(
    table: Table, *, part: Slice, label: str, reader: RowReader, skip: SkipReport
) -> Iterator[Example]:
    """Read a table.

    Args:
        table: The rows.
        part: Which of them.
        label: Row 17 is called "label/000017" where it has no id of its own.
        reader: Turns rows into Examples.
        skip: Told of every row that cannot be used.

    Yields:
        Examples in the table's order.
    """
    start, stop = part.bounds(table.count)
    for number, row in enumerate(table.read(start, stop), start=start):
        if isinstance(row, Unreadable):
            skip(row.where, row.reason)
            continue
        row_id = f"{label}/{number:06d}"
        try:
            found = reader.example(row, row_id=row_id)
        except DataError as error:
            skip(row_id, str(error))
            continue
        yield found
