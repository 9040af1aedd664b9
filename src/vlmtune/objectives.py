"""What the training objectives mean here, in plain numpy: the oracle that every backend is held to.

One prompt with four completions, the first of them right:

    rewards_PG                [[1.0, 0.1, 0.1, 0.0]]
    group_advantages          [[1.49, -0.43, -0.43, -0.64]]     to two digits
    flat_groups               [False]

The policy losses below give their gradient beside their value, so that a backend's gradients can be
checked without differentiating anything here.
"""

# P prompts, G completions per prompt, B completions in a batch, T tokens of the longest of them

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Scale = Literal["group", "batch", "none"]
Preference = Literal["sigmoid", "hinge", "ipo", "robust"]
PolicyLossType = Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo"]
Level = Literal["token", "sequence"]
Floats = npt.NDArray[np.float64]

CISPO_CAP = 5.0
"""Cap of the ratio in CISPO where none is given. Source: Khatri et al. 2025, arXiv:2510.13786."""


def group_advantages(
    rewards_PG: npt.ArrayLike, *, epsilon: float = 1e-4, scale: Scale = "group"
) -> npt.NDArray[np.float64]:
    """Centre each prompt's rewards among its own completions, and scale them.

    Args:
        rewards_PG: Rewards, float64 [P, G], P >= 1, G >= 2, finite or NaN. NaN stands for a
            completion to which no reward applies: it is compared with nothing.
        epsilon: Added to the standard deviation; dimensionless.
        scale: Divide by the standard deviation of the "group", of the whole "batch", or by "none".

    Returns:
        Advantages, float64 [P, G], finite; a row of equal rewards is all 0, and so is NaN.

    Raises:
        ValueError: If the shape does not fit, G < 2, a reward is infinite, or `scale` is unknown.

    Source: Shao et al. 2024, arXiv:2402.03300, section 4.1.2; sample standard deviation (ddof 1)
        epsilon and NaN as in TRL; "none" is Liu et al. 2025, arXiv:2503.20783, section 3.2.
    """
    rewards = _checked(rewards_PG)
    if scale not in ("group", "batch", "none"):
        raise ValueError(f"scale is {scale!r}; it must be group, batch or none")
    known = ~np.isnan(rewards)
    centred = np.where(known, rewards - _mean(rewards), 0.0)
    # The mean of equal numbers can differ from them in the last digit; epsilon would not hide it.
    centred[flat_groups(rewards)] = 0.0
    if scale == "batch":
        centred /= _deviation(rewards.reshape(1, -1)) + epsilon
    elif scale == "group":
        centred /= _deviation(rewards) + epsilon
    return centred


