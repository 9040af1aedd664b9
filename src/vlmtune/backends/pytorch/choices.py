"""What can be chosen when a model is loaded; nothing here needs PyTorch."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Device: TypeAlias = Literal["auto", "cuda", "cpu", "mps"]
Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How to load.

    Attributes:
        device: Where to compute; auto takes cuda where there is one, else cpu.
        dtype: Number format of the weights; auto is bf16 on GPUs that have it, fp32 elsewhere.
        attention: transformers' attention kernel: sdpa, eager, flash_attention_2; auto is sdpa.
        quantization: 4bit stores the language model's linear weights as NF4 with double
            quantisation, 8bit as LLM.int8; vision and head keep their format.
        min_pixels: Smaller pictures are enlarged to this; None is the model's own bound.
        max_pixels: Larger pictures are scaled down to this; None is the model's own bound.
        waits: Keep the weights in the machine's memory, until an engine divides them among GPUs.
    """

    device: Device = "auto"
    dtype: Precision = "auto"
    attention: str = "auto"
    quantization: Literal["none", "8bit", "4bit"] = "none"
    min_pixels: int | None = None
    max_pixels: int | None = None
    waits: bool = False
