"""Two engines' findings side by side: what was compared, how many, the bound, what was measured.

Line(what="logits of pico", count="48 answers", bound="<= 1e-4", measured="7.6e-06", holds=True)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Findings = Mapping[str, npt.NDArray[Any]]
STAGES = ("sft", "dpo", "grpo")
LOGPS = 2e-5
"""Bound of a token's log-probability. Of pico's 4,353, each engine is up to 1e-5 away from what
transformers computes in float64 (8e-6 PyTorch, 1.1e-5 MLX), so that the two can be twice that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One comparison.

    Attributes:
        what: What was compared.
        count: How much of it.
        bound: What must hold.
        measured: What was found.
        holds: Whether it does.
    """

    what: str
    count: str
    bound: str
    measured: str
    holds: bool


def compare(one: Findings, other: Findings) -> list[Line]:
    """Compare the findings of two engines.

    Raises:
        ValueError: If they answer different assignments.
    """
    if set(one) != set(other):
        odd = min(set(one) ^ set(other))
        raise ValueError(f"only one engine computed {odd}: the two did different assignments")
    both = _Both(one, other)
    lines = [*_asked(both), *_scored(both), *_losses(both)]
    for stage in STAGES:
        lines += _updates(both, stage)
    return lines


@dataclass(frozen=True, slots=True)
class _Both:
    """Findings of the two sides."""

    one: Findings
    other: Findings

    def names(self, start: str, end: str = "") -> list[str]:
        """List what begins and ends like this."""
        return [name for name in self.one if name.startswith(start) and name.endswith(end)]

    def apart(self, names: Sequence[str]) -> float:
        """Measure the largest difference; infinite where shapes differ."""
        return max(self._apart(name) for name in names)

    def _apart(self, name: str) -> float:
        one, other = self.one[name], self.other[name]
        if one.shape != other.shape:
            return float("inf")
        return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))

    def equal(self, names: Sequence[str]) -> int:
        """Count what is the same on both sides."""
        return sum(np.array_equal(self.one[name], self.other[name]) for name in names)

    def flat(self, start: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Put all weights of an adapter behind each other, in one order."""
        names = sorted(self.names(start))
        one, other = (
            np.concatenate([side[name].ravel().astype(np.float64) for name in names])
            for side in (self.one, self.other)
        )
        return one, other


def _asked(both: _Both) -> list[Line]:
    layouts = both.names("ids/")
    rows = max(int((both.one[name] == -2).sum()) for name in layouts)
    pixels, greedy, drawn = both.names("pixels/"), both.names("greedy/"), both.names("drawn/")
    answers = f"{len(drawn)} answers"
    return [
        _identical(
            "token ids of prompts and answers",
            layouts,
            both,
            count=f"{rows} rows of each of {len(layouts)} layouts",
        ),
        _within("pixels", f"{len(pixels)} prompts", 1e-6, both.apart(pixels)),
        _identical("greedy answers of pico", greedy, both, count=f"{len(greedy)} questions"),
        _identical("drawn answers of pico, one seed", drawn, both, count=answers),
        _identical("their rewards", ["rewards"], both, count=answers),
        _identical("their advantages", ["advantages"], both, count=answers),
    ]


def _scored(both: _Both) -> list[Line]:
    lines = []
    for model, said in (("pico", "pico"), ("random", "a random model")):
        logits, logps = both.names(f"{model}/logits/"), both.names(f"{model}/logps/")
        tokens = sum(len(both.one[name]) for name in logits)
        scored = sum(int((both.one[name] != 0).sum()) for name in logps)
        lines += [
            _within(f"logits of {said}", f"{tokens} tokens", 1e-4, both.apart(logits)),
            _within(f"log-probabilities of {said}", f"{scored} tokens", LOGPS, both.apart(logps)),
        ]
    return lines


def _losses(both: _Both) -> list[Line]:
    size = sum(both.one[name].size for name in both.names("start/"))
    lines = [_within("a new adapter", f"{size} weights", 0.0, both.apart(both.names("start/")))]
    for name in [name for name in both.one if name.endswith("/loss") and "updates" not in name]:
        prefix = name.removesuffix("/loss")
        stage, _, loss = prefix.partition("/")
        said = f"{stage.upper()} {loss}".strip()
        count, share = f"{float(both.one[name]):.4f}", _share(both, f"{prefix}/gradient/")
        lines += [
            _within(f"loss: {said}", count, 1e-5, both.apart([name])),
            _within(f"its gradient: {said}", f"{size} weights", 1e-4, share, relative=True),
        ]
    return [*lines, *_about_groups(both)]


def _about_groups(both: _Both) -> list[Line]:
    gained, away, clipped = (
        both.names("grpo/", f"/{name}") for name in ("advantages", "divergence", "clipped")
    )
    least = min(float(both.one[name]) for name in clipped)
    return [
        _within("GRPO's advantages", f"{len(gained)} losses", 1e-6, both.apart(gained)),
        _within("its divergence from the reference", f"{len(away)} losses", 1e-5, both.apart(away)),
        _within("its share of clipped tokens", f"{len(clipped)} losses", 1e-6, both.apart(clipped)),
        _above_nothing("the clip acts: smallest of these shares", f"{len(clipped)} losses", least),
    ]


def _updates(both: _Both, stage: str) -> list[Line]:
    prefix = f"updates/{stage}/adapter/"
    one, other = both.flat(prefix)
    start, _ = both.flat("start/")
    losses = f"updates/{stage}/loss"
    count = f"{len(both.one[losses])} updates"
    said = stage.upper()
    lines = [
        _at_least(f"adapter after {said}: cosine", count, 0.999, _cosine(one, other)),
        _at_least(
            f"what {said} added to it: cosine", count, 0.999, _cosine(one - start, other - start)
        ),
        _within(f"losses of {said}", count, 1e-3, both.apart([losses])),
    ]
    clipped = f"updates/{stage}/clip_ratio/region_mean"
    if clipped in both.one:
        most = float(both.one[clipped].max())
        lines.append(_above_nothing(f"most tokens clipped in an update of {said}", count, most))
    return lines


def _share(both: _Both, start: str) -> float:
    one, other = both.flat(start)
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))


def _cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _identical(what: str, names: Sequence[str], both: _Both, *, count: str) -> Line:
    equal = both.equal(names)
    return Line(
        what=what,
        count=count,
        bound="identical",
        measured="all" if equal == len(names) else f"{equal} of {len(names)}",
        holds=equal == len(names),
    )


def _above_nothing(what: str, count: str, share: float) -> Line:
    return Line(
        what=what, count=count, bound="more than 0", measured=f"{share:.3f}", holds=share > 0
    )


def _within(what: str, count: str, bound: float, value: float, *, relative: bool = False) -> Line:
    share = " of its length" if relative else ""
    return Line(
        what=what,
        count=count,
        bound=f"within {bound:g}{share}" if bound else "identical",
        measured=f"{value:.1e}" if value else "0",
        holds=value <= bound,
    )


def _at_least(what: str, count: str, bound: float, value: float) -> Line:
    return Line(
        what=what,
        count=count,
        bound=f"at least {bound}",
        measured=f"{value:.6f}",
        holds=value >= bound,
    )


Curves = dict[str, dict[str, list[float]]]


def curves(one: Findings, other: Findings, *, names: tuple[str, str]) -> Curves:
    """Take the loss of every update, stage -> engine -> values."""
    return {
        stage: {
            name: [float(value) for value in side[f"updates/{stage}/loss"]]
            for name, side in zip(names, (one, other), strict=True)
        }
        for stage in STAGES
    }
