"""How many groups would be flat with more or fewer completions per prompt.

A group is flat when all its completions earn the same; GRPO learns nothing from it. Counting that
for the G that was drawn is easy. For another G one needs each prompt's chances, and eight draws do
not tell them: eight right answers out of eight do not mean that the ninth is certain. Putting the
observed shares into sum_k p_k^G therefore forecasts too many flat groups, badly so for large G.

Here the prompts borrow strength from each other. With n_pk completions of prompt p that earned the
k-th distinct reward,

    p_p ~ Dirichlet(A m)            prompts differ; A says how little
    n_p | p_p ~ Multinomial(p_p)
    E[flat at G | n_p] = sum_k rising(A m_k + n_pk, G) / rising(A + N_p, G)

where rising(a, G) = a (a+1) ... (a+G-1). The mean m maximises the marginal likelihood; A is
averaged over its posterior on a grid, because few prompts say little about it.

Source: the Dirichlet-multinomial likelihood and its fixed point are Minka 2000, "Estimating a
Dirichlet distribution", section on the Polya distribution.
"""

# P prompts, K distinct rewards, G completions per prompt, N completions drawn, A grid points,
# S posterior draws

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_CONCENTRATIONS: Floats = np.exp(np.linspace(np.log(0.02), np.log(200.0), 25))
_LOG_SPREAD = 2.0
"""Prior of log A: normal around 0. Wide: A from 0.02 to 50 lies within two deviations."""
_PSEUDO_COUNT = 0.5
"""Completions' worth of doubt, so that a reward never seen stays possible."""
_FIXED_POINT_STEPS = 60
_POSTERIOR_DRAWS = 400


@dataclass(frozen=True, slots=True)
class FlatShare:
    """A forecast.

    Attributes:
        generations: Completions per prompt.
        share: Expected share of flat groups among these prompts, in [0, 1].
        low: 2.5 % quantile of the posterior.
        high: 97.5 % quantile.
    """

    generations: int
    share: float
    low: float
    high: float


def forecast_flat_share(
    rewards_PG: npt.ArrayLike, generations: Sequence[int], *, seed: int = 0
) -> tuple[FlatShare, ...]:
    """Forecast the share of flat groups for other group sizes.

    Args:
        rewards_PG: Observed rewards, float64 [P, G], P >= 1, G >= 1, finite or NaN. NaN stands
            for a completion to which no reward applies; it is left out, and so is a prompt that
            has no other.
        generations: Group sizes to forecast, each >= 1.
        seed: Fixes the draws behind the interval.

    Returns:
        One forecast for each of `generations`, in that order; none without any reward.

    Raises:
        ValueError: If the shape does not fit, a reward is infinite or a group size is below 1.
    """
    counts = _reward_counts(rewards_PG)
    if any(size < 1 for size in generations):
        raise ValueError(f"group sizes are {list(generations)}; each must be at least 1")
    if not len(counts):
        return ()
    tails = _tails(counts)
    alphas = _CONCENTRATIONS[:, None] * _means(tails)
    weights = _posterior(tails, alphas, prompts=len(counts))
    posteriors = counts + alphas[:, None, :]
    shares = [weights @ _expected(posteriors, size) for size in generations]
    drawn = _draws(posteriors, weights, generations, seed=seed)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return tuple(
        FlatShare(size, float(share), float(below), float(above))
        for size, share, below, above in zip(generations, shares, low, high, strict=True)
    )


def plug_in_flat_share(rewards_PG: npt.ArrayLike, generations: int) -> float:
    """Forecast naively, taking observed shares for chances; biased upwards, kept to compare with.

    Args:
        rewards_PG: Observed rewards, float64 [P, G].
        generations: Group size, >= 1.
    """
    counts = _reward_counts(rewards_PG)
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float((shares**generations).sum(axis=1).mean())


