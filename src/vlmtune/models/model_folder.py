"""A folder of weights as one set of tensors, and a new one beside it, written tensor by tensor.

The files that are no weights (config, tokenizer, processor) are copied as they are. A folder is
built under a hidden name and gets its own when all of it is on the disk; nothing is overwritten.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models.checkpoints import read_json
from vlmtune.models.tensors import FLOATS, Entry, entries, write_stream
from vlmtune.types import JSON

INDEX = "model.safetensors.index.json"
SHARD_BYTES = 4 * 2**30
"""Largest file of weights."""
FORMATS: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
}
_COPIED = (
    "generation_config.json", "tokenizer*.json", "*.jinja", "vocab.json", "merges.txt",
    "added_tokens.json", "special_tokens_map.json", "*preprocessor_config.json",
    "processor_config.json", "chat_template.json", "*.model",
)  # fmt: skip


def weights_of(folder: Path) -> dict[str, Entry]:
    """Find all tensors of a model folder, by name.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """
    index = folder / INDEX
    if index.is_file():
        files = sorted({str(name) for name in read_json(index).get("weight_map", {}).values()})
    else:
        files = sorted(path.name for path in folder.glob("*.safetensors"))
    found: dict[str, Entry] = {}
    for name in files:
        found |= entries(folder / name)
    if not found:
        raise CheckpointError(f"model folder {folder} has no *.safetensors weights")
    return found


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Offer a hidden folder that gets its name when everything in it is written.

    Raises:
        ConfigError: If the folder is there already, with something in it.
    """
    refuse_existing(folder)
    hidden = folder.absolute().with_name(f".{folder.absolute().name}.writing")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    try:
        yield hidden
        if folder.is_dir():
            folder.rmdir()
        hidden.rename(folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    """Refuse to write over anything.

    Raises:
        ConfigError: If the folder is a file, or has something in it.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and is not overwritten; name another folder")


def copy_rest(source: Path, folder: Path) -> None:
    """Copy tokenizer, processor and generation settings."""
    for pattern in _COPIED:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def write_config(config: Mapping[str, JSON], folder: Path, *, kind: str | None = None) -> None:
    """Write config.json.

    Args:
        config: Its content.
        folder: Where.
        kind: Format of the weights, one of FORMATS, or None to leave what the config says.
    """
    content = dict(config)
    if kind is not None:
        key = "dtype" if "dtype" in content else "torch_dtype"
        content[key] = FORMATS[kind]
        if isinstance(content.get("text_config"), dict) and "dtype" in content["text_config"]:
            content["text_config"] = content["text_config"] | {"dtype": FORMATS[kind]}
    text = json.dumps(content, indent=2) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def write_weights(
    folder: Path,
    plan: Mapping[str, tuple[str, tuple[int, ...]]],
    produce: Callable[[str], bytes],
    *,
    progress: Callable[[int], None],
) -> None:
    """Write weights into as many files as they need, and an index where there are several.

    Args:
        folder: Where.
        plan: Tensor -> format and shape.
        produce: Gives a tensor's bytes when its turn comes.
        progress: Told 1 for each tensor that is written.
    """

    def counted(name: str) -> bytes:
        """Write one tensor and count it."""
        data = produce(name)
        progress(1)
        return data

    shards = _shards(plan)
    names = [
        "model.safetensors"
        if len(shards) == 1
        else f"model-{at:05d}-of-{len(shards):05d}.safetensors"
        for at in range(1, len(shards) + 1)
    ]
    for name, tensors in zip(names, shards, strict=True):
        write_stream(folder / name, {tensor: plan[tensor] for tensor in tensors}, counted)
    if len(shards) > 1:
        total = sum(_size(*about) for about in plan.values())
        where = {tensor: name for name, part in zip(names, shards, strict=True) for tensor in part}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _shards(plan: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    filled = 0
    for name, about in plan.items():
        size = _size(*about)
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _size(kind: str, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * FLOATS[kind]
