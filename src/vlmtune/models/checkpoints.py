"""Model folders: is everything there, is it safe to open, is its config laid out for MLX.

transformers 5 writes a nested config; mlx-vlm reads the text model's keys at the root:

    {"text_config": {"hidden_size": 192, "rope_parameters": {"rope_theta": 1e4, ...}}, ...}
    {"hidden_size": 192, "rope_theta": 1e4, "rope_scaling": {"type": "mrope", ...}, ...}

Both are read; transformers reads the flat one back unchanged. The user's folder is never written.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vlmtune.errors import CheckpointError
from vlmtune.types import JSON

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
"""Weights in these files are Python pickles, which run code when they are opened."""


def read_json(path: Path) -> dict[str, JSON]:
    """Read a JSON object.

    Raises:
        CheckpointError: If the file is missing, unreadable or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON ({error}); copy the model folder again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{path} holds a {type(value).__name__}, expected an object; copy the folder again"
        )
    return value


def check_folder(folder: Path) -> dict[str, JSON]:
    """Make sure that a model folder can be opened, completely and without running code from it.

    Args:
        folder: An existing folder.

    Returns:
        Its config.json.

    Raises:
        CheckpointError: If config, safetensors weights or tokenizer are missing, if the only
            weights are pickles, or if the config asks for remote code.
    """
    missing = _missing_parts(folder)
    if missing:
        raise CheckpointError(
            f"model folder {folder} has no {', no '.join(missing)}; give a folder that was saved "
            "with save_pretrained for both the model and its processor"
        )
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        if (folder / name).is_file() and "auto_map" in read_json(folder / name):
            raise CheckpointError(
                f"{folder / name} has 'auto_map': the model would run Python code from its own "
                "folder, which is refused; use a checkpoint of a built-in architecture"
            )
    return read_json(folder / "config.json")


def _missing_parts(folder: Path) -> list[str]:
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += _missing_weights(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        missing.append("tokenizer.json")
    image_configs = ("preprocessor_config.json", "processor_config.json")
    if not any((folder / name).is_file() for name in image_configs):
        missing.append("preprocessor_config.json")
    return missing


def _missing_weights(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_json(index).get("weight_map", {}).values()))
        return [shard for shard in shards if not (folder / shard).is_file()]
    if any(folder.glob("*.safetensors")):
        return []
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise CheckpointError(
            f"model folder {folder} has only pickled weights ({', '.join(pickles[:3])}), which run "
            "code when opened and are refused; save it again as safetensors"
        )
    return ["*.safetensors weights"]


def weights_gib(folder: Path) -> float:
    """Add up the sizes of a folder's safetensors files, in GiB."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**30


def flatten_config(config: Mapping[str, JSON]) -> dict[str, JSON]:
    """Lay a Qwen2.5-VL config out flat; one that is flat already comes back equal.

    Args:
        config: The content of config.json.

    Returns:
        A new mapping: text keys at the root, `rope_parameters` as `rope_theta` and `rope_scaling`,
        the vision tower's `model_type` equal to the root's.
    """
    flat = {**config.get("text_config", {}), **config}
    flat.pop("text_config", None)
    rope = flat.pop("rope_parameters", None)
    if rope:
        flat["rope_theta"] = rope["rope_theta"]
        flat["rope_scaling"] = {"type": "mrope", "mrope_section": list(rope["mrope_section"])}
    elif flat.get("rope_scaling") and "type" not in flat["rope_scaling"]:
        flat["rope_scaling"] = {**flat["rope_scaling"], "type": "mrope"}
    if "vision_config" in flat:
        flat["vision_config"] = {**flat["vision_config"], "model_type": flat["model_type"]}
    return flat


_TEXT_KEYS = (
    "attention_dropout", "bos_token_id", "eos_token_id", "hidden_act", "hidden_size",
    "initializer_range", "intermediate_size", "layer_types", "max_position_embeddings",
    "max_window_layers", "num_attention_heads", "num_hidden_layers", "num_key_value_heads",
    "pad_token_id", "rms_norm_eps", "sliding_window", "use_cache", "use_sliding_window",
    "vocab_size",
)  # fmt: skip
"""What transformers 5 keeps in `text_config`; the rest belongs to the whole model."""


def nest_config(config: Mapping[str, JSON]) -> dict[str, JSON]:
    """Lay a Qwen2.5-VL config out as transformers 5 does; one that is nested stays as it is.

    Args:
        config: The content of config.json.

    Returns:
        A new mapping, from which `flatten_config` makes the flat one again.
    """
    if "text_config" in config:
        return dict(config)
    nested = {key: value for key, value in config.items() if key not in _TEXT_KEYS}
    text = {key: config[key] for key in _TEXT_KEYS if key in config}
    rope = nested.pop("rope_scaling", None) or {}
    if "rope_theta" in nested:
        text["rope_parameters"] = {
            "rope_type": "default",
            "rope_theta": nested.pop("rope_theta"),
            **{key: value for key, value in rope.items() if key not in ("type", "rope_type")},
        }
    text["model_type"] = f"{config['model_type']}_text"
    if "tie_word_embeddings" in config:
        text["tie_word_embeddings"] = config["tie_word_embeddings"]
    return nested | {"text_config": text}


@contextmanager
def flattened_folder(folder: Path) -> Iterator[Path]:
    """Offer a folder whose config is flat: itself, or a temporary one with links to its files."""
    config = read_json(folder / "config.json")
    flat = flatten_config(config)
    if flat == config:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="vlmtune-flat-") as name:
        links = Path(name)
        for path in folder.iterdir():
            if path.name != "config.json":
                (links / path.name).symlink_to(path.resolve())
        (links / "config.json").write_text(json.dumps(flat), encoding="utf-8")
        yield links
