"""Qwen2.5-VL: published sizes, and the tokens that stand for pixels.

Source: https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct (config.json, tokenizer_config.json) and
the mlx-community conversions of it.
"""

from types import MappingProxyType

from vlmtune.types import ModelAlias, ModelFamily

_MLX = {
    f"{size}b-{bits}bit": ModelAlias(
        hub_id=f"mlx-community/Qwen2.5-VL-{size}B-Instruct-{bits}bit", ram_gib=ram_gib
    )
    for size, bits, ram_gib in ((3, 4, 4.0), (3, 8, 6.0), (7, 4, 8.0), (7, 8, 14.0), (32, 4, 20.0))
}

# bfloat16 weights; a GPU's memory, not the machine's.
_PYTORCH = {
    f"{size}b": ModelAlias(hub_id=f"Qwen/Qwen2.5-VL-{size}B-Instruct", ram_gib=ram_gib)
    for size, ram_gib in ((3, 9.0), (7, 20.0), (32, 78.0), (72, 165.0))
}

FAMILY = ModelFamily(
    name="qwen2_5_vl",
    model_type="qwen2_5_vl",
    aliases=MappingProxyType(
        {"mlx": MappingProxyType(_MLX), "pytorch": MappingProxyType(_PYTORCH)}
    ),
    never_sampled=(
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ),
    language_module="model.language_model",
    vision_module="model.visual",
    projector_module="model.visual.merger",
)
