"""VSR: statements about where things are in COCO photographs, true or false.

    {"image": "000000451431.jpg", "image_link": "http://images.cocodataset.org/train2017/...jpg",
     "caption": "The person is inside the refrigerator.", "label": 1, "relation": "inside",
     "annotator_id": 31, "vote_true_validator_id": "[2, 9]", "vote_false_validator_id": "[]"}

The option `variant` chooses random (7,680 / 1,097 / 2,195 rows) or zeroshot (3,489 / 340 / 1,222).
The two cut the same statements differently: most of zeroshot's test rows stand in random's train
rows. So a run that trains on one and evaluates on the other is refused as a leak.

Pictures are found in `image_folder` (in it, or in its train2017 and val2017), else by address.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from vlmtune.data import options as read_options
from vlmtune.data import published
from vlmtune.data.cells import Row, is_blank, shorten
from vlmtune.data.published import HubSource
from vlmtune.errors import DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

_COLUMNS = ("image", "image_link", "caption", "label", "relation")
SOURCES = {
    "random": HubSource(
        repo="cambridgeltl/vsr_random",
        columns=_COLUMNS,
        addresses="image_link",
        licence="cc-by-4.0",
    ),
    "zeroshot": HubSource(
        repo="cambridgeltl/vsr_zeroshot",
        columns=_COLUMNS,
        addresses="image_link",
        licence="cc-by-4.0",
    ),
}
OPTIONS = ("variant", *published.OPTIONS)
_FOLDERS = ("", "train2017", "val2017", "images")
_VOTES = ("vote_true_validator_id", "vote_false_validator_id")


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield statements in the file's order.

    Args:
        split: "train", "dev" (or "validation") or "test", or a part of one.
        seed: Unused; the order is the file's.
        options: `variant`, and those of `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the file cannot be opened or has other columns.
    """
    variant = read_options.one_of(options, "variant", SOURCES, dataset="vsr")
    folder = read_options.folder(options, "image_folder", dataset="vsr")
    return published.load(
        SOURCES[variant],
        dataset="vsr",
        name=f"vsr_{variant}",
        split=split,
        options=options,
        skip=skip,
        shape=partial(_statement, variant=variant, folder=folder),
        more_options=("variant",),
    )


def _statement(row: Row, *, variant: str, folder: Path | None) -> Row:
    """Find the picture, and read the votes, which are lists written as text."""
    votes = {name: _votes(row[name], column=name) for name in _VOTES if name in row}
    return {**row, **votes, "variant": variant, "image": _picture(row, folder=folder)}


def _picture(row: Row, *, folder: Path | None) -> JSON:
    name, address = row.get("image"), row.get("image_link")
    if folder is None:
        return name if is_blank(address) else address
    if not isinstance(name, str):
        return name
    places = [Path(inner) / name for inner in _FOLDERS if (folder / inner / name).is_file()]
    return str(places[0]) if places else name


def _votes(value: JSON, *, column: str) -> JSON:
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise DataError(
            f"votes are not a list: '{column}' is {shorten(value)}; write one such as '[2, 9]'"
        ) from error
