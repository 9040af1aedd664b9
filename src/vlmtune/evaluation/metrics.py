"""Statistics of right and wrong answers, exact where a formula exists and seeded where not."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two sets of answers to the same questions.

    Attributes:
        both: Questions that A and B got right.
        only_a: Questions that only A got right.
        only_b: Questions that only B got right.
        neither: Questions that neither got right.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        """Questions."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of B minus accuracy of A, in [-1, 1]."""
        return (self.only_b - self.only_a) / self.n


def wilson(correct: float, n: int, *, z: float = Z_95) -> tuple[float, float]:
    """Bound a share by Wilson's score interval.

    Args:
        correct: Successes, 0 <= correct <= n; a sum of values in [0, 1] has bounds that are too
            wide at worst, since such values vary no more than successes do.
        n: Trials, >= 1.
        z: Quantile of the normal distribution; the default gives 95 %.

    Returns:
        Lower and upper bound, in [0, 1].

    Raises:
        ValueError: If n < 1 or correct is not in 0..n.

    Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is no share")
    share = correct / n
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Rounding must not push the bounds of 0 of n and n of n past 0 and 1.
    low = 0.0 if correct == 0 else (middle - spread) / scale
    high = 1.0 if correct == n else (middle + spread) / scale
    return low, high


def pair(a: Sequence[bool], b: Sequence[bool]) -> Paired:
    """Count the four cases of two equally long lists of right and wrong answers.

    Raises:
        ValueError: If the lists differ in length.
    """
    cases = Counter(zip(a, b, strict=True))
    return Paired(
        both=cases[True, True],
        only_a=cases[True, False],
        only_b=cases[False, True],
        neither=cases[False, False],
    )


def mcnemar(paired: Paired) -> float:
    """Test whether A and B are equally accurate: McNemar's exact two-sided test.

    Only questions on which they differ count; under the null hypothesis each of those is A's or
    B's with probability 1/2.

    Returns:
        The p-value, in [0, 1]; 1 when they never differ.

    Source: Q. McNemar, Psychometrika 12 (1947), 153-157; the exact form uses the binomial
    distribution in place of chi-squared.
    """
    differing = paired.only_a + paired.only_b
    fewer = min(paired.only_a, paired.only_b)
    tail = sum(math.comb(differing, k) for k in range(fewer + 1))
    # Integers stay exact for any n; as fractions the powers of two would underflow.
    return min(1.0, 2 * tail / (1 << differing))


def bootstrap_difference(
    strata: Sequence[tuple[Paired, float]], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Bound a weighted sum of paired differences by a percentile bootstrap of 95 %.

    Drawing n questions with replacement is drawing how many of each case come up, so each
    resample is one multinomial draw per stratum.

    Args:
        strata: Pairs with n >= 1 and the weight of each; one stratum of weight 1 is the plain
            difference of two accuracies.
        seed: Fixes the resamples.
        resamples: How many.

    Returns:
        The 2.5 % and 97.5 % quantile of B minus A.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    total_R = np.zeros(resamples)
    for paired, weight in strata:
        shares = np.array([paired.only_a, paired.only_b, paired.both + paired.neither]) / paired.n
        drawn_RC = random.multinomial(paired.n, shares, size=resamples)
        total_R += weight * (drawn_RC[:, 1] - drawn_RC[:, 0]) / paired.n
    low, high = np.quantile(total_R, [0.025, 0.975])
    return float(low), float(high)


def confusion(pairs: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Count readings by gold answer.

    Args:
        pairs: (gold, reading) of every answer; "" is an unreadable one.

    Returns:
        Gold -> reading -> count, both sorted: numbers by size, "yes" before "no", "" last.
    """
    counts = Counter(pairs)
    golds = sorted({gold for gold, _ in counts}, key=_order)
    readings = sorted({reading for _, reading in counts}, key=_order)
    return {
        gold: {read: counts[gold, read] for read in readings if counts[gold, read]}
        for gold in golds
    }


def _order(label: str) -> tuple[bool, bool, int, str]:
    # isdecimal alone accepts labels of any length, and int() refuses more than 4,300 digits.
    number = label.isascii() and label.isdecimal() and len(label) < 10
    return (not label, not number, int(label) if number else 0, "" if label == "yes" else label)


def yes_bias(pairs: Sequence[tuple[str, str]]) -> Mapping[str, float | int] | None:
    """Compare how often "yes" was said with how often it was right, among readable answers.

    Args:
        pairs: (gold, reading) of every answer, each "yes" or "no"; "" is an unreadable reading.

    Returns:
        `said` and `gold` (shares of yes), `bias` (said minus gold, in [-1, 1]), and `n`; None
        when nothing was readable.
    """
    readable = [(gold, reading) for gold, reading in pairs if reading]
    if not readable:
        return None
    said = sum(reading == "yes" for _, reading in readable) / len(readable)
    gold = sum(gold == "yes" for gold, _ in readable) / len(readable)
    return {"said": said, "gold": gold, "bias": said - gold, "n": len(readable)}


def auc_roc(labels: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Area under the ROC curve: the chance that a true row scores above a false one.

    Args:
        labels: Which rows are true.
        scores: Higher means more likely true; equal scores count half.

    Returns:
        A number in [0, 1], or None when all rows have one label.
    """
    true = [score for label, score in zip(labels, scores, strict=True) if label]
    false = [score for label, score in zip(labels, scores, strict=True) if not label]
    if not true or not false:
        return None
    true_T, false_F = np.array(true), np.sort(np.array(false))
    below = np.searchsorted(false_F, true_T, side="left")
    not_above = np.searchsorted(false_F, true_T, side="right")
    return float((below + not_above).sum() / (2 * len(true) * len(false)))


def auc_pr(labels: Sequence[bool], scores: Sequence[float]) -> float | None:
    """Area under the precision-recall curve by average precision, without interpolation.

    The sum over thresholds of the precision times the gain in recall; rows of equal score pass
    a threshold together.

    Args:
        labels: Which rows are true.
        scores: Higher means more likely true.

    Returns:
        A number in (0, 1], or None when no row is true.
    """
    total = sum(labels)
    if not total:
        return None
    ranked = sorted(zip(scores, labels, strict=True), key=lambda entry: -entry[0])
    area, found, before = 0.0, 0, 0
    for place, (score, label) in enumerate(ranked, start=1):
        found += bool(label)
        if place == len(ranked) or ranked[place][0] != score:
            area += (found - before) / total * (found / place)
            before = found
    return area
