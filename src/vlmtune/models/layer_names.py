"""What a layer is called: by transformers, by MLX, and in adapters that older versions wrote.

model.language_model.layers.0.self_attn.q_proj      transformers 5; the name used here
language_model.model.layers.0.self_attn.q_proj      mlx-vlm
model.layers.0.self_attn.q_proj                     transformers 4, and its saved weights
model.visual.blocks.0.attn.qkv                      transformers 5
vision_tower.blocks.0.attn.qkv                      mlx-vlm
visual.blocks.0.attn.qkv                            transformers 4
"""

LANGUAGE, VISION = "model.language_model", "model.visual"
MLX_LANGUAGE, MLX_VISION = "language_model.model", "vision_tower"
HEAD, MLX_HEAD = "lm_head", "language_model.lm_head"

_ROOTS = (
    (LANGUAGE, LANGUAGE),
    (VISION, VISION),
    (MLX_LANGUAGE, LANGUAGE),
    (MLX_HEAD, HEAD),
    (MLX_VISION, VISION),
    ("model.vision_tower", VISION),
    ("visual", VISION),
    ("language_model", LANGUAGE),
    (HEAD, HEAD),
    ("model", LANGUAGE),
)
"""Beginnings of names -> ours; the first that fits holds."""


def canonical(name: str) -> str:
    """Name a layer or weight as transformers 5 does; a name with another beginning stays."""
    for root, ours in _ROOTS:
        if name == root or name.startswith(f"{root}."):
            return ours + name[len(root) :]
    return name


def mlx(name: str) -> str:
    """Name a layer or weight as mlx-vlm does."""
    roots = ((LANGUAGE, MLX_LANGUAGE), (VISION, MLX_VISION), (HEAD, MLX_HEAD))
    for root, theirs in roots:
        if name == root or name.startswith(f"{root}."):
            return theirs + name[len(root) :]
    return name
