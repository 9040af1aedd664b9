"""What can be chosen when a model is loaded; nothing here needs MLX."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How to load.

    Attributes:
        dtype: Number format of the weights; auto keeps what is stored on Metal, and is fp32 on
            CPUs, which multiply 16-bit floats many times slower.
        bits: Store the language model's linear weights in 4 or 8 bits; None keeps them.
        min_pixels: Smaller pictures are enlarged to this; None is the model's own bound.
        max_pixels: Larger pictures are scaled down to this; None is the model's own bound.
    """

    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    bits: Literal[4, 8] | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