def flat_groups(rewards_PG: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Find the prompts whose completions all earned the same: they give no gradient.

    Args:
        rewards_PG: Rewards, as in `group_advantages`; those that are NaN have no part in it.

    Returns:
        bool [P].

    Raises:
        ValueError: If the shape does not fit, G < 2 or a reward is infinite.
    """
    rewards = _checked(rewards_PG)
    known = ~np.isnan(rewards)
    highest = np.where(known, rewards, -np.inf).max(axis=1)
    lowest = np.where(known, rewards, np.inf).min(axis=1)
    # Without any reward the highest stays below the lowest.
    flat: npt.NDArray[np.bool_] = highest <= lowest
    return flat


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyObjective:
    """Which loss of the policy's log-probabilities is minimised.

    With r the ratio of the policy to the one that sampled, A the advantage, and clip(r) = r within
    [1 - epsilon, 1 + epsilon_high]:

        grpo, dr_grpo, dapo, bnpo    -min(min(r, delta) A, clip(r) A)
        cispo                        -min(r, cap) A log p       where min(r, cap) is a constant
        sapo                         -(4 / t) sigmoid(t (r - 1)) A

    plus beta times exp(d) - d - 1, where d is the reference's log-probability minus the policy's.
    Averages: grpo and sapo over each completion's tokens, then over completions; bnpo over all
    tokens; dapo and cispo over all tokens of the update; dr_grpo over B times `longest` places.

    Attributes:
        loss_type: How ratios become a loss, and how tokens are averaged.
        level: A ratio of policies per token, or per completion (GSPO).
        epsilon: The ratio is clipped at 1 - epsilon, and above at 1 + epsilon_high.
        epsilon_high: None is epsilon. In cispo it is the cap of the ratio itself, None is
            `CISPO_CAP`.
        delta: Cap of the ratio where the advantage is negative; None is none.
        beta: Weight of the divergence from the reference.
        temperature_pos: Gate of sapo for positive advantages.
        temperature_neg: Gate of sapo for the others.
        longest: The constant that dr_grpo divides by, in tokens.

    Source: Shao et al. 2024, arXiv:2402.03300, equations 3 and 4 (grpo, divergence); Liu et al.
        2025, arXiv:2503.20783, section 3.2 (dr_grpo); Yu et al. 2025, arXiv:2503.14476, equation 8
        (dapo); MiniMax 2025, arXiv:2506.13585, equations 4 and 5 (cispo); Gao et al. 2025,
        arXiv:2511.20347, section 3 (sapo); Zheng et al. 2025, arXiv:2507.18071, equations 5 and 7
        (sequence level); Prime Intellect 2025, arXiv:2505.07291 (delta); bnpo as in TRL.
    """

    loss_type: PolicyLossType = "grpo"
    level: Level = "token"
    epsilon: float = 0.2
    epsilon_high: float | None = None
    delta: float | None = None
    beta: float = 0.0
    temperature_pos: float = 1.0
    temperature_neg: float = 1.05
    longest: int = 256

    @property
    def upper(self) -> float:
        """The largest ratio that counts: the cap of cispo, the upper clip of the others."""
        if self.loss_type == "cispo":
            return CISPO_CAP if self.epsilon_high is None else self.epsilon_high
        return 1 + (self.epsilon if self.epsilon_high is None else self.epsilon_high)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLoss:
    """A policy loss.

    Attributes:
        value: What is minimised.
        gradient_BT: Its derivative by every log-probability, float64 [B, T]; 0 outside the mask.
        kl: Mean estimated divergence from the reference per token; 0 without one.
    """

    value: float
    gradient_BT: Floats
    kl: float


def policy_loss(
    logps_BT: npt.ArrayLike,
    *,
    advantages_B: npt.ArrayLike,
    mask_BT: npt.ArrayLike,
    objective: PolicyObjective,
    old_BT: npt.ArrayLike | None = None,
    reference_BT: npt.ArrayLike | None = None,
    tokens: float | None = None,
) -> PolicyLoss:
    """Compute a GRPO-style loss and its gradient, as `PolicyObjective` defines it.

    Args:
        logps_BT: Log-probabilities of the sampled tokens now, float64 [B, T].
        advantages_B: float64 [B].
        mask_BT: 1 where a token counts, [B, T].
        objective: Which loss.
        old_BT: Log-probabilities when they were sampled, constants; None takes today's values.
        reference_BT: Those of the reference, needed where beta is not 0.
        tokens: Tokens of the whole update, for dapo and cispo; None counts those of this batch.

    Returns:
        The loss of this batch. An update over several batches takes the mean of their losses;
        dapo and cispo, whose `tokens` is shared, take the sum.

    Raises:
        ValueError: If beta is not 0 and there is no reference.
    """
    logps, mask = np.asarray(logps_BT, np.float64), np.asarray(mask_BT, np.float64)
    old = logps if old_BT is None else np.asarray(old_BT, np.float64)
    weights = mask * _token_weights(mask, objective, tokens)
    losses, gradient = _surrogate(
        logps, (logps - old) * mask, mask, np.asarray(advantages_B, np.float64)[:, None], objective
    )
    if objective.level == "sequence" and objective.loss_type != "cispo":
        # Every token moves its completion's ratio by a share of 1 / length.
        shares = mask / np.maximum(mask.sum(axis=1, keepdims=True), 1.0)
        gradient = shares * (weights * gradient).sum(axis=1, keepdims=True)
    else:
        gradient = weights * gradient
    kl = 0.0
    if objective.beta != 0.0:
        if reference_BT is None:
            raise ValueError(f"beta is {objective.beta} and there is no reference to stay close to")
        apart = (np.asarray(reference_BT, np.float64) - logps) * mask
        divergences = np.exp(apart) - apart - 1
        losses = losses + objective.beta * divergences
        gradient = gradient + objective.beta * weights * (1 - np.exp(apart))
        kl = float((divergences * mask).sum() / max(1.0, mask.sum()))
    return PolicyLoss(value=float((weights * losses).sum()), gradient_BT=gradient, kl=kl)


def _surrogate(
    logps_BT: Floats,
    logs_BT: Floats,
    mask_BT: Floats,
    advantages_B1: Floats,
    objective: PolicyObjective,
) -> tuple[Floats, Floats]:
    """Give each token's loss, and its derivative by the log of its own ratio, [B, T] each."""
    if objective.level == "sequence":
        lengths_B1 = np.maximum(mask_BT.sum(axis=1, keepdims=True), 1.0)
        logs_BT = np.broadcast_to(logs_BT.sum(axis=1, keepdims=True) / lengths_B1, logs_BT.shape)
    ratios = np.exp(logs_BT)
    if objective.loss_type == "cispo":
        slopes = -np.minimum(ratios, objective.upper) * advantages_B1
        return slopes * logps_BT, slopes
    losses, slopes = _by_ratio(ratios, advantages_B1, objective)
    return losses, slopes * ratios


def _token_weights(mask_BT: Floats, objective: PolicyObjective, tokens: float | None) -> Floats:
    """Weigh each token, [B, 1]; the weighted sum of the tokens' losses is the loss."""
    count = len(mask_BT)
    if objective.loss_type in ("grpo", "sapo"):
        lengths_B1: Floats = np.maximum(mask_BT.sum(axis=1, keepdims=True), 1.0)
        return 1 / (count * lengths_B1)
    total = count * objective.longest if objective.loss_type == "dr_grpo" else mask_BT.sum()
    if objective.loss_type in ("dapo", "cispo") and tokens is not None:
        total = tokens
    return np.full((count, 1), 1 / max(1.0, float(total)))


def _by_ratio(
    ratios_BT: Floats, advantages_B1: Floats, objective: PolicyObjective
) -> tuple[Floats, Floats]:
    """Give each token's loss and its derivative by the ratio, [B, T] each."""
    if objective.loss_type == "sapo":
        gates = np.where(
            advantages_B1 > 0, objective.temperature_pos, objective.temperature_neg
        ).astype(np.float64)
        opened = 1 / (1 + np.exp(-gates * (ratios_BT - 1)))
        return -4 / gates * opened * advantages_B1, -4 * opened * (1 - opened) * advantages_B1
    low, high = 1 - objective.epsilon, objective.upper
    capped = ratios_BT if objective.delta is None else np.minimum(ratios_BT, objective.delta)
    free, clipped = capped * advantages_B1, np.clip(ratios_BT, low, high) * advantages_B1
    inside = (ratios_BT >= low) & (ratios_BT <= high)
    uncapped = np.ones_like(ratios_BT, bool) if objective.delta is None else (capped == ratios_BT)
    # Inside the clip both sides are one line; outside, the smaller side decides.
    moves = inside | ((free < clipped) & uncapped)
    return -np.minimum(free, clipped), -advantages_B1 * moves


def supervised_loss(logps_BT: npt.ArrayLike, answer_BT: npt.ArrayLike) -> float:
    """Average the negative log-likelihood over all answer tokens of one update.

    Args:
        logps_BT: Log-probability of each token given those before it, float64 [B, T].
        answer_BT: 1 where a token belongs to an answer or ends it, 0 elsewhere, [B, T].

    Raises:
        ValueError: If the shapes differ or no token is marked.
    """
    logps, answer = np.asarray(logps_BT, dtype=np.float64), np.asarray(answer_BT, dtype=bool)
    if logps.shape != answer.shape or not answer.any():
        raise ValueError(
            f"logps {logps.shape} and answer {answer.shape} must agree and mark tokens"
        )
    return float(-logps[answer].mean())


def preference_loss(
    policy_CB: npt.ArrayLike,
    reference_CB: npt.ArrayLike,
    *,
    beta: float,
    kind: Preference = "sigmoid",
    label_smoothing: float = 0.0,
    sft_weight: float = 0.0,
    lengths_CB: npt.ArrayLike | None = None,
) -> float:
    """Average a direct preference loss over B pairs.

    With z = beta times the chosen answer's log-ratio to the reference less the rejected one's:

        sigmoid    -(1 - e) log s(z) - e log s(-z)                    e > 0 is conservative DPO
        robust     (-(1 - e) log s(z) + e log s(-z)) / (1 - 2 e)
        hinge      max(0, 1 - z)
        ipo        (h - 1 / (2 beta))^2, h like z / beta with each log-ratio over its length

    With `sft_weight` the mean NLL of the chosen answers' tokens is added, so many times.

    Args:
        policy_CB: Log-probability of each whole answer under the policy, float64 [2, B], the
            chosen ones first.
        reference_CB: The same under the reference.
        beta: How strongly the policy is held to the reference; > 0.
        kind: Which loss.
        label_smoothing: e, the share of pairs thought to be the wrong way round, in [0, 0.5).
        sft_weight: How much the chosen answers' own loss counts; >= 0.
        lengths_CB: Tokens of each answer, which ipo and `sft_weight` need, [2, B].

    Raises:
        ValueError: If ipo or `sft_weight` comes without lengths, or hinge or ipo with label
            smoothing.

    Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7; Mitchell 2023 (cDPO), equation 3;
        Chowdhury et al. 2024, arXiv:2403.00409 (robust); Zhao et al. 2023, arXiv:2305.10425
        (hinge); Azar et al. 2023, arXiv:2310.12036, equation 17 (ipo), with the answers' lengths
        as in TRL; Pang et al. 2024, arXiv:2404.19733, equation 1 (alpha), over the batch's tokens
        as in TRL.
    """
    if label_smoothing and kind in ("hinge", "ipo"):
        raise ValueError(f"label_smoothing has no meaning in {kind}")
    policy = np.asarray(policy_CB, dtype=np.float64)
    if lengths_CB is None:
        if kind == "ipo" or sft_weight:
            raise ValueError("ipo and sft_weight need the lengths of the answers")
        lengths, beside = np.ones_like(policy), 0.0
    else:
        lengths = np.asarray(lengths_CB, dtype=np.float64)
        beside = -sft_weight * float(policy[0].sum() / lengths[0].sum())
    ratios_CB = policy - np.asarray(reference_CB, dtype=np.float64)
    return beside + _margin_loss(ratios_CB, lengths, beta=beta, kind=kind, e=label_smoothing)


def _margin_loss(
    ratios_CB: npt.NDArray[np.float64],
    lengths_CB: npt.NDArray[np.float64],
    *,
    beta: float,
    kind: Preference,
    e: float,
) -> float:
    if kind == "ipo":
        mean_CB = ratios_CB / lengths_CB
        return float(np.mean((mean_CB[0] - mean_CB[1] - 1 / (2 * beta)) ** 2))
    z_B = beta * (ratios_CB[0] - ratios_CB[1])
    if kind == "hinge":
        return float(np.maximum(0.0, 1 - z_B).mean())
    right_B, wrong_B = np.logaddexp(0.0, -z_B), np.logaddexp(0.0, z_B)
    if kind == "robust":
        return float(((1 - e) * right_B - e * wrong_B).mean() / (1 - 2 * e))
    return float(((1 - e) * right_B + e * wrong_B).mean())


def _checked(rewards_PG: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rewards = np.asarray(rewards_PG, dtype=np.float64)
    if rewards.ndim != 2 or rewards.shape[0] < 1:
        raise ValueError(f"rewards have shape {rewards.shape}; [P, G] with P >= 1 is needed")
    if rewards.shape[1] < 2:
        raise ValueError("a group of one completion has no advantage; G must be at least 2")
    if np.isinf(rewards).any():
        raise ValueError("a reward is infinite; the reward function has a bug")
    return rewards


def _mean(rewards_PG: Floats) -> Floats:
    """Average what is not NaN, [P, 1]; 0 where nothing is left."""
    known = ~np.isnan(rewards_PG)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean: Floats = np.where(known, rewards_PG, 0.0).sum(axis=1, keepdims=True) / count
    return mean


def _deviation(rewards_PG: Floats) -> Floats:
    """Take the sample standard deviation of what is not NaN, [P, 1]; 0 of fewer than two."""
    known = ~np.isnan(rewards_PG)
    apart = np.where(known, rewards_PG - _mean(rewards_PG), 0.0)
    count = np.maximum(known.sum(axis=1, keepdims=True) - 1, 1)
    spread: Floats = np.sqrt((apart**2).sum(axis=1, keepdims=True) / count)
    return spread
