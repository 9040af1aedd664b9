"""How the learning rate moves, the same on every backend.

warm-up 2, total 6, cosine     0, 0.5, 1, 0.85, 0.5, 0.15, and then 0
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlmtune.config import TrainingConfig

Shape: TypeAlias = Literal["cosine", "linear", "constant"]


def warmup_updates(*, ratio: float, steps: int | None, total: int) -> int:
    """Count the updates in which the rate rises: `steps`, or a share of `total`, rounded up."""
    return math.ceil(ratio * total) if steps is None else steps


def rate_factor(update: int, *, shape: Shape, warmup: int, total: int) -> float:
    """Compute the share of the peak rate at one update.

    Args:
        update: Updates made before this one, from 0.
        shape: How it falls after the warm-up.
        warmup: Updates in which it rises from 0.
        total: Updates after which it has fallen; it stays down afterwards.

    Returns:
        A factor in [0, 1].

    Source: the schedules of transformers (get_cosine_schedule_with_warmup and its kin), which
        later rise again after `total`.
    """
    if update < warmup:
        return update / max(1, warmup)
    if shape == "constant":
        return 1.0
    progress = min(1.0, (update - warmup) / max(1, total - warmup))
    return 0.5 * (1 + math.cos(math.pi * progress)) if shape == "cosine" else 1 - progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The schedule of one run.

    Attributes:
        shape: How the rate falls after the warm-up.
        warmup: Updates in which it rises from 0.
        total: Updates after which it has fallen.
    """

    shape: Shape
    warmup: int
    total: int

    @classmethod
    def of(cls, training: TrainingConfig, *, total: int) -> "Schedule":
        """Read it out of the settings of a run of `total` updates."""
        fallen = training.scheduler_steps or total
        warmup = warmup_updates(
            ratio=training.warmup_ratio, steps=training.warmup_steps, total=fallen
        )
        return cls(shape=training.lr_scheduler, warmup=warmup, total=fallen)

    def factor(self, update: int) -> float:
        """Compute the share of the peak rate at one update."""
        return rate_factor(update, shape=self.shape, warmup=self.warmup, total=self.total)
