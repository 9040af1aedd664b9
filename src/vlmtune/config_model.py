"""Which model is trained, and which of its weights move.

model:
  name: Qwen/Qwen2.5-VL-3B-Instruct
  tuning: lora
  quantization: 4bit          # with tuning: lora this is QLoRA
  lora: {rank: 64, alpha: 16, dropout: 0.05}
"""

from typing import Literal

from pydantic import Field

from vlmtune.config_section import Section


class LoraConfig(Section):
    """The adapter of tuning lora and dora."""

    rank: int = Field(default=16, ge=1)
    """Inner size of the two small matrices beside each layer."""
    alpha: float = Field(default=16.0, gt=0)
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that are dropped while training."""
    target_modules: list[str] | None = Field(default=None, min_length=1)
    """Names of linear layers to adapt; null adapts all of them in the parts that are not frozen."""


class VlmConfig(Section):
    """Architecture of a new nanoVLM, for model.name: initialize."""

    vit_model_type: str = "google/siglip2-base-patch16-512"
    """Hub id of the vision encoder."""
    lm_model_type: str = "HuggingFaceTB/SmolLM2-360M-Instruct"
    """Hub id of the language model."""
    lm_tokenizer: str = "HuggingFaceTB/SmolLM2-360M-Instruct"
    """Hub id of the tokenizer."""
    vit_img_size: int = Field(default=512, ge=1)
    """Side of the squares that the vision encoder sees, in pixels."""
    max_img_size: int = Field(default=2048, ge=1)
    """Longest side of a picture before it is cut into squares, in pixels."""
    mp_image_token_length: int = Field(default=64, ge=1)
    """Tokens that stand for one square."""


class ModelConfig(Section):
    """Which model, and which of its weights move."""

    name: str = "pico"
    """Alias (pico, 3b-4bit ... 32b-4bit), local folder or hub id."""
    start_from: str | None = None
    """Run folder, checkpoint or adapter of an earlier stage to start from."""
    start_adapter: Literal["continue", "merge", "stack"] = "continue"
    """The adapter found there: train it on, merge it first, or train another one above it."""
    tuning: Literal["lora", "dora", "full"] = "lora"
    """What is trained: LoRA or DoRA adapters, or the weights themselves."""
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Store the frozen weights in fewer bits while training adapters (4bit: NF4 on CUDA)."""
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Format of weights in memory; auto is bf16 under adapters where the device has it, or fp32."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """How PyTorch computes attention; auto is what the model and the machine allow."""
    lora: LoraConfig = LoraConfig()
    freeze_vision: bool | None = None
    """Leave the vision encoder alone; null does so under lora and dora unless its rate is set."""
    freeze_projector: bool | None = None
    """Leave the layers between vision and language alone; null likewise."""
    freeze_language: bool = False
    """Leave the language model alone."""
    min_pixels: int | None = Field(default=None, ge=1)
    """Smaller pictures are enlarged to this many pixels; null is the model's own bound."""
    max_pixels: int | None = Field(default=None, ge=1)
    """Larger pictures are scaled down to this many pixels; null is the model's own bound."""
    load_backbone: bool = True
    """Begin a new nanoVLM from pretrained vision and language weights."""
    vlm_config: VlmConfig = VlmConfig()
