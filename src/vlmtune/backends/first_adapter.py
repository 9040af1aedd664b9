"""The first values of a new adapter, the same on every backend.

Each layer's are computed from the seed and the layer's name, so neither the engine nor the order in
which layers are met changes them: a run on MLX and a run on PyTorch start from one adapter.
"""

import numpy as np
import numpy.typing as npt

from vlmtune.backends.noise import noise


def first_values(layer: str, *, seed: int, rank: int, input_size: int) -> npt.NDArray[np.float32]:
    """Draw the matrix A of a layer; B begins as zeros, so a new adapter changes nothing.

    Args:
        layer: transformers' name of the layer: "model.language_model.layers.0.self_attn.q_proj".
        seed: The run's seed.
        rank: Inner size.
        input_size: Numbers that go into the layer.

    Returns:
        float32 [rank, input_size], uniform within 1 / sqrt(input_size).

    Source: Kaiming uniform with a = sqrt(5), the default of peft and of torch.nn.Linear.
    """
    drawn = noise(seed=seed, example_id=f"adapter {layer}", sample=0, count=rank * input_size)
    values = (2 * drawn - 1) / np.float32(np.sqrt(input_size))
    return values.reshape(rank, input_size)
