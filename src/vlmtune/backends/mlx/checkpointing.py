"""Gradient checkpointing: a layer keeps its input alone and is computed again for its gradient.

mlx-vlm's own switch changes a layer's class, and with it every model in the process; here the
layers of one model get a class of their own. A layer that is computed twice would draw its dropout
twice, so both times it begins from the same random key.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn


def enable(network: Any) -> None:
    """Let the layers of the language model and the blocks of the vision tower be computed again."""
    layers = [*network.language_model.model.layers, *network.vision_tower.blocks]
    kinds = {kind: _recomputing(kind) for kind in {type(layer) for layer in layers}}
    for layer in layers:
        layer.__class__ = kinds[type(layer)]


def _recomputing(kind: type[Any]) -> type[Any]:
    class Recomputing(kind):  # type: ignore[misc]
        """A layer that forgets what it computed, and computes it again for its gradient."""

        def __call__(self, *arguments: Any, **named: Any) -> Any:
            plain = super().__call__
            if (
                named.get("cache") is not None
            ):  # an answer is being drawn, with keys and values kept
                return plain(*arguments, **named)
            key: Any = mx.random.state
            high, low = key[0].tolist()

            def from_key(*inner: Any, **also: Any) -> Any:
                """Compute with the first time's random numbers, so that dropout drops the same."""
                mx.random.seed(high << 32 | low)
                return plain(*inner, **also)

            return nn.utils.checkpoint(self, from_key)(*arguments, **named)

    return Recomputing
