"""Rows in the order of `backends/order.py`, for the trainers: the same order as on MLX.

transformers' own order comes from PyTorch's generator, which no other backend has; and TRL's
sampler of GRPO, whose generator runs on from pass to pass, begins anew when a run is resumed.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import trl.trainer.utils

from vlmtune.backends.order import pass_order


class PassSampler(torch.utils.data.Sampler[int]):
    """Gives the places of rows.

    It asks which pass begins: accelerate's `set_epoch` does not reach a sampler below the wrappers
    of a run that is resumed in several processes.

    Attributes:
        rows: Rows of a pass.
        chunk: Rows that are repeated together; those that fill no chunk are left out.
        copies: How often each row of a chunk comes, one after the other.
        repeats: How often each chunk comes.
    """

    def __init__(
        self,
        rows: int,
        *,
        seed: int,
        number: Callable[[], int],
        chunk: int = 1,
        copies: int = 1,
        repeats: int = 1,
    ) -> None:
        self.rows = rows
        self.chunk = chunk
        self.copies = copies
        self.repeats = repeats
        self._seed = seed
        self._number = number

    @classmethod
    def like(cls, theirs: Any, *, rows: int, seed: int, number: Callable[[], int]) -> "PassSampler":
        """Repeat rows as another sampler does, if it does.

        Args:
            theirs: What the trainer would have used.
            rows: Rows of a pass.
            seed: The run's seed.
            number: Says which pass begins, from 0.
        """
        if not isinstance(theirs, trl.trainer.utils.RepeatSampler):
            return cls(rows, seed=seed, number=number)
        return cls(
            rows,
            seed=seed,
            number=number,
            chunk=theirs.batch_size,
            copies=theirs.mini_repeat_count,
            repeats=theirs.repeat_count,
        )

    def __iter__(self) -> Iterator[int]:
        """Walk over the rows once."""
        order = pass_order(self.rows, seed=self._seed, number=self._number()).tolist()
        for start in range(0, self.rows - self.chunk + 1, self.chunk):
            for _ in range(self.repeats):
                for row in order[start : start + self.chunk]:
                    yield from [row] * self.copies

    def __len__(self) -> int:
        """Count what a pass gives."""
        return self.rows // self.chunk * self.chunk * self.copies * self.repeats
