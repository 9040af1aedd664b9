"""All weights of a model on their way to transformers' layout and back.

Names are those of the folder that the model was read from, so that whatever loads that folder loads
this one. The convolution over patches has its axes in another order in MLX.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx.utils import tree_flatten

from vlmtune.errors import CheckpointError
from vlmtune.models import layer_names, tensors
from vlmtune.models.checkpoints import read_json

WEIGHTS, CONFIG, GENERATION = "model.safetensors", "config.json", "generation_config.json"
_CONVOLUTION = "patch_embed.proj.weight"


def write(network: Any, *, source: Path, folder: Path) -> None:
    """Write a folder that transformers and mlx-vlm load; the processor's files are not among it.

    Args:
        network: mlx-vlm's model, in float.
        source: The folder it was read from.
        folder: Where; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    names = {name for path in source.glob("*.safetensors") for name in tensors.entries(path)}
    plain = {
        name: _outward(name, held[layer_names.mlx(layer_names.canonical(name))])
        for name in sorted(names)
        if layer_names.mlx(layer_names.canonical(name)) in held
    }
    tensors.write(folder / WEIGHTS, plain)
    config = read_json(source / CONFIG)
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    text = json.dumps(config | {key: "float32"}, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    if (source / GENERATION).is_file():
        shutil.copyfile(source / GENERATION, folder / GENERATION)


def read(network: Any, folder: Path) -> None:
    """Put the weights of such a folder into a model of the same shape.

    Raises:
        CheckpointError: If one is missing or of another shape.
    """
    held: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    found = tensors.read_floats(folder / WEIGHTS)
    put = []
    for name, values in found.items():
        target = layer_names.mlx(layer_names.canonical(name))
        inward = _inward(name, values)
        weight = held.pop(target, None)
        if weight is None or weight.shape != inward.shape:
            raise CheckpointError(f"{folder / WEIGHTS} does not fit this model: {name}")
        put.append((target, mx.array(inward).astype(weight.dtype)))
    if held:
        raise CheckpointError(f"{folder / WEIGHTS} has no {next(iter(held))}; copy it again")
    network.load_weights(put, strict=False)
    mx.eval(network.parameters())


def _outward(name: str, weight: mx.array) -> npt.NDArray[np.float32]:
    values = np.array(weight.astype(mx.float32))
    return values.transpose(0, 4, 1, 2, 3) if name.endswith(_CONVOLUTION) else values


def _inward(name: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return values.transpose(0, 2, 3, 4, 1) if name.endswith(_CONVOLUTION) else values
