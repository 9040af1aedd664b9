"""RLAIF-V in the shape that TRL reads: 83,132 pairs ranked by a model.

{"images": [<JPEG>],
 "prompt": [{"role": "user", "content": [{"type": "image", "text": null},
                                         {"type": "text", "text": "What is he doing?"}]}],
 "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "He cooks."}]}],
 "rejected": [{"role": "assistant", "content": [{"type": "text", "text": "He paints."}]}]}
"""

from collections.abc import Iterator, Mapping

from vlmtune.data import published
from vlmtune.data.published import HubSource
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

SOURCES = {
    "rlaif_v": HubSource(
        repo="HuggingFaceH4/rlaif-v_formatted",
        columns=("images", "prompt", "chosen", "rejected"),
        licence="cc-by-nc-4.0",
    )
}
OPTIONS = published.OPTIONS


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield pairs in the table's order.

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
        SOURCES["rlaif_v"], dataset="rlaif_v", split=split, options=options, skip=skip
    )
