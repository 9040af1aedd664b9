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
EXACT = "exact/"
"""Start of the names of what PyTorch alone computes, in float64."""
LOGPS = 1e-5
"""Bound of a token's log-probability."""
BEYOND, FARTHEST = 1e-3, 2e-5
"""Share of pico's tokens that may pass it, and how far: float32 alone goes there (`rounding`)."""


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
    odds = {name for name in set(one) ^ set(other) if not name.startswith(EXACT)}
    if odds:
        odd = min(odds)
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

    def beyond(self, name: str, bound: float) -> int:
        """Count the numbers that are farther apart than this; all of them where shapes differ."""
        one, other = self.one[name], self.other[name]
        if one.shape != other.shape:
            return int(one.size)
        return int((np.abs(one.astype(np.float64) - other.astype(np.float64)) > bound).sum())

    def count(self, names: Sequence[str]) -> int:
        """Count the tokens of log-probabilities; behind an answer's end stands 0."""
        return sum(int((self.one[name] != 0).sum()) for name in names)

    def tokens(self, names: Sequence[str]) -> str:
        """Say how many tokens were scored."""
        return f"{self.count(names)} tokens"

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
    random = both.names("random/logps/")
    return [
        _logits(both, "pico"),
        *_scores(both, "greedy answers", both.names("greedy_logps/")),
        *_scores(both, "drawn answers", both.names("pico/logps/")),
        _logits(both, "random"),
        _within(
            "its log-probabilities of drawn answers",
            both.tokens(random),
            LOGPS,
            both.apart(random),
        ),
    ]


def _logits(both: _Both, model: str) -> Line:
    names = both.names(f"{model}/logits/")
    tokens = sum(len(both.one[name]) for name in names)
    said = {"pico": "pico", "random": "a random model"}[model]
    return _within(f"logits of {said}", f"{tokens} tokens", 1e-4, both.apart(names))


def _scores(both: _Both, answers: str, names: Sequence[str]) -> list[Line]:
    """Compare what pico thinks of tokens: few may be farther apart than LOGPS, none by much."""
    beyond = sum(both.beyond(name, LOGPS) for name in names)
    most = int(BEYOND * both.count(names))
    return [
        Line(
            what=f"log-probabilities of pico's {answers}: more than {LOGPS:g} apart",
            count=both.tokens(names),
            bound=f"at most {most}",
            measured=f"{beyond}",
            holds=beyond <= most,
        ),
        _within(f"the farthest, {answers}", both.tokens(names), FARTHEST, both.apart(names)),
    ]


def rounding(one: Findings, other: Findings, *, names: tuple[str, str]) -> dict[str, float]:
    """Measure how far float32 alone takes each engine's log-probabilities of drawn answers.

    Args:
        one: PyTorch's findings, with those in float64.
        other: MLX's.
        names: What the two are called.

    Returns:
        Largest distance from PyTorch in float64 by engine.
    """
    exact = {name.removeprefix(EXACT): one[name] for name in one if name.startswith(EXACT)}
    return {
        said: max(float(np.abs(side[name] - value).max()) for name, value in exact.items())
        for said, side in zip(names, (one, other), strict=True)
    }


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
