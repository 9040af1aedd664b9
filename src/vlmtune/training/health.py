"""Was the training healthy? The course of its metrics, judged and said in words.

    reward        rose from 0.31 to 0.52 (first and last fifth of 40 lines)
    flat_groups   23% of the groups drawn taught nothing

A trend is called one only where it is larger than the lines' own scatter explains.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from vlmtune.config import RunConfig
from vlmtune.training.findings import Check, judged, percent
from vlmtune.types import JSON, Stage

FEWEST = 5
"""Lines below which nothing is said about a trend."""
_FLAT = "reward/flat_groups"
_MANY_FLAT = 0.6
_MUCH_CUT = 0.2
_FAR_KL = 1.0
_MUCH_CLIPPED = 0.3

Line = Mapping[str, JSON]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a number moved.

    Attributes:
        first: Mean of the first fifth of its lines.
        last: Mean of the last fifth.
        lines: How many lines there are.
        clear: Whether they differ by more than two standard errors.
    """

    first: float
    last: float
    lines: int
    clear: bool

    @property
    def verb(self) -> str:
        """Rose, fell or stayed."""
        if not self.clear:
            return "stayed about the same"
        return "rose" if self.last > self.first else "fell"

    def told(self) -> str:
        """Say it: "rose from 0.31 to 0.52"."""
        joint = "," if not self.clear else ""
        return f"{self.verb}{joint} from {_number(self.first)} to {_number(self.last)}"


