"""Tensors in safetensors files, one at a time, as they lie there or as numpy's float32.

    8 bytes     length of the header
    header      {"model.norm.weight": {"dtype": "BF16", "shape": [192], "data_offsets": [0, 384]}}
    data        one tensor after the other

numpy has no bfloat16; float32 holds it exactly, and going back rounds to the nearest, ties to even.
"""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlmtune.errors import CheckpointError

Array = npt.NDArray[np.float32]
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
FLOATS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Formats of plain numbers -> bytes for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a tensor lies.

    Attributes:
        name: Its name.
        kind: Format, as safetensors calls it: F32, BF16, U32 ...
        shape: Sizes.
        file: In which file.
        start: First byte in the file.
        stop: Byte after the last.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    file: Path
    start: int
    stop: int

    def data(self) -> bytes:
        """Read the tensor's bytes."""
        with self.file.open("rb") as file:
            file.seek(self.start)
            found = file.read(self.stop - self.start)
        if len(found) != self.stop - self.start:
            raise CheckpointError(f"{self.file} ends inside {self.name}; copy it again")
        return found

    def floats(self) -> Array:
        """Read the tensor as float32.

        Raises:
            CheckpointError: If it holds packed integers, or the file is cut off.
        """
        if self.kind not in FLOATS:
            raise CheckpointError(
                f"{self.file} holds {self.name} as {self.kind}, which is no plain number; give "
                "float weights"
            )
        data = self.data()
        if self.kind == "BF16":
            upper = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
            return upper.view(np.float32).reshape(self.shape)
        return np.frombuffer(data, _PLAIN[self.kind]).astype(np.float32).reshape(self.shape)


def entries(path: Path) -> dict[str, Entry]:
    """Read which tensors a file has, and nothing else of it.

    Raises:
        CheckpointError: If the file is missing or damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return {
            name: Entry(
                name=name,
                kind=str(about["dtype"]),
                shape=tuple(about["shape"]),
                file=path,
                start=8 + length + about["data_offsets"][0],
                stop=8 + length + about["data_offsets"][1],
            )
            for name, about in header.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}); copy it again"
        ) from error


def read_floats(path: Path) -> dict[str, Array]:
    """Read all tensors of a file as float32.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds packed integers.
    """
    return {name: entry.floats() for name, entry in entries(path).items()}


def encoded(values: Array, kind: str) -> bytes:
    """Write numbers in one of FLOATS."""
    if kind != "BF16":
        return np.ascontiguousarray(values, _PLAIN[kind]).tobytes()
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    # Adding would carry a NaN over into an infinity or a zero.
    rounded = np.where(np.isnan(values), bits | np.uint32(0x400000), rounded)
    return (rounded >> np.uint32(16)).astype("<u2").tobytes()


def write_stream(
    path: Path,
    plan: Mapping[str, tuple[str, tuple[int, ...]]],
    produce: Callable[[str], bytes],
) -> None:
    """Write a file tensor by tensor, under another name until it is whole.

    Args:
        path: The file.
        plan: Tensor -> format and shape.
        produce: Gives a tensor's bytes when its turn comes.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, (kind, shape) in plan.items():
        size = int(np.prod(shape, dtype=np.int64)) * FLOATS[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    building = path.with_name(f".{path.name}.writing")
    with building.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in plan:
            file.write(produce(name))
    building.replace(path)


def write(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write a file of float32 tensors, under another name until it is whole."""
    plan = {name: ("F32", tensors[name].shape) for name in sorted(tensors)}
    write_stream(path, plan, lambda name: encoded(tensors[name], "F32"))
