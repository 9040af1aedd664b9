"""PixMo-Cap: 717,042 pictures by address with dense captions of about 170 words.

    {"image_url": "https://...", "caption": "A long description ...", "transcripts": ["..."]}

The table has addresses only, and some of them are gone. `scripts/download_datasets.py` fetches the
pictures side by side; a row whose picture cannot be had is skipped and counted, never shown blank.
"""

from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource, Published
from vlmtune.types import Kind

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


def _captioned(row: Row) -> Row:
    rest = {name: value for name, value in row.items() if name not in ("image_url", "caption")}
    return {
        **rest,
        "image": row.get("image_url"),
        "prompt": QUESTION,
        "answer": row.get("caption"),
        "kind": Kind.CAPTION.value,
    }


load = Published(name="pixmo_cap", source=SOURCES["pixmo_cap"], shape=_captioned).load
