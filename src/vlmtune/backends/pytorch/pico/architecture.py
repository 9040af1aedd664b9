"""pico's shape: Qwen2.5-VL, every part of it, at under 4 million weights."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from vlmtune.backends.pytorch.pico.tokenizer import (
    END_OF_TEXT,
    SPECIAL_ID,
    TURN_END,
    VOCABULARY,
)

PATCH, MERGE, TEMPORAL = 14, 2, 2
MIN_PIXELS, MAX_PIXELS = 56 * 56, 224 * 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
    "use_sliding_window": False,
    "bos_token_id": SPECIAL_ID[END_OF_TEXT],
    "eos_token_id": SPECIAL_ID[TURN_END],
    "pad_token_id": SPECIAL_ID[END_OF_TEXT],
}
VISION: dict[str, Any] = {
    "depth": 4,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_heads": 4,
    "out_hidden_size": 192,
    "patch_size": PATCH,
    "spatial_patch_size": PATCH,
    "spatial_merge_size": MERGE,
    "temporal_patch_size": TEMPORAL,
    "in_channels": 3,
    "in_chans": 3,
    "window_size": 112,
    "fullatt_block_indexes": [1, 3],
    "tokens_per_second": 2,
    "hidden_act": "silu",
}
THETA = 10_000.0
SECTIONS = [1, 1, 14]
"""How the 16 rotary frequencies of a head, falling from 1, are shared by time, height and width.

The usual proportions (4, 6, 6) would leave width the slowest six: over the seven columns of a scene
they turn by 0.02 radians, so that left and right could hardly be told. Here height turns by 0.56 a
row and width by 0.32 a column, and the slow frequencies stay free for finding things by content.
"""

IDS = {
    "image_token_id": SPECIAL_ID["<|image_pad|>"],
    "video_token_id": SPECIAL_ID["<|video_pad|>"],
    "vision_start_token_id": SPECIAL_ID["<|vision_start|>"],
    "vision_end_token_id": SPECIAL_ID["<|vision_end|>"],
}


def new_model(*, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """Make pico with random weights, float32."""
    torch.manual_seed(seed)
    rope = {"rope_type": "default", "rope_theta": THETA, "mrope_section": SECTIONS}
    config = Qwen2_5_VLConfig(
        text_config={**TEXT, "rope_parameters": rope},
        vision_config=dict(VISION),
        tie_word_embeddings=True,
        **IDS,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def flat_config() -> dict[str, Any]:
    """Lay the config out so that transformers, mlx-vlm and vLLM all read it.

    Text fields stand at the root, as in the Hub's Qwen2.5-VL folders; mlx-vlm reads them nowhere
    else, and transformers 5 still takes them from there.
    """
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        **TEXT,
        **IDS,
        "vision_token_id": SPECIAL_ID["<|vision_pad|>"],
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "max_window_layers": TEXT["num_hidden_layers"],
        "rope_theta": THETA,
        "rope_scaling": {"type": "mrope", "mrope_section": SECTIONS},
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vision_config": {"model_type": "qwen2_5_vl", **VISION},
    }


def image_processor_config() -> dict[str, Any]:
    """Qwen2-VL's image processor with pico's pixel bounds."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": MIN_PIXELS,
        "max_pixels": MAX_PIXELS,
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "patch_size": PATCH,
        "temporal_patch_size": TEMPORAL,
        "merge_size": MERGE,
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "rescale_factor": 1 / 255,
        "resample": 3,
    }


def save_folder(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write a folder that plain transformers, mlx-vlm and vLLM load; weights in bfloat16.

    Each file is written beside its place and renamed into it.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    weights = {
        name: value.to(torch.bfloat16).contiguous() for name, value in legacy_names(model).items()
    }
    waiting = folder / "model.safetensors.part"
    save_file(weights, waiting, metadata={"format": "pt"})
    waiting.replace(folder / "model.safetensors")
    for name, content in {
        "config.json": flat_config(),
        "preprocessor_config.json": image_processor_config(),
    }.items():
        part = folder / f"{name}.part"
        part.write_text(json.dumps(content, indent=2) + os.linesep)
        part.replace(folder / name)
    GenerationConfig(
        eos_token_id=[SPECIAL_ID[TURN_END], SPECIAL_ID[END_OF_TEXT]],
        pad_token_id=SPECIAL_ID[END_OF_TEXT],
        bos_token_id=SPECIAL_ID[END_OF_TEXT],
        do_sample=False,
    ).save_pretrained(folder)


def legacy_names(model: Qwen2_5_VLForConditionalGeneration) -> dict[str, torch.Tensor]:
    """Name the weights as the Hub's Qwen2.5-VL checkpoints do: `visual.*` and `model.*`."""
    names: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        short = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
        names[short] = value
    return names
