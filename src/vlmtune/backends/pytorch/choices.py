"""What can be chosen when a model is loaded and tuned; nothing here needs PyTorch."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlmtune.backends.targets import Part

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What is trained.

    Attributes:
        method: LoRA or DoRA adapters, or the weights themselves.
        rank: Inner size of an adapter's two matrices.
        alpha: An adapter's output is scaled by alpha / rank.
        dropout: Share of an adapter's inputs that are dropped while training.
        targets: Names of linear layers to adapt; None adapts all.
        parts: Parts that train. A projector beside adapters trains its own weights, since it is
            small and has no redundant rank; peft keeps them with the adapter.
    """

    method: Literal["lora", "dora", "full"] = "lora"
    rank: int = 16
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None
    parts: frozenset[Part] = frozenset({"language"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Peak learning rates; None takes `default`, for adapters the rate of their part."""

    default: float
    vision: float | None = None
    projector: float | None = None
    language: float | None = None
    adapter: float | None = None

    def of(self, part: Part, *, adapter: bool) -> float:
        """Look up the rate of a weight."""
        own = {"vision": self.vision, "projector": self.projector, "language": self.language}[part]
        if adapter and self.adapter is not None:
            return self.adapter
        return self.default if own is None else own
