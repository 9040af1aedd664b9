"""The losses of `objectives.policy_loss` as functions that MLX differentiates.

What each means, and where it comes from, stands in `objectives.PolicyObjective`; this file follows
it line by line, so that the two can be read side by side.
"""

# B completions in a batch, T tokens of the longest of them

import mlx.core as mx

from vlmtune.objectives import PolicyObjective

CLIPPED_LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo")
SHARED_LOSSES = ("dapo", "cispo")
"""Losses over all tokens of an update: those of its batches add up, the others' are averaged."""
Numbers = dict[str, mx.array]


def policy_loss(
    logps_BT: mx.array,
    *,
    advantages_B: mx.array,
    mask_BT: mx.array,
    objective: PolicyObjective,
    old_BT: mx.array | None = None,
    reference_BT: mx.array | None = None,
    tokens: float | None = None,
) -> tuple[mx.array, Numbers]:
    """Compute a GRPO-style loss, differentiable by `logps_BT`.

    Args:
        logps_BT: Log-probabilities of the sampled tokens now, float32 [B, T].
        advantages_B: float32 [B].
        mask_BT: 1 where a token counts, float32 [B, T].
        objective: Which loss.
        old_BT: Log-probabilities when they were sampled; None takes today's values.
        reference_BT: Those of the reference, needed where beta is not 0.
        tokens: Tokens of the whole update, for dapo and cispo; None counts those of this batch.

    Returns:
        The loss of this batch, and numbers to record: `kl`, and how much was clipped.

    Raises:
        ValueError: If beta is not 0 and there is no reference.
    """
    old_BT = mx.stop_gradient(logps_BT if old_BT is None else old_BT)
    logs_BT = (logps_BT - old_BT) * mask_BT
    lengths_B1 = mx.maximum(mask_BT.sum(axis=1, keepdims=True), 1.0)
    if objective.level == "sequence":
        logs_BT = mx.broadcast_to(logs_BT.sum(axis=1, keepdims=True) / lengths_B1, logs_BT.shape)
    ratios_BT = mx.exp(logs_BT)
    advantages_B1 = advantages_B[:, None]
    losses_BT = _by_token(logps_BT, ratios_BT, advantages_B1, objective)
    numbers = _clipped(ratios_BT, advantages_B1, mask_BT, objective)
    if objective.beta != 0.0:
        if reference_BT is None:
            raise ValueError(f"beta is {objective.beta} and there is no reference to stay close to")
        apart_BT = (mx.stop_gradient(reference_BT) - logps_BT) * mask_BT
        divergences_BT = mx.exp(apart_BT) - apart_BT - 1
        losses_BT = losses_BT + objective.beta * divergences_BT
        numbers["kl"] = _mean(divergences_BT, mask_BT)
    return (losses_BT * mask_BT * _weights(mask_BT, lengths_B1, objective, tokens)).sum(), numbers


def _by_token(
    logps_BT: mx.array, ratios_BT: mx.array, advantages_B1: mx.array, objective: PolicyObjective
) -> mx.array:
    if objective.loss_type == "cispo":
        return -mx.stop_gradient(mx.minimum(ratios_BT, objective.upper)) * advantages_B1 * logps_BT
    if objective.loss_type == "sapo":
        gates_B1 = mx.where(
            advantages_B1 > 0, objective.temperature_pos, objective.temperature_neg
        ).astype(ratios_BT.dtype)
        return -4 / gates_B1 * mx.sigmoid(gates_B1 * (ratios_BT - 1)) * advantages_B1
    capped_BT = ratios_BT if objective.delta is None else mx.minimum(ratios_BT, objective.delta)
    clipped_BT = mx.clip(ratios_BT, 1 - objective.epsilon, objective.upper)
    return -mx.minimum(capped_BT * advantages_B1, clipped_BT * advantages_B1)


def _weights(
    mask_BT: mx.array, lengths_B1: mx.array, objective: PolicyObjective, tokens: float | None
) -> mx.array:
    """Weigh each token; the weighted sum of the tokens' losses is the loss."""
    count = len(mask_BT)
    if objective.loss_type in ("grpo", "sapo"):
        return 1 / (count * lengths_B1)
    if objective.loss_type == "dr_grpo":
        return mx.array(1 / (count * objective.longest))
    if objective.loss_type in SHARED_LOSSES and tokens is not None:
        return mx.array(1 / max(1.0, tokens))
    return 1 / mx.maximum(mask_BT.sum(), 1.0)


def _clipped(
    ratios_BT: mx.array, advantages_B1: mx.array, mask_BT: mx.array, objective: PolicyObjective
) -> Numbers:
    """Count tokens, or completions, that the clip or the cap stops, by TRL's names."""
    share = _mean_of_completions if objective.level == "sequence" else _mean
    above_BT = (ratios_BT > objective.upper) & (advantages_B1 > 0)
    if objective.loss_type == "cispo":
        return {"cispo_clip_ratio": share(above_BT, mask_BT)}
    if objective.loss_type not in CLIPPED_LOSSES:
        return {}
    below_BT = (ratios_BT < 1 - objective.epsilon) & (advantages_B1 < 0)
    return {
        "clip_ratio/low_mean": share(below_BT, mask_BT),
        "clip_ratio/high_mean": share(above_BT, mask_BT),
        "clip_ratio/region_mean": share(below_BT | above_BT, mask_BT),
    }


def _mean_of_completions(values_BT: mx.array, mask_BT: mx.array) -> mx.array:
    """A whole completion is clipped or not, however long it is."""
    return ((values_BT * mask_BT).sum(axis=1) / mx.maximum(mask_BT.sum(axis=1), 1.0)).mean()


def _mean(values_BT: mx.array, mask_BT: mx.array) -> mx.array:
    return (values_BT * mask_BT).sum() / mx.maximum(mask_BT.sum(), 1.0)
