"""AdamW and the clipping of gradients, with PyTorch's arithmetic.

    decay      w <- w (1 - rate d)
    moments    m <- b1 m + (1 - b1) g         v <- b2 v + (1 - b2) g^2
    step       w <- w - rate / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + e)

MLX's own AdamW leaves bias correction out unless told otherwise and knows one rate for all weights;
this one takes a rate and a decay for each weight.

Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, in the order of operations of
torch.optim.AdamW.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import mlx.core as mx

Weights = dict[str, mx.array]
CLIP_GUARD = 1e-6
"""Added to the norm that a gradient is divided by, as torch.nn.utils.clip_grad_norm_ does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a weight moves.

    Attributes:
        rate: Its peak learning rate.
        decay: Share of it that is taken away, times the rate, at each update.
    """

    rate: float
    decay: float


@dataclass(slots=True, kw_only=True)
class AdamW:
    """The optimizer and what it remembers.

    Attributes:
        paces: Each weight's own rate and decay.
        beta1: Memory of the gradient.
        beta2: Memory of the squared gradient.
        epsilon: Guard against division by zero.
        step: Updates made.
        means: m of each weight, float32.
        squares: v of each weight, float32.
    """

    paces: Mapping[str, Pace]
    beta1: float
    beta2: float
    epsilon: float
    step: int = 0
    means: Weights = field(default_factory=dict)
    squares: Weights = field(default_factory=dict)

    def moved(self, weights: Weights, gradients: Weights, *, factor: float) -> Weights:
        """Make one update.

        Args:
            weights: Their present values.
            gradients: The loss's derivatives by them.
            factor: Share of the peak rates that the schedule allows now.

        Returns:
            The new values, in the old formats; nothing is computed yet.
        """
        self.step += 1
        return {
            name: self._moved(name, weight, gradients[name].astype(mx.float32), factor)
            for name, weight in weights.items()
        }

    def _moved(self, name: str, weight: mx.array, gradient: mx.array, factor: float) -> mx.array:
        pace = self.paces[name]
        rate = pace.rate * factor
        mean = self.means.get(name)
        square = self.squares.get(name)
        mean = mx.zeros_like(gradient) if mean is None else mean
        square = mx.zeros_like(gradient) if square is None else square
        mean = mean + (gradient - mean) * (1 - self.beta1)
        square = square * self.beta2 + (1 - self.beta2) * gradient * gradient
        self.means[name], self.squares[name] = mean, square
        bottom = mx.sqrt(square) / (1 - self.beta2**self.step) ** 0.5 + self.epsilon
        value: mx.array = weight.astype(mx.float32) * (1 - rate * pace.decay)
        value = value - rate / (1 - self.beta1**self.step) * (mean / bottom)
        return value.astype(weight.dtype)

    def arrays(self) -> list[mx.array]:
        """List what it remembers, to be computed together with the weights."""
        return [*self.means.values(), *self.squares.values()]


def clipped(gradients: Weights, *, most: float) -> tuple[Weights, mx.array]:
    """Scale gradients down to a norm over all of them.

    Args:
        gradients: By weight.
        most: The longest norm; 0 leaves them.

    Returns:
        The gradients, and their norm before.
    """
    squares = [mx.square(gradient.astype(mx.float32)).sum() for gradient in gradients.values()]
    norm = mx.sqrt(mx.stack(squares).sum())
    if most == 0:
        return gradients, norm
    share = mx.minimum(most / (norm + CLIP_GUARD), 1.0)
    return {name: gradient * share for name, gradient in gradients.items()}, norm
