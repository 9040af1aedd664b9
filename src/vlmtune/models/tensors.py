"""Tensors in safetensors files as numpy arrays; bfloat16 becomes float32, which holds it."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlmtune.errors import CheckpointError

Array = npt.NDArray[np.float32]
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def read_floats(path: Path) -> dict[str, Array]:
    """Read all tensors of a file as float32.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds packed integers.
    """
    import safetensors

    try:
        found = safetensors.deserialize(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); copy it again"
        ) from error
    return {name: _floats(path, name, tensor) for name, tensor in found}


def _floats(path: Path, name: str, tensor: Mapping[str, object]) -> Array:
    kind, data = str(tensor["dtype"]), bytes(tensor["data"])  # type: ignore[call-overload]
    shape: list[int] = tensor["shape"]  # type: ignore[assignment]
    if kind == "BF16":
        upper = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
        return upper.view(np.float32).reshape(shape)
    if kind not in _PLAIN:
        raise CheckpointError(
            f"{path} holds {name} as {kind}, which is no plain number; give float weights"
        )
    return np.frombuffer(data, _PLAIN[kind]).astype(np.float32).reshape(shape)


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of a file's tensors, and nothing else of it.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
    except (OSError, ValueError, struct.error, MemoryError, OverflowError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); copy it again"
        ) from error
    return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


def write(path: Path, tensors: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Write a file under another name, and give it its own when it is whole."""
    from safetensors.numpy import save_file

    building = path.with_name(f".{path.name}.writing")
    whole = {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
    save_file(whole, building, metadata={"format": "pt"})
    building.replace(path)
