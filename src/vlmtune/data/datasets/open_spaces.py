"""OpenSpaces: questions about distances and places in photographs, an open stand-in for SpatialVLM.

    {"images": [<JPEG>], "messages": [
        {"role": "user", "content": [{"index": 0, "type": "image", "text": null},
                                     {"index": null, "type": "text", "text": "How far ...?"}]},
        {"role": "assistant", "content": [{"index": null, "type": "text", "text": "2.1 metres."}]}]}

The option `variant` chooses: open_spaces (10,284 rows), mc_r1 (lettered choices with `reasoning`)
or spacellava (25,235 rows of an earlier run of the same recipe).
"""

from collections.abc import Iterator, Mapping

from vlmtune.data import options as read_options
from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

SOURCES = {
    "open_spaces": HubSource(
        repo="remyxai/OpenSpaces", columns=("images", "messages"), licence="apache-2.0"
    ),
    "mc_r1": HubSource(
        repo="remyxai/OpenSpaces_MC_R1",
        columns=("images", "messages", "reasoning"),
        licence="see its card",
    ),
    "spacellava": HubSource(
        repo="remyxai/vqasynth_spacellava", columns=("images", "messages"), licence="apache-2.0"
    ),
}
OPTIONS = ("variant", *published.OPTIONS)


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield conversations in the table's order.

    Args:
        split: "train" or "test", or a part of one.
        seed: Unused; the order is the table's.
        options: `variant`, and those of `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    variant = read_options.one_of(options, "variant", SOURCES, dataset="open_spaces")
    return published.load(
        SOURCES[variant],
        dataset="open_spaces",
        name=variant if variant == "open_spaces" else f"open_spaces_{variant}",
        split=split,
        options=options,
        skip=skip,
        shape=_reasoned,
        more_options=("variant",),
    )


def _reasoned(row: Row) -> Row:
    if "reasoning" not in row:
        return row
    rest = {name: value for name, value in row.items() if name != "reasoning"}
    return {**rest, "rationale": row["reasoning"] or ""}
