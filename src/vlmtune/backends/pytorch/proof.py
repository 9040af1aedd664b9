"""May this network compute several prompts in one pass? `backends/proof.py` asks."""

import numpy as np
import numpy.typing as npt
import torch

from vlmtune.backends import proof
from vlmtune.backends.pytorch.cache import Prefix
from vlmtune.backends.pytorch.model import LoadedModel


def go_together(loaded: LoadedModel) -> bool:
    """Compute three unlike prompts alone and together, and compare.

    Args:
        loaded: The network.

    Returns:
        Whether logits, keys and values agree up to rounding; if not, a warning says so.
    """
    kind = loaded.base.model.get_input_embeddings().weight.dtype
    if torch.is_autocast_enabled(loaded.device):
        kind = torch.get_autocast_dtype(loaded.device)
    return proof.go_together(loaded, numbers=_numbers, precision=str(kind).rpartition(".")[2])


def _numbers(prefix: Prefix) -> list[npt.NDArray[np.float32]]:
    found = [torch.tensor([prefix.length, prefix.next_position]), prefix.logits_V]
    for keys, values in prefix.layers:
        found += [keys, values]
    return [one.float().cpu().numpy() for one in found]
