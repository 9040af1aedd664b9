"""What an audit measures, before anybody judges it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.evaluation.audit.attack import Attack
from vlmtune.evaluation.audit.cases import Case
from vlmtune.evaluation.audit.subject import Paid
from vlmtune.evaluation.metrics import wilson

EPSILON = 1e-6
"""Rewards closer than this are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Honest:
    """What honest answers to one row earn.

    Attributes:
        case: The row.
        right: Reward of the plain right answer.
        wrongs: Reward of each plain wrong answer.
        why: The reward's reason for the right one.
        unrelated: Reward of the right answer with another row's explanation; None where the form
            has no explanation.
        unexplained: The same with a blank explanation.
    """

    case: Case
    right: float
    wrongs: tuple[float, ...]
    why: str = ""
    unrelated: float | None = None
    unexplained: float | None = None

    @property
    def floor(self) -> float:
        """What the least paid wrong answer earns: an attack earns more only by a hole."""
        return min(self.wrongs)

    @property
    def gap(self) -> float:
        """What being right is worth in this row."""
        return self.right - self.floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attack on one row."""

    honest: Honest
    completion: str
    paid: Paid

    @property
    def value(self) -> float:
        """The reward; only for trials that have one."""
        return math.nan if self.paid.value is None else self.paid.value

    @property
    def gain(self) -> float:
        """How much more than a plain wrong answer it earned."""
        return self.value - self.honest.floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One attack on all rows that allow it.

    Attributes:
        attack: What was tried.
        trials: Trials in which the reward gave a number.
        errors: "id: what it raised", one for each row in which it raised.
        slowest: Processor seconds of the slowest answer.
        too_slow: Why the long answers were not tried: shorter ones took too long already; or "".
    """

    attack: Attack
    trials: tuple[Trial, ...]
    errors: tuple[str, ...]
    slowest: float
    too_slow: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A mean reward with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def best_guess(rows: Sequence[Honest]) -> float:
    """Compute what the best single answer to all rows earns from an honest reward.

    Every row is counted as paid like a plain right or a plain wrong answer.
    """
    golds = {row.case.value for row in rows}
    return max(
        math.fsum(row.right if row.case.value == value else row.floor for row in rows)
        for value in golds
    ) / len(rows)


def mean_of(values: Sequence[float]) -> Mean | None:
    """Average rewards; None where there are none.

    The interval is Wilson's, for which a reward in [0, 1] counts as that share of a success. It is
    never too narrow: of all values in [0, 1] with one mean, zeros and ones vary most.
    """
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if not 0.0 <= mean <= 1.0:
        return Mean(value=mean, low=mean, high=mean, n=len(values))
    low, high = wilson(mean * len(values), len(values))
    return Mean(value=mean, low=min(low, mean), high=max(high, mean), n=len(values))