def read_lines(path: Path) -> list[dict[str, JSON]]:
    """Read metrics.jsonl; a file that is not there has no lines."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def course(lines: Sequence[Line], name: str) -> Course | None:
    """Compare the ends of a number's lines; None where there are fewer than `FEWEST`."""
    values = _values(lines, name)
    if len(values) < FEWEST:
        return None
    size = max(2, len(values) // 5)
    head, tail = values[:size], values[-size:]
    # The scatter around a straight line: a trend itself must not count as scatter.
    places = np.arange(len(values))
    slope, level = np.polyfit(places, values, 1)
    scatter = float(np.std(values - (slope * places + level), ddof=2))
    error = scatter * math.sqrt(2 / size)
    apart = abs(float(tail.mean() - head.mean()))
    clear = apart > 2 * error and apart > 1e-6 * max(1.0, abs(float(head.mean())))
    return Course(first=float(head.mean()), last=float(tail.mean()), lines=len(values), clear=clear)


def judge(config: RunConfig, lines: Sequence[Line]) -> tuple[Check, ...]:
    """Say what the metrics of a finished run mean.

    Args:
        config: The run.
        lines: Its metrics.jsonl.

    Returns:
        One Check for each question that its stage asks; a run of few updates gets few answers.
    """
    found = _JUDGES[config.stage](config, lines)
    return tuple(check for check in found if check is not None)


def _grpo(config: RunConfig, lines: Sequence[Line]) -> list[Check | None]:
    return [
        _trend(lines, "reward/mean", name="reward", good="rose"),
        _not_graded(lines),
        _flat(lines),
        _kl(config, lines),
        _length(config, lines),
        _cut(lines),
        _clipped(config, lines),
    ]


def _sft(config: RunConfig, lines: Sequence[Line]) -> list[Check | None]:
    return [_trend(lines, "loss", name="loss", good="fell"), _held_out(lines)]


def _dpo(config: RunConfig, lines: Sequence[Line]) -> list[Check | None]:
    accuracy = _mean(lines, "rewards/accuracies", last=True)
    preferred = None
    if accuracy is not None:
        preferred = judged(
            "preferred",
            f"in the end the chosen answer is preferred in {percent(accuracy)} of the pairs",
            warn=accuracy < 0.5,
            remedy="the pairs may be the wrong way round, or the rate too high",
        )
    return [
        _trend(lines, "loss", name="loss", good="fell"),
        _trend(lines, "rewards/margins", name="margin", good="rose"),
        preferred,
        _held_out(lines),
    ]


_JUDGES: Mapping[Stage, Callable[[RunConfig, Sequence[Line]], list[Check | None]]] = (
    MappingProxyType({Stage.SFT: _sft, Stage.DPO: _dpo, Stage.GRPO: _grpo})
)


def _trend(lines: Sequence[Line], key: str, *, name: str, good: str) -> Check | None:
    found = course(lines, key)
    if found is None:
        return None
    opposite = {"rose": "fell", "fell": "rose"}[good]
    return judged(
        name,
        f"{found.told()} (first and last fifth of {found.lines} lines)",
        warn=found.verb == opposite,
        remedy="lower training.learning_rate",
    )


def _held_out(lines: Sequence[Line]) -> Check | None:
    """Compare the best held-out loss with the last."""
    values = _values(lines, "eval_loss")
    if len(values) < 2:
        return None
    best = int(values.argmin())
    return judged(
        "held_out",
        f"held-out loss went from {_number(values[0])} to {_number(values[-1])}, at best "
        f"{_number(values[best])} in evaluation {best + 1} of {len(values)}",
        warn=values[-1] > 1.05 * values[best],
        remedy="it learns its rows by heart: train for fewer epochs",
    )


def _not_graded(lines: Sequence[Line]) -> Check | None:
    """Say to how many answers no reward applied; nothing where there were none."""
    shares = [line.get("reward/not_applicable", 0.0) for line in lines if _FLAT in line]
    if not any(shares):
        return None
    return judged(
        "not_graded",
        f"no reward applied to {percent(sum(shares) / len(shares))} of the answers, from which "
        "nothing was learned",
        warn=True,
        remedy="add a reward that grades such rows, or leave the rows out",
    )


def _flat(lines: Sequence[Line]) -> Check | None:
    share = _mean(lines, _FLAT)
    if share is None:
        return None
    return judged(
        "flat_groups",
        f"{percent(share)} of the groups drawn taught nothing, since all their answers earned the "
        "same",
        warn=share > _MANY_FLAT,
        remedy="raise grpo.num_generations or the temperature, set grpo.resample_flat_groups, or "
        "choose rows of another difficulty",
    )


def _kl(config: RunConfig, lines: Sequence[Line]) -> Check | None:
    found = _mean(lines, "kl", last=True)
    if found is None:
        return None
    return judged(
        "kl",
        f"in the end {_number(found)} nats per token away from the reference",
        warn=found > _FAR_KL,
        remedy=f"raise grpo.beta above {config.grpo.beta:g}, or lower training.learning_rate",
    )


def _length(config: RunConfig, lines: Sequence[Line]) -> Check | None:
    found = course(lines, "completions/mean_length")
    if found is None:
        return None
    longest = config.grpo.max_completion_length
    collapsed = found.clear and found.last < 0.3 * found.first
    swollen = found.clear and found.last > 2 * found.first and found.last > 0.5 * longest
    return judged(
        "length",
        f"answers {found.told()} tokens",
        warn=collapsed or swollen,
        remedy="look at the sample pages: the reward may pay for length, or for silence",
    )


def _cut(lines: Sequence[Line]) -> Check | None:
    share = _mean(lines, "completions/truncated", last=True)
    if share is None:
        return None
    return judged(
        "cut_off",
        f"in the end {percent(share)} of the answers were cut off",
        warn=share > _MUCH_CUT,
        remedy="raise grpo.max_completion_length",
    )


def _clipped(config: RunConfig, lines: Sequence[Line]) -> Check | None:
    share = _mean(lines, "clip_ratio/region_mean")
    if share is None:
        return None
    why = ""
    if config.grpo.num_iterations == 1 and share == 0:
        why = "; with num_iterations 1 every ratio is 1 and so is the loss's: it stays near 0"
    return judged(
        "clipped",
        f"{percent(share)} of the tokens were clipped{why}",
        warn=share > _MUCH_CLIPPED,
        remedy="lower training.learning_rate or grpo.num_iterations",
    )


def _values(lines: Sequence[Line], name: str) -> Floats:
    found = [line[name] for line in lines if isinstance(line.get(name), int | float)]
    return np.array(found, dtype=np.float64)


def _mean(lines: Sequence[Line], name: str, *, last: bool = False) -> float | None:
    """Average a number over the run, or over the last fifth of its lines."""
    values = _values(lines, name)
    if not len(values):
        return None
    return float(values[-max(1, len(values) // 5) :].mean() if last else values.mean())


def _number(value: float) -> str:
    return f"{value:.3g}"
