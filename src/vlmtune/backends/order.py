"""Which rows make which update, the same on every backend.

    5 rows, batch_size 2, accumulation 2        update 0   [3 0] [4 1]
                                                update 1   [2]            the pass ends
                                                update 2   [0 2] [1 4]    another order

A pass is one walk over all rows. Its order is computed from the seed and its number, the rows of an
update from its number, so a run that goes on needs no memory of where it was.
"""

# N rows

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


def pass_order(rows: int, *, seed: int, number: int) -> npt.NDArray[np.int64]:
    """Shuffle the rows of one pass.

    Args:
        rows: How many there are.
        seed: The run's seed.
        number: Which pass, from 0.

    Returns:
        A permutation of the places 0 to `rows` - 1, int64 [N].
    """
    name = f"order\0{seed}\0{number}".encode()
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    order: npt.NDArray[np.int64] = np.argsort(
        np.random.Philox(key=key).random_raw(rows), kind="stable"
    )
    return order


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How rows are walked over, batch by batch.

    Attributes:
        rows: Rows of one pass.
        batch_size: Rows of one batch; the last of a pass may be smaller.
        accumulation: Batches of one update; the last of a pass may have fewer.
        seed: The run's seed.
    """

    rows: int
    batch_size: int
    accumulation: int
    seed: int

    @property
    def batches_per_pass(self) -> int:
        """Batches of one pass."""
        return math.ceil(self.rows / self.batch_size)

    @property
    def updates_per_pass(self) -> int:
        """Updates of one pass."""
        return max(1, math.ceil(self.batches_per_pass / self.accumulation))

    def batches(self, update: int) -> list[list[int]]:
        """List the rows of one update.

        Args:
            update: Updates made before it, from 0.

        Returns:
            The places of each batch's rows.
        """
        number, inside = divmod(update, self.updates_per_pass)
        order = pass_order(self.rows, seed=self.seed, number=number).tolist()
        first = inside * self.accumulation
        last = min(first + self.accumulation, self.batches_per_pass)
        size = self.batch_size
        return [order[batch * size : (batch + 1) * size] for batch in range(first, last)]

    def passed(self, updates: int) -> float:
        """Say how many passes a number of updates makes."""
        number, inside = divmod(updates, self.updates_per_pass)
        share = min(inside * self.accumulation, self.batches_per_pass) / self.batches_per_pass
        return number + share


def total_updates(*, per_pass: int, passes: float, most: int | None) -> int:
    """Count the updates of a run: `most` where it is set, else what `passes` come to."""
    return math.ceil(passes * per_pass) if most is None else most
