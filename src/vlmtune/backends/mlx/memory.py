"""Does it fit? Said with numbers before anything loads, and again when memory runs short.

A Mac whose memory is full begins to page and looks hung; MLX on a Linux CPU is ended by the kernel
without a word. So what a run needs is added up beforehand, and what it takes is watched.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from vlmtune.backends.choices import Tuning
from vlmtune.backends.mlx.failures import LESS
from vlmtune.backends.mlx.loading import Loading
from vlmtune.backends.targets import part_of
from vlmtune.errors import BackendUnavailable, RunFailed
from vlmtune.models import layer_names, tensors
from vlmtune.models.checkpoints import flatten_config, read_json
from vlmtune.models.resolve import Resolved, machine_memory_gib
from vlmtune.types import JSON

_GIB = 2**30
_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0}
_DOUBT = 1.5
"""By how much the estimate of activations may be too high."""
_SCALES = 0.5
"""Bits that a scale and a bias for every 64 weights add to each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Memory that a training takes, in GiB.

    Attributes:
        weights: The model as it is kept.
        moving: Weights that train beside it, their gradients and what AdamW remembers.
        activations: What is kept of one batch for its gradient.
    """

    weights: float
    moving: float
    activations: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.moving + self.activations

    def told(self) -> str:
        """Say it: "7.2 GiB (weights 6.1, what trains 0.4, one batch 0.7)"."""
        parts = f"weights {self.weights:.2f}, what trains {self.moving:.2f}"
        if self.activations:
            parts += f", one batch {self.activations:.2f}"
        return f"{self.total:.2f} GiB ({parts})"


def limit_gib() -> float:
    """Measure what this machine gives to MLX: Metal's working set, or all of a CPU's memory."""
    if mx.metal.is_available():
        return int(mx.device_info()["max_recommended_working_set_size"]) / _GIB
    return machine_memory_gib()


def resting(resolved: Resolved, loading: Loading, tuning: Tuning) -> Need:
    """Add up what a training holds between updates, from the folder's headers alone.

    Args:
        resolved: A model on this machine.
        loading: How its weights will be kept.
        tuning: What trains.
    """
    folder, family = Path(resolved.location), resolved.family
    assert family is not None  # `fetch` reads the family of whatever lies in a folder
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    shapes = {
        layer_names.canonical(name): entry.shape
        for path in folder.glob("*.safetensors")
        for name, entry in tensors.entries(path).items()
    }
    as_stored = loading.dtype == "auto" and loading.bits is None and mx.metal.is_available()
    kept, moving = stored if as_stored else 0.0, 0.0
    for name, shape in shapes.items():
        size, part = math.prod(shape), part_of(name, family)
        linear = len(shape) == 2 and part == "language" and "proj" in name
        if not as_stored:
            kept += size * _width(loading, linear=linear)
        if tuning.method == "full":
            moving += 12.0 * size if part in tuning.parts else 0.0
        elif part == "projector" and part in tuning.parts:
            moving += 16.0 * size
        elif len(shape) == 2 and part in tuning.parts and _adapted(name, tuning):
            moving += 16.0 * tuning.rank * sum(shape)
    return Need(weights=kept / _GIB, moving=moving / _GIB)


def _width(loading: Loading, *, linear: bool) -> float:
    if loading.bits and linear:
        return (loading.bits + _SCALES) / 8
    return _BYTES.get(loading.dtype, 2.0 if mx.metal.is_available() else 4.0)


def _adapted(name: str, tuning: Tuning) -> bool:
    leaf = name.removesuffix(".weight").rpartition(".")[2]
    return leaf in tuning.targets if tuning.targets is not None else leaf.endswith("_proj")


def activations_gib(
    folder: Path, *, tokens: int, rows: int, width: int, checkpointing: bool
) -> float:
    """Estimate what a batch keeps for its gradient.

    Per token and layer 4-byte numbers: about 14 of the hidden size and 5 of the inner size, and a
    row of attention weights for each head. With checkpointing a layer keeps its input alone, and
    two layers at a time the rest. Measured on pico in float32, 8 rows of 175 tokens: 0.161 GiB
    where this says 0.164, and 0.075 where it says 0.065.

    Args:
        folder: The model; its config has the sizes.
        tokens: Tokens of the longest row, answer included.
        rows: Rows side by side.
        width: Bytes of a number.
        checkpointing: Whether layers are computed again for their gradient.
    """
    config: dict[str, JSON] = flatten_config(read_json(folder / "config.json"))
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    once = tokens * (14 * hidden + 5 * inner + heads * tokens) * width
    kept = layers * tokens * hidden * width + 2 * once if checkpointing else layers * once
    return rows * kept / _GIB


def refuse_too_large(name: str, need: Need, *, limit: float) -> str:
    """End with numbers where a training cannot fit.

    Args:
        name: The model, as the user named it.
        need: What it takes; the activations in it are an estimate.
        limit: GiB that it may take.

    Returns:
        A warning where it fits only if the estimate is too high, else "".

    Raises:
        BackendUnavailable: If it cannot fit.
    """
    if need.total <= limit:
        return ""
    told = (
        f"training '{name}' needs about {need.told()} and this machine gives MLX {limit:.2f} GiB; "
        f"{LESS}, or take a smaller model"
    )
    if need.weights + need.moving + need.activations / _DOUBT > limit:
        raise BackendUnavailable(told)
    return told


def watch(step: int, *, limit: float) -> None:
    """End with numbers when a run took more than the machine has, instead of paging.

    Args:
        step: The update that is being made, from 1.
        limit: GiB that it may take.

    Raises:
        RunFailed: If it took more.
    """
    taken = mx.get_peak_memory() / _GIB
    if taken > limit:
        raise RunFailed(
            f"out of memory at update {step}: it took {taken:.2f} GiB and this machine gives MLX "
            f"{limit:.2f} GiB; {LESS}"
        )
