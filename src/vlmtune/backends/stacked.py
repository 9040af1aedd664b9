"""A new adapter above another one that is held still, as one adapter of both ranks.

    below  scale 2, A [16, in], B [out, 16]        above  scale 1, A' [8, in], B' [out, 8] = 0
    stacked  scale 1, [A; A'] [24, in], [2 B, B'] [out, 24]

    1 * ([2 B, B'] [A; A'] x)  =  2 * B A x  +  1 * B' A' x

Rows 0 to 15 of A and columns 0 to 15 of B do not move; what is saved is an ordinary LoRA, which
peft, vLLM and MLX load like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vlmtune.backends.first_adapter import first_values
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """A stacked adapter.

    Attributes:
        adapter: Both, as one.
        held: Its first `held` ranks do not move.
    """

    adapter: Adapter
    held: int


def stacked(
    below: Adapter,
    sizes: Mapping[str, tuple[int, int]],
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: str,
    seed: int,
) -> Stacked:
    """Put a new LoRA above one that is held still.

    All layers get one rank, filled up with zeros where only one of the two adapts a layer: not
    every program that loads adapters knows layers of unlike rank. Zeros beside zeros have no
    gradient.

    Args:
        below: A LoRA, no DoRA, without whole modules.
        sizes: Layers of the new one -> their (out, in).
        rank: Rank of the new one.
        alpha: Its alpha.
        dropout: Share of inputs dropped in training, for both.
        targets: Expression of the new one's layers.
        seed: Fixes the new one's first values, which are those that it would have alone.
    """
    held = max((layer.a.shape[0] for layer in below.layers.values()), default=0)
    config = AdapterConfig(
        rank=held + rank,
        alpha=alpha / rank * (held + rank),
        dropout=dropout,
        targets=_either(_expression(below.config), targets),
        base_model=below.config.base_model,
    )
    scale = config.scale_of("")
    layers = {}
    for name in sorted({*below.layers, *sizes}):
        old = below.layers.get(name)
        rows, columns = (old.b.shape[0], old.a.shape[1]) if old else sizes[name]
        a, b = (
            np.zeros((held + rank, columns), np.float32),
            np.zeros((rows, held + rank), np.float32),
        )
        if old is not None:
            kept = old.a.shape[0]
            a[:kept], b[:, :kept] = old.a, old.b * np.float32(old.scale / scale)
        if name in sizes:
            a[held:] = first_values(name, seed=seed, rank=rank, input_size=columns)
        layers[name] = AdapterLayer(a=a, b=b, magnitude=None, scale=scale)
    return Stacked(adapter=Adapter(config=config, layers=layers, whole={}), held=held)


def held_part(name: str, held: int) -> tuple[slice, slice]:
    """Index the part of a stacked adapter's matrix that does not move.

    Args:
        name: Its name: ...lora_A... is [rank, in], ...lora_B... is [out, rank].
        held: Ranks that do not move.
    """
    every = slice(None)
    return (slice(held), every) if "lora_A" in name else (every, slice(held))


def _expression(config: AdapterConfig) -> str:
    if isinstance(config.targets, str):
        return config.targets
    return rf"(?:.*\.)?(?:{'|'.join(config.targets)})"


def _either(first: str, second: str) -> str:
    return first if first == second else f"(?:{first})|(?:{second})"
