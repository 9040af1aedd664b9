"""Log-probabilities that keep their digits where one token is all but certain.

MLX adds numbers up one after the other on a CPU. Behind the 1 of a certain token, two thousand
others of 5e-9 each are lost in float32, and 1e-5 of probability with them. Sums of sums lose
nothing: a vocabulary is added up in `COLUMNS` columns first.
"""

# N tokens, V vocabulary

import mlx.core as mx

COLUMNS = 64
"""Partial sums of a vocabulary."""


def log_probabilities(logits_NV: mx.array, ids_N: mx.array) -> mx.array:
    """Compute `log softmax(logits)` at one id of each row; differentiable.

    Args:
        logits_NV: float32 [N, V].
        ids_N: int32 [N].

    Returns:
        float32 [N].
    """
    return _computed(logits_NV, ids_N)[0]


def watched(logits_NV: mx.array, ids_N: mx.array) -> mx.array:
    """Compute the same, and beside it what is watched while training.

    Returns:
        float32 [N, 4]: the log-probability, differentiable; and without derivatives the entropy of
        all tokens in nats, 1 where the id is the likeliest, and the mean logit.
    """
    found_N, below_NV, weights_NV = _computed(logits_NV, ids_N)
    below_NV, weights_NV = mx.stop_gradient(below_NV), mx.stop_gradient(weights_NV)
    totals_N = sums(weights_NV)
    entropies_N = mx.log(totals_N) - sums(weights_NV * below_NV) / totals_N
    likeliest_N = (logits_NV.argmax(axis=-1) == ids_N).astype(found_N.dtype)
    means_N = mx.stop_gradient(sums(logits_NV) / logits_NV.shape[-1])
    return mx.stack([found_N, entropies_N, likeliest_N, means_N], axis=-1)


def _computed(logits_NV: mx.array, ids_N: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """Give log-probabilities, logits below the largest of their row, and these exponentiated."""
    top_N1 = mx.stop_gradient(logits_NV.max(axis=-1, keepdims=True))
    # Small numbers are subtracted, so that likely tokens keep their digits.
    below_NV = logits_NV - top_N1
    # Under mx.checkpoint the ids are an argument like any other, and have no derivative.
    ids_N1 = mx.stop_gradient(ids_N)[:, None]
    chosen_N = mx.take_along_axis(below_NV, ids_N1, axis=-1)[:, 0]
    weights_NV = mx.exp(below_NV)
    return chosen_N - mx.log(sums(weights_NV)), below_NV, weights_NV


def sums(weights_NV: mx.array) -> mx.array:
    """Add up each row, [N]."""
    count, vocabulary = weights_NV.shape
    filling = -vocabulary % COLUMNS
    if filling:
        weights_NV = mx.pad(weights_NV, [(0, 0), (0, filling)])
    return weights_NV.reshape(count, COLUMNS, -1).sum(axis=1).sum(axis=-1)
