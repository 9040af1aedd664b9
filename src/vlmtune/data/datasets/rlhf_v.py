"""RLHF-V: 5,733 pairs of a corrected and a hallucinating answer about a picture.

    {"image": <JPEG>, "idx": 0, "text": '{"question": "Why?", "chosen": "...", "rejected": "..."}'}

`text` is a JSON string, not an object. DPO takes the pair; SFT and GRPO take its chosen side.
"""

import json
from collections.abc import Iterator, Mapping

from vlmtune.data import published
from vlmtune.data.cells import Row, shorten
from vlmtune.data.published import HubSource
from vlmtune.errors import DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

SOURCES = {
    "rlhf_v": HubSource(
        repo="openbmb/RLHF-V-Dataset", columns=("image", "text"), licence="cc-by-nc-4.0"
    )
}
OPTIONS = published.OPTIONS
_PARTS = ("question", "chosen", "rejected")


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield pairs in the table's order.

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
        SOURCES["rlhf_v"], dataset="rlhf_v", split=split, options=options, skip=skip, shape=_pair
    )


def _pair(row: Row) -> Row:
    text = row.get("text")
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except ValueError as error:
            raise DataError(
                f"text is not JSON: 'text' holds {shorten(row['text'])} ({error}); it is a string "
                "with question, chosen and rejected"
            ) from error
    if not isinstance(text, Mapping) or any(name not in text for name in _PARTS):
        found = ", ".join(map(str, text)) if isinstance(text, Mapping) else shorten(text)
        raise DataError(f"text has other parts: found {found}; needed: {', '.join(_PARTS)}")
    rest = {name: value for name, value in row.items() if name not in ("text", "idx")}
    if row.get("idx") is not None:
        rest["id"] = f"rlhf_v/{row['idx']}"
    return {**rest, **{name: text[name] for name in _PARTS}}
