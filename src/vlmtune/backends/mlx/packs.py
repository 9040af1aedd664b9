"""Prompts that are computed in one pass, side by side, and what they share.

<|im_start|> system ... <|vision_start|> <img> <img> left of ?      prompt 0
<|im_start|> system ... <|vision_start|> <img> how many ?  .        prompt 1, filled up
|------------ the shared head ---------|
"""

# B prompts, T tokens

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vlmtune.backends.mlx.inputs import PromptInputs

SHORTEST_HEAD = 8
"""A shorter common beginning costs more to compute apart than it saves."""


def side_by_side(
    ids: Sequence[npt.NDArray[np.int32]],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Fill up token ids with zeros at the end.

    Args:
        ids: B prompts' ids, int32 [T_b].

    Returns:
        Ids, int32 [B, T], and the prompts' own lengths, int64 [B].
    """
    lengths_B = np.array([len(ids_T) for ids_T in ids])
    ids_BT = np.zeros((len(ids), int(lengths_B.max())), dtype=np.int32)
    for row, ids_T in enumerate(ids):
        ids_BT[row, : len(ids_T)] = ids_T
    return ids_BT, lengths_B


def shared_head(several: Sequence[PromptInputs], *, image_token_id: int) -> int:
    """Count the tokens with which all prompts begin, before any picture.

    Each prompt keeps at least one token of its own. Positions count up from 0 until the first
    picture, so equal tokens have equal positions.

    Args:
        several: Prompts that are computed at once.
        image_token_id: The placeholder's id.

    Returns:
        0 for a single prompt, or where sharing would not pay.
    """
    if len(several) < 2:
        return 0
    shortest = min(len(inputs.ids_T) for inputs in several) - 1
    first_T, *others = (inputs.ids_T[:shortest] for inputs in several)
    differs_T = first_T == image_token_id
    for other_T in others:
        differs_T = differs_T | (other_T != first_T)
    head = int(np.argmax(differs_T)) if differs_T.any() else shortest
    return head if head >= SHORTEST_HEAD else 0
