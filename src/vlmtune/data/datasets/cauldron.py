"""The Cauldron: fifty collections of questions about pictures in one shape.

    {"images": [<JPEG>], "texts": [{"user": "What is this?", "assistant": "A cup.", "source": "."}]}

The option `subset` names the collection: ai2d, vqav2, tallyqa, vsr ...
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vlmtune.data import options as read_options
from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource
from vlmtune.errors import ConfigError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

SOURCES = {
    "cauldron": HubSource(
        repo="HuggingFaceM4/the_cauldron",
        columns=("images", "texts"),
        pictured=False,
        licence="differs by subset, see its card",
    )
}
OPTIONS = ("subset", *published.OPTIONS)


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield conversations in the table's order.

    Args:
        split: "train", the only one, or a part of it.
        seed: Unused; the order is the table's.
        options: `subset` (required unless `path` names a local copy of one), and those of
            `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    subset = read_options.text(options, "subset", dataset="cauldron")
    if subset is None and "path" not in options:
        raise ConfigError(
            "dataset cauldron needs the option 'subset': it is fifty collections; name one, such "
            "as ai2d or tallyqa"
        )
    return published.load(
        replace(SOURCES["cauldron"], subset=subset),
        dataset="cauldron",
        name=f"cauldron_{subset}" if subset else "cauldron",
        split=split,
        options=options,
        skip=skip,
        shape=_present,
        more_options=("subset",),
    )


def _present(row: Row) -> Row:
    """Drop pictures that are null: some rows of text-only collections list one."""
    images = row.get("images")
    if not isinstance(images, (list, tuple)):
        return row
    return {**row, "images": [image for image in images if image is not None]}
