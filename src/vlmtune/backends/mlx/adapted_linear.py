"""A linear layer that carries an adapter, computed as peft computes it."""

from typing import Any

import mlx.core as mx
import mlx.nn
import numpy as np
import numpy.typing as npt

from vlmtune.models.adapters import AdapterLayer

# mlx.nn offers its layers under names that its annotations do not.
nn: Any = mlx.nn


class AdaptedLinear(nn.Module):  # type: ignore[misc]
    """A linear layer, frozen, and an adapter beside it.

    Attributes:
        linear: The layer below, float or quantised.
        lora_a: float32 [rank, in]; of a stacked adapter, the ranks that train.
        lora_b: float32 [out, rank]; likewise.
        held: Ranks before these, which do not move.
        magnitude: float32 [out] under DoRA, else absent.
        scale: What B A x is multiplied by.
        active: False computes the layer below alone.
    """

    def __init__(self, linear: Any, values: AdapterLayer, *, dropout: float, held: int = 0) -> None:
        super().__init__()
        self.linear = linear
        self.held = held
        # To MLX, what begins with _ is no parameter: it has no gradient and does not decay.
        self._held_a, self._held_b = mx.array(values.a[:held]), mx.array(values.b[:, :held])
        self.lora_a, self.lora_b = mx.array(values.a[held:]), mx.array(values.b[:, held:])
        if values.magnitude is not None:
            self.magnitude = mx.array(values.magnitude)
        self.scale = values.scale
        self.dropout = nn.Dropout(p=dropout)
        self.drops = dropout > 0
        self.active = True
        self.linear.freeze()

    def __call__(self, x: mx.array) -> mx.array:
        """Compute W x + scale B A x, rescaled row by row under DoRA."""
        plain: mx.array = self.linear(x)
        if not self.active:
            return plain
        dropped = self.dropout(x)
        a, b = self.matrices()
        update = self.scale * ((dropped.astype(a.dtype) @ a.T) @ b.T)
        if "magnitude" not in self:
            summed: mx.array = (plain + update).astype(plain.dtype)
            return summed
        weight = weight_of(self.linear)
        rows = mx.linalg.norm(weight + self.scale * (b @ a), axis=1)
        # A constant in the gradient: DoRA, arXiv:2402.09353, section 4.3.
        factor = self.magnitude / mx.stop_gradient(rows)
        # With dropout, peft rescales what the layer makes of the dropped input.
        rescaled = (
            dropped @ weight.T.astype(x.dtype)
            if self.training and self.drops
            else _without_bias(self.linear, plain)
        )
        found: mx.array = (plain + (factor - 1) * rescaled + factor * update).astype(plain.dtype)
        return found

    def matrices(self) -> tuple[mx.array, mx.array]:
        """All ranks of A and B, those that are held first."""
        if not self.held:
            return self.lora_a, self.lora_b
        return (
            mx.concatenate([self._held_a, self.lora_a]),
            mx.concatenate([self._held_b, self.lora_b], axis=1),
        )

    def moving(self, values: AdapterLayer) -> dict[str, npt.NDArray[np.float32]]:
        """Cut what trains out of values for all ranks, by the names of its parameters."""
        found = {"lora_a": values.a[self.held :], "lora_b": values.b[:, self.held :]}
        return found if values.magnitude is None else found | {"magnitude": values.magnitude}


def weight_of(linear: Any) -> mx.array:
    """A layer's matrix in float32, [out, in]."""
    weight: mx.array = linear.weight
    if isinstance(linear, nn.QuantizedLinear):
        weight = mx.dequantize(
            weight,
            linear.scales,
            linear.get("biases"),
            group_size=linear.group_size,
            bits=linear.bits,
            mode=linear.mode,
        )
    return weight.astype(mx.float32)


def _without_bias(linear: Any, output: mx.array) -> mx.array:
    if "bias" not in linear:
        return output
    bias: mx.array = linear.bias
    return output - bias


def size_of(linear: Any) -> tuple[int, int]:
    """A layer's (out, in), in numbers and not in the integers that pack them."""
    rows, columns = linear.weight.shape
    packed = isinstance(linear, nn.QuantizedLinear)
    return rows, columns * 32 // linear.bits if packed else columns
