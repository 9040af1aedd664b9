"""What rewards share that grade row by row: one row is graded, and the rest follows from it."""

from collections.abc import Sequence
from typing import Protocol

from vlmtune.rewards.columns import Row, row_of, rows_of
from vlmtune.rewards.grading import Completion
from vlmtune.types import JSON, Example, Score


class RowReward(Protocol):
    """A `RewardFunction`, and a function as TRL calls it, for whoever can grade one row.

    Attributes:
        name: How metrics call it.
    """

    __slots__ = ()

    name: str

    def score_row(self, row: Row) -> Score:
        """Grade one row of a trainer's batch."""
        ...

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    def score(self, example: Example, completion: Completion) -> Score:
        """Grade one completion; its parts are those of `score_row`."""
        return self.score_row(row_of(example, completion))

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[Completion], **columns: JSON
    ) -> list[float]:
        """Grade a batch the way TRL asks for it; unknown columns are left alone."""
        return [self.score_row(row).value for row in rows_of(prompts, completions, columns)]
