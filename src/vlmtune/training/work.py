"""What a stage is called with."""

from dataclasses import dataclass
from typing import Any

from vlmtune.config import RunConfig
from vlmtune.data.training_sets import TrainingSets
from vlmtune.types import Example, Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A training that is about to begin: all is checked, nothing is loaded.

    Attributes:
        config: A checked config.
        backend: A package in `vlmtune.backends` that trains this stage.
        start: What to load.
        sets: The rows.
    """

    config: RunConfig
    backend: Any
    start: Start
    sets: TrainingSets

    @property
    def trained(self) -> tuple[Example, ...]:
        """Rows to train on."""
        return tuple(self.sets.train.examples)

    @property
    def held(self) -> tuple[Example, ...]:
        """Rows to evaluate on; none where none are held out."""
        return () if self.sets.evaluation is None else tuple(self.sets.evaluation.examples)
