r"""SpaceThinker: spatial questions whose answers think first, an open stand-in for SpatialVLM.

    {"images": [<JPEG>], "messages": [...], "input": "How tall is the shelf?",
     "output": "<think>The shelf is about as ...</think>\n\n<answer>1.8 metres</answer>"}

`input` and `output` are read; `messages` say the same with a system text in front.
"""

import re
from collections.abc import Iterator, Mapping

from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

SOURCES = {
    "spacethinker": HubSource(
        repo="remyxai/SpaceThinker", columns=("images", "input", "output"), licence="apache-2.0"
    )
}
OPTIONS = published.OPTIONS
_THOUGHT = re.compile(r"(?s)\s*<think>(.*?)</think>\s*(.+)")


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield questions in the table's order.

    Args:
        split: "train" or "test", or a part of one.
        seed: Unused; the order is the table's.
        options: See `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    return published.load(
        SOURCES["spacethinker"],
        dataset="spacethinker",
        split=split,
        options=options,
        skip=skip,
        shape=_thought,
    )


def _thought(row: Row) -> Row:
    used = ("messages", "input", "output")
    rest = {name: value for name, value in row.items() if name not in used}
    output = row.get("output")
    found = _THOUGHT.fullmatch(output) if isinstance(output, str) else None
    if found is None or "<answer>" in found[2]:
        return {**rest, "prompt": row.get("input"), "answer": output}
    return {**rest, "prompt": row.get("input"), "answer": found[2], "rationale": found[1].strip()}