def _reward_counts(rewards_PG: npt.ArrayLike) -> Counts:
    """Count each distinct reward per prompt, int64 [P, K], K >= 2."""
    rewards = np.asarray(rewards_PG, dtype=np.float64)
    if rewards.ndim != 2 or 0 in rewards.shape:
        raise ValueError(f"rewards have shape {rewards.shape}; [P, G], neither empty, is needed")
    if np.isinf(rewards).any():
        raise ValueError("a reward is infinite; the reward function has a bug")
    rewards = rewards[~np.isnan(rewards).all(axis=1)]
    values = np.unique(rewards[~np.isnan(rewards)])
    counts: Counts = (rewards[:, :, None] == values).sum(axis=1).astype(np.int64)
    if len(values) == 1:
        # One reward only: keep room for another, or the forecast would be certain.
        counts = np.pad(counts, ((0, 0), (0, 1)))
    return counts


def _tails(counts_PK: Counts) -> Floats:
    """Number of prompts with more than n completions of each reward, [K, N]."""
    steps = np.arange(int(counts_PK.sum(axis=1).max()))
    tails: Floats = (counts_PK[:, :, None] > steps).sum(axis=0).astype(np.float64)
    return tails


def _means(tails_KN: Floats) -> Floats:
    """Maximise the marginal likelihood over m for every A of the grid, [A, K]."""
    kinds, drawn = tails_KN.shape
    steps = np.arange(drawn)
    means_AK = np.full((len(_CONCENTRATIONS), kinds), 1.0 / kinds)
    for _ in range(_FIXED_POINT_STEPS):
        alphas_AK1 = (_CONCENTRATIONS[:, None] * means_AK)[:, :, None]
        weights_AK = (alphas_AK1 * tails_KN / (alphas_AK1 + steps)).sum(axis=2)
        weights_AK += _PSEUDO_COUNT / kinds
        means_AK = weights_AK / weights_AK.sum(axis=1, keepdims=True)
    return means_AK


def _posterior(tails_KN: Floats, alphas_AK: Floats, *, prompts: int) -> Floats:
    """Weigh every A by marginal likelihood times prior; the weights add up to 1."""
    steps = np.arange(tails_KN.shape[1])
    logs = (tails_KN * np.log(alphas_AK[:, :, None] + steps)).sum(axis=(1, 2))
    logs -= prompts * np.log(_CONCENTRATIONS[:, None] + steps).sum(axis=1)
    logs -= 0.5 * (np.log(_CONCENTRATIONS) / _LOG_SPREAD) ** 2
    likely = np.exp(logs - logs.max())
    weights: Floats = likely / likely.sum()
    return weights


def _expected(posteriors_APK: Floats, generations: int) -> Floats:
    """Average over prompts of E[sum_k p_k^G] under Dirichlet(posterior), for every A."""
    totals_AP = posteriors_APK.sum(axis=2)
    chances_APK = np.ones_like(posteriors_APK)
    for step in range(generations):
        chances_APK *= (posteriors_APK + step) / (totals_AP[:, :, None] + step)
    shares: Floats = chances_APK.sum(axis=2).mean(axis=1)
    return shares


def _draws(
    posteriors_APK: Floats, weights: Floats, generations: Sequence[int], *, seed: int
) -> Floats:
    """Draw the prompts' chances from their posterior and compute the shares, [S, sizes]."""
    random = np.random.Generator(np.random.PCG64(seed))
    chosen = random.choice(len(weights), size=_POSTERIOR_DRAWS, p=weights)
    # A Dirichlet draw is a normalised row of gamma draws.
    gammas_SPK = random.standard_gamma(posteriors_APK[chosen])
    chances_SPK = gammas_SPK / gammas_SPK.sum(axis=2, keepdims=True)
    columns = [(chances_SPK**size).sum(axis=2).mean(axis=1) for size in generations]
    return np.stack(columns, axis=1) if columns else np.empty((_POSTERIOR_DRAWS, 0))
