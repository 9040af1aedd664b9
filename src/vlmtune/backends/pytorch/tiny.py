"""A small random model of a family, in a folder: what comparisons need where no weights exist."""

import json
import shutil
from pathlib import Path

import torch
import transformers

_SPREAD = 0.08
"""The usual 0.02 gives nearly equal logits, whose order rounding could change."""
_CHANGED = {
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
}


def write(source: Path, folder: Path, *, seed: int = 0) -> None:
    """Write a model of random weights with the tokenizer and image processor of another.

    It differs from its source in sizes, and in a head of its own where that one's is its embedding.

    Args:
        source: A model folder of the family.
        folder: Where to write; made if need be.
        seed: Of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.suffix not in (".safetensors", ".md"):
            shutil.copy(path, folder / path.name)
    raw = json.loads((source / "config.json").read_text(encoding="utf-8"))
    text = raw.get("text_config", raw)
    text |= _CHANGED | {"tie_word_embeddings": False}
    text.pop("layer_types", None)
    raw["tie_word_embeddings"] = False
    raw["vision_config"] |= {"out_hidden_size": text["hidden_size"]}
    config = transformers.CONFIG_MAPPING[raw["model_type"]].from_dict(raw)
    torch.manual_seed(seed)
    network = transformers.AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, _SPREAD)
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
