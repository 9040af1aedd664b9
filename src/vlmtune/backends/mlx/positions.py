"""Multimodal rotary positions of a prompt: text counts up, an image's tokens share a block.

    ids        a  b  <img> <img> <img> <img>  c      one image of 2 x 2 merged patches
    time       0  1    2     2     2     2    4
    height     0  1    2     2     3     3    4
    width      0  1    2     3     2     3    4

Source: Wang et al. 2024, arXiv:2409.12191, section 2.1 (M-RoPE).
"""

# A axes (time, height, width), T tokens, N images

import numpy as np
import numpy.typing as npt


def mrope_positions(
    ids_T: npt.NDArray[np.int32],
    grids_N3: npt.NDArray[np.int64],
    *,
    image_token_id: int,
    merge_size: int,
) -> tuple[npt.NDArray[np.int32], int]:
    """Number the tokens of one prompt.

    Args:
        ids_T: Token ids with one image token for each merged patch.
        grids_N3: Patches of each image as (time, height, width), before merging.
        image_token_id: The placeholder's id.
        merge_size: Patches merged along each side.

    Returns:
        Positions, int32 [3, T], and the position of the first token after the prompt.
    """
    positions_AT = np.empty((3, len(ids_T)), dtype=np.int32)
    is_image_T = ids_T == image_token_id
    done, position = 0, 0
    for time, height, width in grids_N3.tolist():
        shape = (time, height // merge_size, width // merge_size)
        start = done + int(np.argmax(is_image_T[done:]))
        positions_AT[:, done:start] = np.arange(position, position + start - done)
        position += start - done
        block = np.indices(shape, dtype=np.int32).reshape(3, -1) + position
        done = start + block.shape[1]
        positions_AT[:, start:done] = block
        position += max(shape)
    rest = len(ids_T) - done
    positions_AT[:, done:] = np.arange(position, position + rest)
    return positions_AT, position + rest
