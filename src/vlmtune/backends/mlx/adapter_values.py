"""The values of an adapter that a model carries: put back from a checkpoint, or merged."""

from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_unflatten

from vlmtune.backends.mlx import adapted
from vlmtune.backends.mlx.adapted_linear import AdaptedLinear
from vlmtune.errors import CheckpointError
from vlmtune.models import adapters, layer_names


def put(network: Any, folder: Path) -> None:
    """Give the adapter that a model carries the values of another of the same shape.

    Raises:
        CheckpointError: If a layer is missing or of another size.
    """
    found = adapters.read(folder)
    layers = adapted.adapted_layers(network)
    if set(found.layers) != set(layers):
        odd = min(set(found.layers) ^ set(layers))
        raise CheckpointError(
            f"the adapter in {folder} is on other layers than the one that trains ({odd}); restore "
            "the settings it was made with"
        )
    for name, layer in layers.items():
        for leaf, value in layer.moving(found.layers[name]).items():
            if layer[leaf].shape != value.shape:
                raise CheckpointError(
                    f"the adapter in {folder} has {name}.{leaf} {list(value.shape)}, and the one "
                    f"that trains {list(layer[leaf].shape)}; restore the settings it was made with"
                )
            layer[leaf] = mx.array(value)
    adapted.put_whole(network, found.whole, where=f"the adapter in {folder}")
    mx.eval(network.parameters())


def merge(network: Any) -> int:
    """Add the adapter that a model carries to the weights below it, and take the adapter away.

    Returns:
        How many layers changed.
    """
    plain, changed = [], 0
    for name, layer in adapted.adapted_layers(network).items():
        weight = layer.linear.weight
        merged = merged_weight(layer).astype(weight.dtype)
        changed += int(not bool(mx.array_equal(merged, weight)))
        layer.linear.weight = merged
        plain.append((layer_names.mlx(name), layer.linear))
    network.update_modules(tree_unflatten(plain))
    mx.eval(network.parameters())
    return changed


def merged_weight(layer: AdaptedLinear) -> mx.array:
    """Compute W + scale B A, with rows of the length that DoRA learned; float32 [out, in]."""
    weight: mx.array = layer.linear.weight.astype(mx.float32)
    a, b = layer.matrices()
    weight = weight + layer.scale * (b @ a)
    if "magnitude" not in layer:
        return weight
    factor: mx.array = layer.magnitude / mx.linalg.norm(weight, axis=1)
    return weight * factor[:, None]
