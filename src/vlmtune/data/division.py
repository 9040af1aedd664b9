"""Set rows aside for evaluation when no evaluation set is named."""

import math
from collections.abc import Callable, Sequence

from vlmtune.data import order
from vlmtune.data.leaks import linked
from vlmtune.errors import DataError
from vlmtune.types import Example

SEED = 42
"""The same rows are set aside whatever the run's own seed, so that runs can be compared."""


def divide(
    examples: Sequence[Example],
    *,
    fraction: float,
    seed: int = SEED,
    look: bool = False,
    progress: Callable[[int], None] | None = None,
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Set a share of rows aside; rows that would leak into each other stay on one side.

    Args:
        examples: All rows; ids are unique.
        fraction: Share to set aside, 0 to 1; rounded up to whole rows.
        seed: Fixes which.
        look: Decode pictures and keep those together that look the same; without it pictures are
            told apart by file and name.
        progress: Called with the number of pictures looked at since the last call.

    Returns:
        Rows to train on and rows to evaluate on, both in their old order. Where rows share
        pictures, the second part may be smaller than asked for, never larger.

    Raises:
        DataError: If nothing can be set aside.
    """
    wanted = math.ceil(fraction * len(examples))
    if wanted == 0:
        return tuple(examples), ()
    groups = _groups(examples, look=look, progress=progress)
    aside: set[int] = set()
    for place in order.spread(len(groups), seed=f"divide {seed}"):
        if len(aside) + len(groups[place]) <= wanted:
            aside.update(groups[place])
    if not aside or len(aside) == len(examples):
        raise DataError(
            f"no evaluation set can be set aside: {len(examples)} rows in {len(groups)} groups "
            f"that share pictures leave no {fraction:.0%} of them; name data.eval_datasets, or set "
            "data.eval_fraction: 0"
        )
    return (
        tuple(row for place, row in enumerate(examples) if place not in aside),
        tuple(row for place, row in enumerate(examples) if place in aside),
    )


def _groups(
    examples: Sequence[Example], *, look: bool, progress: Callable[[int], None] | None
) -> list[list[int]]:
    """Put rows together that share pictures or questions, directly or through others."""
    places = {example.id: place for place, example in enumerate(examples)}
    leader = list(range(len(examples)))
    for one, other in linked(examples, look=look, progress=progress):
        leader[_first(leader, places[one])] = _first(leader, places[other])
    groups: dict[int, list[int]] = {}
    for place in range(len(examples)):
        groups.setdefault(_first(leader, place), []).append(place)
    return list(groups.values())


def _first(leader: list[int], place: int) -> int:
    """Follow a place to the one that stands for its group, and shorten the way for later."""
    while leader[place] != place:
        leader[place] = leader[leader[place]]
        place = leader[place]
    return place
