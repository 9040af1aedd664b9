"""Drawing tokens so that a completion depends on its own seed and nothing else.

Every completion has its own stream of uniform numbers (`backends.noise`), the same as on MLX. A
token is the first whose cumulative probability exceeds the step's number.

Log-probabilities are those of the raw distribution, `softmax(logits / temperature)`, although the
tokens that stand for pixels are removed before drawing: a trainer's forward pass does not remove
them, so only the raw value makes the ratio of a policy to itself exactly 1.
"""

# B rows, V vocabulary

from dataclasses import dataclass

import torch

from vlmtune.types import Sampling


@dataclass(frozen=True, slots=True)
class Drawer:
    """Draws one token for each row.

    Attributes:
        sampling: Temperature, top-p and top-k.
        bias_V: 0, and -inf at ids that are never drawn; float32 [V].
    """

    sampling: Sampling
    bias_V: torch.Tensor

    def draw(
        self, logits_BV: torch.Tensor, uniform_B: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
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
        if greedy:
            token_B = allowed_BV.argmax(dim=-1)
        else:
            weights_BV = (allowed_BV - allowed_BV.amax(dim=-1, keepdim=True)).exp()
            token_B = _first_above(self._truncated(weights_BV), uniform_B)
        chosen_B = scaled_BV.gather(1, token_B[:, None])[:, 0]
        return token_B, chosen_B - scaled_BV.logsumexp(dim=-1)

    def _truncated(self, weights_BV: torch.Tensor) -> torch.Tensor:
        """Set the weights outside top-k, and of what remains outside top-p, to 0."""
        top_k, top_p = self.sampling.top_k, self.sampling.top_p
        if 0 < top_k < weights_BV.shape[-1]:
            least_B1 = weights_BV.topk(top_k, dim=-1).values[:, -1:]
            weights_BV = weights_BV.where(weights_BV >= least_B1, 0.0)
        if top_p < 1:
            sorted_BV = weights_BV.sort(dim=-1, descending=True).values
            before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
            inside_BV = before_BV < top_p * weights_BV.sum(dim=-1, keepdim=True)
            least_B1 = sorted_BV.where(inside_BV, torch.inf).amin(dim=-1, keepdim=True)
            weights_BV = weights_BV.where(weights_BV >= least_B1, 0.0)
        return weights_BV


def make_drawer(
    sampling: Sampling, *, suppressed: tuple[int, ...], vocabulary: int, device: str
) -> Drawer:
    """Prepare to draw; ids beyond the vocabulary are left out."""
    bias_V = torch.zeros(vocabulary)
    bias_V[[token for token in suppressed if token < vocabulary]] = -torch.inf
    return Drawer(sampling, bias_V.to(device))


def _first_above(weights_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    # A parallel sum may round a weightless token's total above its neighbour's, hence the `where`.
    totals_BV = weights_BV.cumsum(dim=-1).where(weights_BV > 0, 0.0)
    target_B1 = uniform_B[:, None] * totals_BV.amax(dim=-1, keepdim=True)
    return (totals_BV > target_B1).to(torch.int8).argmax(dim=-1)
