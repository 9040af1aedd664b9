"""What a rehearsal finds: named checks, numbers with their uncertainty, and a record per prompt."""

# P prompts, G completions per prompt

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlmtune.config import RunConfig
from vlmtune.data.training_sets import Track
from vlmtune.evaluation.metrics import Z_95, wilson
from vlmtune.protocols import Generator
from vlmtune.types import JSON, Example

Record: TypeAlias = dict[str, JSON]


class Status(str, Enum):
    """The outcome of a check; a FAIL makes the run fail."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One named question that the rehearsal answered.

    Attributes:
        name: "flat_groups"; the same in every run.
        status: Its outcome.
        detail: What was found, with numbers, and what to do unless all is well.
    """

    name: str
    status: Status
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A share in [0, 1] with its 95 % interval.

    Attributes:
        value: The observed share.
        n: Observations.
        low: Lower bound.
        high: Upper bound.
    """

    value: float
    n: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a stage's rehearsal works with.

    Attributes:
        config: The run.
        examples: Its rows, at least one.
        generator: The loaded model.
        track: Opens a progress bar: `with track("generating", 128) as advance: advance(8)`.
    """

    config: RunConfig
    examples: Sequence[Example]
    generator: Generator
    track: Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a stage's rehearsal found.

    Attributes:
        checks: In the order in which a reader wants them.
        metrics: Name -> number; None where nothing could be measured.
        estimates: Name -> share with interval, for the metrics that are shares.
        samples: One record per prompt, in the order of the rows.
        details: Whatever else the report shows: forecasts, kinds, histograms.
    """

    checks: tuple[Check, ...]
    metrics: Mapping[str, float | None]
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    samples: tuple[Record, ...] = ()
    details: Mapping[str, JSON] = field(default_factory=dict)


def worst(checks: Sequence[Check]) -> Status:
    """Sum checks up: FAIL before WARN before PASS."""
    found = {check.status for check in checks}
    return next((status for status in (Status.FAIL, Status.WARN) if status in found), Status.PASS)


def judged(
    name: str, detail: str, *, fail: bool = False, warn: bool = False, remedy: str = ""
) -> Check:
    """Make a Check from its conditions; the remedy is said unless it passes."""
    status = Status.FAIL if fail else Status.WARN if warn else Status.PASS
    said = f"{detail}; {remedy}" if remedy and status is not Status.PASS else detail
    return Check(name=name, status=status, detail=said)


def share(hits: int, n: int) -> Estimate:
    """Estimate a share from independent observations by Wilson's interval.

    Args:
        hits: Observations that count.
        n: All observations, >= 1.
    """
    low, high = wilson(hits, n)
    return Estimate(value=hits / n, n=n, low=low, high=high)


def clustered_share(hits_PG: npt.ArrayLike) -> Estimate:
    """Estimate a share from groups of completions to the same prompt.

    Answers to one prompt resemble each other, so P times G of them say less than as many answers
    to different prompts. Wilson's interval is widened by the design effect: the variance of the
    prompts' means over the variance that independent answers would have, between 1 and G.

    Args:
        hits_PG: True where a completion counts, bool [P, G], neither P nor G is 0.

    Source: Kish 1965, Survey Sampling, section 5.4 (design effect of clusters of equal size).
    """
    hits = np.asarray(hits_PG, dtype=np.float64)
    prompts, group = hits.shape
    observed = float(hits.mean())
    independent = observed * (1 - observed) / group
    effect = float(group)
    if prompts > 1 and independent > 0:
        effect = float(hits.mean(axis=1).var(ddof=1)) / independent
    # With n / effect observations the formula is the same as with n and a larger z.
    widened = Z_95 * math.sqrt(min(max(effect, 1.0), float(group)))
    low, high = wilson(int(hits.sum()), hits.size, z=widened)
    return Estimate(value=observed, n=hits.size, low=low, high=high)


def percent(value: float) -> str:
    """Write a share for people: 0.125 -> "12%", and never "0%" for what is not 0."""
    if 0 < value < 0.005:
        return "<1%"
    if 0.995 < value < 1:
        return ">99%"
    return f"{100 * value:.0f}%"


def listed(names: Sequence[str], *, most: int = 3) -> str:
    """Name the first few of many: "a, b, c and 4 more"."""
    said = ", ".join(names[:most])
    return f"{said} and {len(names) - most} more" if len(names) > most else said
