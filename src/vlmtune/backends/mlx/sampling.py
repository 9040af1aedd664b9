"""Drawing tokens so that a completion depends on its own seed and nothing else.

Every completion has its own stream of uniform numbers (`backends.noise`). A token is the first
whose cumulative probability exceeds the step's number. So neither the batch a row sits in nor the
order of prompts changes what is drawn; only a probability that another batch shape rounds
differently, right at the drawn number, could.

Log-probabilities are those of the raw distribution, `softmax(logits / temperature)`, although the
tokens that stand for pixels are removed before drawing: a trainer's forward pass does not remove
them, so only the raw value makes the ratio of a policy to itself exactly 1. `score` is raw too.
"""

# B rows, V vocabulary

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from vlmtune.backends.mlx.log_softmax import sums
from vlmtune.types import Sampling


@dataclass(frozen=True, slots=True)
class Drawer:
    """Draws one token for each row.

    Attributes:
        sampling: Temperature, top-p and top-k.
        suppressed: Token ids that are never drawn.
        bias_V: 0, and -inf at `suppressed`; float32 [V].
    """

    sampling: Sampling
    suppressed: mx.array
    bias_V: mx.array

    def draw(self, logits_BV: mx.array, uniform_B: mx.array) -> tuple[mx.array, mx.array]:
        """Draw, or take the likeliest at temperature 0.

        Args:
            logits_BV: float32 [B, V].
            uniform_B: float32 [B] in [0, 1); ignored at temperature 0.

        Returns:
            Token ids [B], and their raw log-probabilities, float32 [B].
        """
        greedy = self.sampling.temperature == 0
        scaled_BV = logits_BV if greedy else logits_BV / self.sampling.temperature
        allowed_BV = scaled_BV + self.bias_V
        top_B1 = allowed_BV.max(axis=-1, keepdims=True)
        weights_BV = mx.exp(allowed_BV - top_B1)
        token_B = (
            mx.argmax(allowed_BV, axis=-1)
            if greedy
            else _first_above(self._truncated(weights_BV), uniform_B)
        )
        # Everything is counted from the likeliest allowed token, so that small numbers keep digits.
        log_total_B = mx.log(sums(weights_BV))
        if self.suppressed.size:
            removed_B = mx.logsumexp(scaled_BV[:, self.suppressed] - top_B1, axis=-1)
            log_total_B = mx.logaddexp(log_total_B, removed_B)
        chosen_B = mx.take_along_axis(scaled_BV, token_B[:, None], axis=-1)[:, 0]
        return token_B, (chosen_B - top_B1[:, 0]) - log_total_B

    def _truncated(self, weights_BV: mx.array) -> mx.array:
        """Set the weights outside top-k, and of what remains outside top-p, to 0."""
        top_k, top_p = self.sampling.top_k, self.sampling.top_p
        if 0 < top_k < weights_BV.shape[-1]:
            least_B1 = mx.topk(weights_BV, top_k, axis=-1).min(axis=-1, keepdims=True)
            weights_BV = mx.where(weights_BV >= least_B1, weights_BV, 0.0)
        if top_p < 1:
            sorted_BV = -mx.sort(-weights_BV, axis=-1)
            before_BV = mx.cumsum(sorted_BV, axis=-1) - sorted_BV
            inside_BV = before_BV < top_p * weights_BV.sum(axis=-1, keepdims=True)
            least_B1 = mx.where(inside_BV, sorted_BV, mx.inf).min(axis=-1, keepdims=True)
            weights_BV = mx.where(weights_BV >= least_B1, weights_BV, 0.0)
        return weights_BV


def make_drawer(sampling: Sampling, *, suppressed: tuple[int, ...], vocabulary: int) -> Drawer:
    """Prepare to draw; ids beyond the vocabulary are left out."""
    ids = [token for token in suppressed if token < vocabulary]
    bias_V = np.zeros(vocabulary, dtype=np.float32)
    bias_V[ids] = -np.inf
    return Drawer(sampling, mx.array(ids, dtype=mx.int32), mx.array(bias_V))


def _first_above(weights_BV: mx.array, uniform_B: mx.array) -> mx.array:
    # A parallel sum may round a weightless token's total above its neighbour's, hence the `where`.
    totals_BV = mx.where(weights_BV > 0, mx.cumsum(weights_BV, axis=-1), 0.0)
    target_B1 = uniform_B[:, None] * totals_BV.max(axis=-1, keepdims=True)
    return mx.argmax(totals_BV > target_B1, axis=-1)
