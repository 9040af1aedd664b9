"""PixMo-Cap: 717,042 pictures by address with dense captions of about 170 words.

    {"image_url": "https://...", "caption": "A long description ...", "transcripts": ["..."]}

The table has addresses only, and some of them are gone. `scripts/download_datasets.py` fetches the
pictures side by side; a row whose picture cannot be had is skipped and counted, never shown blank.
"""

from collections.abc import Iterator, Mapping

from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example, Kind

SOURCES = {
    "pixmo_cap": HubSource(
        repo="allenai/pixmo-cap",
        columns=("image_url", "caption"),
        addresses="image_url",
        licence="odc-by-1.0",
    )
}
OPTIONS = published.OPTIONS
QUESTION = "Describe this image in detail."


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield captions in the table's order.

    Args:
        split: "train", the only one, or a part of it.
        seed: Unused; the order is the table's.
        options: See `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    return published.load(
        SOURCES["pixmo_cap"],
        dataset="pixmo_cap",
        split=split,
        options=options,
        skip=skip,
        shape=_captioned,
    )


def _captioned(row: Row) -> Row:
    rest = {name: value for name, value in row.items() if name not in ("image_url", "caption")}
    return {
        **rest,
        "image": row.get("image_url"),
        "prompt": QUESTION,
        "answer": row.get("caption"),
        "kind": Kind.CAPTION.value,
    }
