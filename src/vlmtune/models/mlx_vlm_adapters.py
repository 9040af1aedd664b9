"""mlx-vlm's own layout of adapters, written and read.

    adapter_config.json     {"fine_tune_type": "lora", "num_layers": -1,
                             "lora_parameters": {"rank": 16, "scale": 1.0, "dropout": 0.0,
                                                 "keys": ["language_model.model.layers.0..."]}}
    adapters.safetensors    <layer>.lora_a [in, rank]   <layer>.lora_b [rank, out]   <layer>.m [out]

Its layers share one rank and one scale. Source: mlx-vlm 0.7.10, mlx_vlm/trainer/peft/utils.py.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vlmtune.errors import CheckpointError
from vlmtune.models import layer_names, tensors
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer
from vlmtune.models.checkpoints import read_json
from vlmtune.models.tensors import Array
from vlmtune.types import JSON

CONFIG, WEIGHTS = "adapter_config.json", "adapters.safetensors"
_LEAF = re.compile(r"(.+)\.(lora_a|lora_b|A|B|m)$")
_OURS = {"lora_a": "a", "A": "a", "lora_b": "b", "B": "b", "m": "m"}


def is_mlx_vlm_adapter(folder: Path) -> bool:
    """Say whether a folder holds an adapter in this layout."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def write(adapter: Adapter, folder: Path) -> None:
    """Write an adapter for `mlx_vlm.generate --adapter-path`.

    Layers of a smaller rank are filled up with zeros, and what differs in scale goes into B.
    """
    rank = max(layer.a.shape[0] for layer in adapter.layers.values())
    scale = next(iter(adapter.layers.values())).scale
    weights: dict[str, Array] = {}
    keys = []
    for name, layer in adapter.layers.items():
        key = layer_names.mlx(name)
        keys.append(key)
        missing = rank - layer.a.shape[0]
        b = layer.b * np.float32(layer.scale / scale)
        weights[f"{key}.lora_a"] = np.pad(layer.a, ((0, missing), (0, 0))).T
        weights[f"{key}.lora_b"] = np.pad(b, ((0, 0), (0, missing))).T
        if layer.magnitude is not None:
            weights[f"{key}.m"] = layer.magnitude
    for name, value in adapter.whole.items():
        weights[layer_names.mlx(name)] = value
    tensors.write(folder / WEIGHTS, weights)
    config = {
        "fine_tune_type": "dora" if adapter.config.dora else "lora",
        "num_layers": -1,
        "lora_parameters": {
            "rank": rank,
            "scale": scale,
            "dropout": adapter.config.dropout,
            "keys": keys,
        },
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read(folder: Path, *, base_model: str = "") -> Adapter:
    """Read an adapter that mlx-vlm trained, also in the layout of its older versions.

    Args:
        folder: Where it lies.
        base_model: What the model below is called; mlx-vlm does not write it down.

    Raises:
        CheckpointError: If a file is damaged, a layer incomplete, or it is no adapter.
    """
    about = read_json(folder / CONFIG)
    rank, scale, dropout = _shape(about, folder)
    parts: dict[str, dict[str, Array]] = {}
    whole: dict[str, Array] = {}
    for key, value in tensors.read_floats(folder / WEIGHTS).items():
        if found := _LEAF.fullmatch(key):
            layer = parts.setdefault(layer_names.canonical(found[1]), {})
            layer[_OURS[found[2]]] = value
        else:
            whole[layer_names.canonical(key)] = value
    dora = about.get("fine_tune_type") == "dora"
    layers = {
        name: _layer(name, found, folder, rank=rank, scale=scale, dora=dora)
        for name, found in sorted(parts.items())
    }
    if not layers:
        raise CheckpointError(f"adapter {folder} holds no layers of an adapter; copy it again")
    config = AdapterConfig(
        rank=rank,
        alpha=scale * rank,
        dropout=dropout,
        targets=tuple(layers),
        dora=dora,
        base_model=base_model,
        whole=tuple(sorted({name.rpartition(".")[0] for name in whole})),
    )
    return Adapter(config=config, layers=layers, whole=whole)


def _shape(about: Mapping[str, JSON], folder: Path) -> tuple[int, float, float]:
    """Read rank, scale and dropout."""
    if about.get("fine_tune_type") == "full":
        raise CheckpointError(
            f"{folder} holds a whole model that mlx-vlm trained, and no adapter; mlx-vlm itself "
            "writes it out as a model folder"
        )
    found = about.get("lora_parameters", about)
    try:
        rank = int(found["rank"])
        scale = found["scale"] if "scale" in found else found["alpha"] / rank
        return rank, float(scale), float(found.get("dropout") or 0.0)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{folder / CONFIG} does not say rank and scale ({error!r}); copy the adapter again"
        ) from error


def _layer(
    name: str, parts: Mapping[str, Array], folder: Path, *, rank: int, scale: float, dora: bool
) -> AdapterLayer:
    needed = ("a", "b", "m") if dora else ("a", "b")
    if missing := [part for part in needed if part not in parts]:
        raise CheckpointError(f"adapter {folder} has no {missing[0]} of {name}; copy it again")
    a, b = parts["a"].T, parts["b"].T
    if a.shape[0] != rank or b.shape[1] != rank:
        raise CheckpointError(
            f"adapter {folder}: {name} has rank {a.shape[0]} and its config says {rank}; config "
            "and weights belong to different adapters"
        )
    return AdapterLayer(a=a, b=b, magnitude=parts["m"] if dora else None, scale=scale)
