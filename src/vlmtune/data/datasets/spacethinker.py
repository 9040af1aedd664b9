r"""SpaceThinker: spatial questions whose answers think first, an open stand-in for SpatialVLM.

    {"images": [<JPEG>], "messages": [...], "input": "How tall is the shelf?",
     "output": "<think>The shelf is about as ...</think>\n\n<answer>1.8 metres</answer>"}

`input` and `output` are read; `messages` say the same with a system text in front.
"""

import re

from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource, Published

SOURCES = {
    "spacethinker": HubSource(
        repo="remyxai/SpaceThinker", columns=("images", "input", "output"), licence="apache-2.0"
    )
}
OPTIONS = published.OPTIONS
_THOUGHT = re.compile(r"(?s)\s*<think>(.*?)</think>\s*(.+)")


def _thought(row: Row) -> Row:
    used = ("messages", "input", "output")
    rest = {name: value for name, value in row.items() if name not in used}
    output = row.get("output")
    found = _THOUGHT.fullmatch(output) if isinstance(output, str) else None
    if found is None or "<answer>" in found[2]:
        return {**rest, "prompt": row.get("input"), "answer": output}
    return {**rest, "prompt": row.get("input"), "answer": found[2], "rationale": found[1].strip()}


load = Published(name="spacethinker", source=SOURCES["spacethinker"], shape=_thought).load
