"""What a model says next, as numbers: whether two models are one is told by their logits."""

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends.mlx.adapted import attached
from vlmtune.backends.mlx.model import LoadedModel, load
from vlmtune.models.resolve import fetch, resolve
from vlmtune.types import Prompt

Logits = npt.NDArray[np.float32]


def next_logits(
    model: str, prompts: Sequence[Prompt], *, adapter: Path | None = None
) -> tuple[Logits, Logits | None]:
    """Compute the logits of the token after each prompt.

    Args:
        model: Alias, folder or hub id.
        prompts: P prompts.
        adapter: Folder of an adapter in peft's layout, or None.

    Returns:
        float32 [P, V] of the model alone, and the same with the adapter on it.
    """
    loaded = load(fetch(resolve(model, backend="mlx")))
    plain = _logits(loaded, prompts)
    if adapter is None:
        return plain, None
    return plain, _logits(attached(loaded, adapter), prompts)


def _logits(loaded: LoadedModel, prompts: Sequence[Prompt]) -> Logits:
    rows = [loaded.prefill(loaded.reader.read(prompt)).logits_V for prompt in prompts]
    return np.stack([np.array(row.astype(mx.float32)) for row in rows])
