"""Weights as training engines leave them, read without running anything that lies in the files.

    full_weights.pt                      one file, as torch.save writes it
    .metadata  __0_0.distcp  ...         shards of FSDP, torch.distributed.checkpoint
    mp_rank_00_model_states.pt  ...      DeepSpeed's ZeRO-2: each process has a part of a vector
    zero_pp_rank_0_..._model_states.pt   ZeRO-3: each process has a part of every weight

These files are pickles, and a pickle may run code. PyTorch opens them in its mode for weights
alone; the few classes that DeepSpeed stores beside weights become objects that do nothing.
"""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vlmtune.errors import CheckpointError
from vlmtune.models.checkpoints import PICKLE_SUFFIXES

METADATA = ".metadata"
_OPTIMIZER = "*_optim_states.pt"
_WRAPPED = ("model", "state_dict", "module", "model_state_dict", "weights")
"""Keys under which files keep their weights."""
_UNREADABLE = (
    OSError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError,
)  # fmt: skip
"""What reading random bytes as a pickle ends in."""
_PASSED = (
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
)
_PLANS = {
    ("torch.distributed.checkpoint.metadata", name)
    for name in (
        "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata",
        "MetadataIndex", "TensorProperties", "StorageMeta", "_MEM_FORMAT_ENCODING",
    )
} | {
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
}  # fmt: skip
"""What the plan of FSDP's shards consists of."""


class _Inert:
    """Stands for an object of a foreign class, and does nothing."""

    def __new__(cls, *_: Any) -> "_Inert":
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None: ...


def holds_weights(source: Path) -> bool:
    """Say whether a file or folder is one of these."""
    if source.is_file():
        return source.suffix in PICKLE_SUFFIXES
    return source.is_dir() and (
        _plan_folder(source) is not None or _zero_folder(source) is not None
    )


def read(source: Path) -> dict[str, torch.Tensor]:
    """Read all weights, under the names that they have in the files.

    Raises:
        CheckpointError: If a file is damaged or missing, has code in it, or holds no weights.
    """
    if source.is_file():
        return _weights_in(_opened(source), source)
    if (folder := _plan_folder(source)) is not None:
        return _read_shards(folder)
    if (folder := _zero_folder(source)) is not None:
        return _read_zero(folder)
    raise CheckpointError(
        f"{source} holds neither a file of weights, nor FSDP's {METADATA}, nor DeepSpeed's "
        f"{_OPTIMIZER}; name the file, or the folder that has them"
    )


