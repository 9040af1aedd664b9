"""Set rows aside for evaluation when no evaluation set is named."""

import math
from collections.abc import Sequence

from vlmtune.data import order
from vlmtune.data.images import FileImage
from vlmtune.errors import DataError
from vlmtune.types import Example

SEED = 42
"""The same rows are set aside whatever the run's own seed, so that runs can be compared."""


def divide(
    examples: Sequence[Example], *, fraction: float, seed: int = SEED
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Set a share of rows aside; rows that share a picture stay on one side.

    Args:
        examples: All rows.
        fraction: Share to set aside, 0 to 1; rounded up to whole rows.
        seed: Fixes which.

    Returns:
        Rows to train on and rows to evaluate on, both in their old order. Where rows share
        pictures, the second part may be smaller than asked for, never larger.

    Raises:
        DataError: If nothing can be set aside.
    """
    wanted = math.ceil(fraction * len(examples))
    if wanted == 0:
        return tuple(examples), ()
    groups = _groups(examples)
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


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """Put rows together that are linked by pictures, directly or through others."""
    leader = list(range(len(examples)))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    first: dict[str, int] = {}
    for place, example in enumerate(examples):
        for image in example.images:
            name = image.path if isinstance(image, FileImage) else image.name
            leader[find(place)] = find(first.setdefault(name, place))
    groups: dict[int, list[int]] = {}
    for place in range(len(examples)):
        groups.setdefault(find(place), []).append(place)
    return list(groups.values())
