r"""multimodal-open-r1-8k-verified: 7,690 mathematical questions with thinking in the answers.

{"image": <PNG>, "problem": "Find x.", "solution": "<think>...</think>\n\n<answer>3</answer>",
 "original_question": "Find x. Choices: ...", "original_answer": "The answer is 3."}
"""

from collections.abc import Iterator, Mapping

from vlmtune.data import published
from vlmtune.data.published import HubSource
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

SOURCES = {
    "open_r1_8k": HubSource(
        repo="lmms-lab/multimodal-open-r1-8k-verified",
        columns=("image", "problem", "solution"),
        pictured=False,
        licence="see its card",
    )
}
OPTIONS = published.OPTIONS


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield problems in the table's order; solutions keep their tags.

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
        SOURCES["open_r1_8k"], dataset="open_r1_8k", split=split, options=options, skip=skip
    )
