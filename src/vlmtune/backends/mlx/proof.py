"""May this network compute several prompts in one pass? `backends/proof.py` asks."""

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends import proof
from vlmtune.backends.mlx.cache import Prefix
from vlmtune.backends.mlx.model import LoadedModel


def go_together(loaded: LoadedModel) -> bool:
    """Compute three unlike prompts alone and together, and compare.

    Args:
        loaded: The network.

    Returns:
        Whether logits, keys and values agree up to rounding; if not, a warning says so.
    """
    kind = loaded.head.weight.dtype
    # Weights in 4 or 8 bits are whole numbers; what is computed has the type of their scales.
    if not mx.issubdtype(kind, mx.floating):
        kind = loaded.head.scales.dtype
    return proof.go_together(loaded, numbers=_numbers, precision=str(kind).rpartition(".")[2])


def _numbers(prefix: Prefix) -> list[npt.NDArray[np.float32]]:
    found = [mx.array([prefix.length, prefix.next_position]), prefix.logits_V]
    for layer in prefix.layers:
        assert layer.keys is not None and layer.values is not None
        found += [layer.keys, layer.values]
    return [np.array(one.astype(mx.float32)) for one in found]
