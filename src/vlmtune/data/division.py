"""Set rows aside for evaluation when no evaluation set is named."""

import math
from array import array
from collections.abc import Callable, MutableSequence, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlmtune.data import order
from vlmtune.data.leaks import linked
from vlmtune.errors import DataError
from vlmtune.types import Example

Places: TypeAlias = npt.NDArray[np.int64]

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
        examples: All rows.
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
    group_of, sizes = _groups(examples, look=look, progress=progress)
    chosen, count = np.zeros(len(sizes), dtype=np.bool_), 0
    for group in order.spread(len(sizes), seed=f"divide {seed}"):
        if count + sizes[group] <= wanted:
            chosen[group] = True
            count += int(sizes[group])
    if count in (0, len(examples)):
        raise DataError(
            f"no evaluation set can be set aside: {len(examples)} rows in {len(sizes)} groups "
            f"that share pictures leave no {fraction:.0%} of them; name data.eval_datasets, or set "
            "data.eval_fraction: 0"
        )
    aside = chosen[group_of]
    return (
        tuple(row for place, row in enumerate(examples) if not aside[place]),
        tuple(row for place, row in enumerate(examples) if aside[place]),
    )


def _groups(
    examples: Sequence[Example], *, look: bool, progress: Callable[[int], None] | None
) -> tuple[Places, Places]:
    """Put rows together that share pictures or questions, directly or through others.

    Returns:
        The group of every row, numbered as they first appear, and the rows of every group.
    """
    leader = array("q", range(len(examples)))
    for one, other in linked(examples, look=look, progress=progress):
        leader[_first(leader, one)] = _first(leader, other)
    leaders = np.array([_first(leader, place) for place in range(len(examples))], dtype=np.int64)
    _, first, group_of, sizes = np.unique(
        leaders, return_index=True, return_inverse=True, return_counts=True
    )
    by_appearance = np.argsort(first)
    return np.argsort(by_appearance)[group_of], sizes[by_appearance]


def _first(leader: MutableSequence[int], place: int) -> int:
    """Follow a place to the one that stands for its group, and shorten the way for later."""
    while leader[place] != place:
        leader[place] = leader[leader[place]]
        place = leader[place]
    return place
