"""All weights of a network, taken back from a checkpoint."""

from pathlib import Path
from typing import Any

import torch

from vlmtune.errors import CheckpointError


def go_back(network: Any, folder: Path) -> None:
    """Give a network the weights of a checkpoint, whichever names they were saved under.

    Args:
        network: transformers' model, without an adapter.
        folder: What its `save_pretrained` wrote.

    Raises:
        CheckpointError: If a weight is missing, or none of the network's has its name.
    """
    held, told = type(network).from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    odd = {*told["missing_keys"], *told["unexpected_keys"]}
    if odd:
        raise CheckpointError(
            f"checkpoint {folder} does not hold the weights of the model that trains ({min(odd)}); "
            "start anew with --resume never"
        )
    network.load_state_dict(held.state_dict(), strict=True)
