"""RLHF-V: 5,733 pairs of a corrected and a hallucinating answer about a picture.

    {"image": <JPEG>, "idx": 0, "text": '{"question": "Why?", "chosen": "...", "rejected": "..."}'}

`text` is a JSON string, not an object. DPO takes the pair; SFT and GRPO take its chosen side.
"""

import json
from collections.abc import Mapping

from vlmtune.data import published
from vlmtune.data.cells import Row, shorten
from vlmtune.data.published import HubSource, Published
from vlmtune.errors import DataError

SOURCES = {
    "rlhf_v": HubSource(
        repo="openbmb/RLHF-V-Dataset", columns=("image", "text"), licence="cc-by-nc-4.0"
    )
}
OPTIONS = published.OPTIONS
_PARTS = ("question", "chosen", "rejected")


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


load = Published(name="rlhf_v", source=SOURCES["rlhf_v"], shape=_pair).load