def _opened(path: Path) -> Any:
    names: list[Any] = [(_Inert, name) for name in _PASSED]
    try:
        with torch.serialization.safe_globals(names), warnings.catch_warnings():
            # A newer pickle protocol, which is read or refused like any other.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)|function ([\w.]+)", str(error))
        code = next((name for name in found.groups() if name), "") if found else ""
        if not code:
            raise CheckpointError(f"{path} is damaged, or holds more than weights") from error
        raise CheckpointError(
            f"{path} has {code} in it beside weights: opening it would run that code, so it is "
            "refused; get the weights as safetensors, or from somebody you trust"
        ) from error
    except _UNREADABLE as error:
        reason = str(error).strip().partition(". ")[0].partition("\n")[0]
        raise CheckpointError(
            f"{path} is damaged, or no file of weights ({type(error).__name__}: {reason})"
        ) from error


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _weights_in(found: Any, path: Path) -> dict[str, torch.Tensor]:
    """Find the weights among what a file holds."""
    while isinstance(found, Mapping):
        tensors = {str(key): value for key, value in found.items() if torch.is_tensor(value)}
        if tensors:
            return tensors
        inner = next((key for key in _WRAPPED if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = found[inner]
    raise CheckpointError(
        f"{path} holds no weights by name: it has a {type(found).__name__}"
        + (f" with {', '.join(map(str, list(found)[:4]))}" if isinstance(found, Mapping) else "")
    )


def _plan_folder(source: Path) -> Path | None:
    """Find the folder of FSDP's shards: this one, or the model's inside it."""
    for folder in (source, source / "pytorch_model_fsdp_0", source / "model"):
        if (folder / METADATA).is_file():
            return folder
    return None


class _PlanReader(pickle.Unpickler):
    """Reads the plan of shards, and no other class."""

    def find_class(self, module: str, name: str) -> Any:
        """Find a class of the plan, or a number format; anything else could run code."""
        known = (module, name) in _PLANS
        number = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not (known or number):
            raise CheckpointError(f"it has {module}.{name} in it, which is no part of such a plan")
        return super().find_class(module, name)


def _read_shards(folder: Path) -> dict[str, torch.Tensor]:
    from torch.distributed import checkpoint as shards
    from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

    try:
        with (folder / METADATA).open("rb") as file:
            plan = _PlanReader(file).load()
    except (
        CheckpointError,
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
    ) as error:
        raise CheckpointError(
            f"{folder / METADATA} is refused: {error}; opening it would run code"
        ) from error
    if not isinstance(plan, Metadata):
        raise CheckpointError(f"{folder / METADATA} is no plan of shards; copy the folder again")
    state = {
        name: torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in plan.state_dict_metadata.items()
        if isinstance(about, TensorStorageMetadata) and not name.startswith(("optim", "optimizer"))
    }
    try:
        with warnings.catch_warnings():
            # One process reads what several wrote, which is the point.
            warnings.filterwarnings("ignore", category=UserWarning)
            shards.load(state, checkpoint_id=folder, no_dist=True)
    except (OSError, RuntimeError, ValueError, shards.api.CheckpointException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise CheckpointError(
            f"shards in {folder} cannot be read ({reason}); copy them again"
        ) from error
    if not state:
        raise CheckpointError(f"shards in {folder} hold no weights")
    return state


def _zero_folder(source: Path) -> Path | None:
    """Find the folder of DeepSpeed's files: this one, or the one that `latest` names."""
    if any(source.glob(_OPTIMIZER)):
        return source
    latest = source / "latest"
    if latest.is_file():
        name = latest.read_text(encoding="utf-8").strip()
        folder = source / name
        if Path(name).name == name and any(folder.glob(_OPTIMIZER)):
            return folder
    inside = sorted(source.glob(f"global_step*/{_OPTIMIZER}"))
    return inside[-1].parent if inside else None


def _read_zero(folder: Path) -> dict[str, torch.Tensor]:
    """Put the parts of DeepSpeed's processes together again.

    Source: DeepSpeed 0.19.8, deepspeed/utils/zero_to_fp32.py, says how the parts are laid out.
    """
    parts = [_opened(path)["optimizer_state_dict"] for path in _numbered(folder, _OPTIMIZER)]
    models = [_opened(path) for path in _numbered(folder, "*_model_states.pt")]
    wanted = parts[0].get("partition_count")
    count = max(wanted) if isinstance(wanted, list) else wanted
    if count != len(parts) or not models or "param_shapes" not in models[0]:
        raise CheckpointError(
            f"{folder} has {len(parts)} of {count} files {_OPTIMIZER} and {len(models)} of "
            "*_model_states.pt; bring all of them"
        )
    about = models[0]
    state = {name: about["module"][name] for name in about["buffer_names"]}
    if "fp32_flat_groups" in parts[0]:
        state |= _frozen_thirds(models)
        state |= _of_parts(parts, about["param_shapes"], folder)
    else:
        state |= about.get("frozen_param_fragments") or {}
        state |= _of_vectors(parts, about["param_shapes"], folder)
    # Under an adapter the frozen weights may have been left out, those that are shared among them.
    shared = dict(about.get("shared_params") or {}).items()
    return state | {name: state[same] for name, same in shared if same in state}


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """List the processes' files by their numbers: 2 before 10."""
    return sorted(
        folder.glob(pattern),
        key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.name)],
    )


def _of_vectors(
    parts: list[Any], shapes: list[Mapping[str, torch.Size]], folder: Path
) -> dict[str, torch.Tensor]:
    """ZeRO-2: the weights of a group are one vector, which the processes divided."""
    found = {}
    gaps = parts[0].get("param_alignment_paddings")
    for group, members in enumerate(shapes):
        vector = torch.cat([part["single_partition_of_fp32_groups"][group] for part in parts])
        place = 0
        for number, (name, shape) in enumerate(members.items()):
            found[name] = _slice(vector, place, shape, folder)
            place += shape.numel() + (gaps[group][number] if gaps else 0)
    return found


def _of_parts(
    parts: list[Any], shapes: list[Mapping[str, torch.Size]], folder: Path
) -> dict[str, torch.Tensor]:
    """ZeRO-3: each weight was divided, and a process laid its parts one after the other."""
    vectors = [torch.cat(list(part["fp32_flat_groups"])) for part in parts]
    found, place = {}, 0
    for members in shapes:
        for name, shape in members.items():
            share = -(-shape.numel() // len(parts))
            whole = torch.cat([_slice(vector, place, (share,), folder) for vector in vectors])
            found[name] = _slice(whole, 0, shape, folder)
            place += share
    return found


def _frozen_thirds(models: list[Any]) -> dict[str, torch.Tensor]:
    if not models[0].get("frozen_param_fragments"):
        return {}
    shapes = models[0]["frozen_param_shapes"]
    return {
        name: torch.cat([model["frozen_param_fragments"][name] for model in models])[
            : shape.numel()
        ].view(shape)
        for name, shape in shapes.items()
    }


def _slice(
    vector: torch.Tensor, place: int, shape: torch.Size | tuple[int, ...], folder: Path
) -> torch.Tensor:
    size = torch.Size(shape).numel()
    if place + size > vector.numel():
        raise CheckpointError(f"{folder} has too few numbers for its weights; copy it again")
    return vector[place : place + size].view(shape)
