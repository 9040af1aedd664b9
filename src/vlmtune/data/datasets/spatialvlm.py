"""SpatialVLM's two billion rows were never released; this says so and names what can be used."""

from collections.abc import Iterator, Mapping

from vlmtune.errors import DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

STAND_INS = ("open_spaces", "spacethinker", "scenes")


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Refuse.

    Raises:
        DataError: Always: there is nothing to load.
    """
    raise DataError(
        "dataset spatialvlm cannot be loaded: its 2 billion rows are internal to its authors and "
        "were never released; open stand-ins made the same way are open_spaces and spacethinker, "
        "and scenes makes spatial questions without a download"
    )
