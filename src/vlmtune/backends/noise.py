"""The uniform numbers behind every draw, the same on every backend.

Each completion has a stream of its own, computed from (seed, example, sample index), so neither
the batch a row sits in nor the order of prompts changes what is drawn, and two backends with equal
logits draw equal tokens.
"""

import hashlib

import numpy as np
import numpy.typing as npt

_BITS = 23  # one less than float32 holds, so that u * total < total after rounding


def noise(*, seed: int, example_id: str, sample: int, count: int) -> npt.NDArray[np.float32]:
    """Compute one completion's uniform numbers.

    Args:
        seed: The run's seed.
        example_id: Which prompt.
        sample: Which of the prompt's completions.
        count: How many; a longer request begins with the shorter one.

    Returns:
        float32 [count] in [0, 1).
    """
    name = f"{seed}\0{example_id}\0{sample}".encode()
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    bits = np.random.Philox(key=key).random_raw(count) >> np.uint64(64 - _BITS)
    return (bits.astype(np.float64) * 2.0**-_BITS).astype(np.float32)
