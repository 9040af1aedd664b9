"""CV-Bench: 2,638 lettered questions about counts, relations, depth and distance.

    {"idx": 0, "type": "2D", "task": "Count", "image": <PNG>, "source": "ADE20K",
     "question": "How many organs are in the image?", "choices": ["3", "2", "1", "0"],
     "answer": "(C)", "prompt": "How many organs are in the image? Select from ..."}

Up to six choices, (A) to (F). It is a benchmark: its only split is `test`.
"""

from collections.abc import Iterator, Mapping

from vlmtune.data import options as read_options
from vlmtune.data import published
from vlmtune.data.cells import Row
from vlmtune.data.published import HubSource
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example, Kind

_COLUMNS = ("idx", "type", "task", "image", "question", "choices", "answer", "source")
SOURCES = {
    "default": HubSource(repo="nyu-visionx/CV-Bench", columns=_COLUMNS, licence="apache-2.0"),
    "2D": HubSource(
        repo="nyu-visionx/CV-Bench", subset="2D", columns=_COLUMNS, licence="apache-2.0"
    ),
    "3D": HubSource(
        repo="nyu-visionx/CV-Bench", subset="3D", columns=_COLUMNS, licence="apache-2.0"
    ),
}
OPTIONS = ("part", *published.OPTIONS)


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield questions in the table's order.

    Args:
        split: "test", or a part of it.
        seed: Unused; the order is the table's.
        options: `part` (default, 2D or 3D), and those of `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    part = read_options.one_of(options, "part", SOURCES, dataset="cv_bench")
    found = published.load(
        SOURCES[part],
        dataset="cv_bench",
        split=split,
        options=options,
        skip=skip,
        shape=_question,
        more_options=("part",),
    )
    # A local copy holds both parts.
    return (row for row in found if part == "default" or row.facts.get("type") == part)


def _question(row: Row) -> Row:
    return {**row, "id": f"cv_bench/{row.get('idx')}", "kind": Kind.CHOICE.value}
