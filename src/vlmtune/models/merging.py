"""An adapter added to the weights below it, tensor by tensor, in float32, with numpy alone.

LoRA   W + scale B A
DoRA   each row of that, scaled to the length that was learned
whole  modules_to_save take the place of the model's own
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import layer_names, model_folder
from vlmtune.models.adapters import Adapter, AdapterLayer
from vlmtune.models.checkpoints import read_json
from vlmtune.models.quantised import packed_bits
from vlmtune.models.resolve import float_checkpoint
from vlmtune.models.tensors import FLOATS, Array, Entry, encoded

KINDS: Mapping[str, str] = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}
"""What --dtype may say -> safetensors' name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge came to.

    Attributes:
        tensors: Tensors written.
        changed: Tensors that are not what they were.
        rounded_away: Tensors that the adapter moves, and that rounding put back.
        kind: Format of the changed weights: F32, BF16 or F16.
    """

    tensors: int
    changed: int
    rounded_away: int
    kind: str


def merge(
    base: Path,
    adapter: Adapter,
    folder: Path,
    *,
    kind: str | None,
    progress: Callable[[int], None],
) -> Merged:
    """Write a model folder with an adapter in it.

    Args:
        base: The model below, in float weights.
        adapter: What is added.
        folder: An empty folder to write to.
        kind: Format of all weights, or None for the base's own.
        progress: Told 1 for each tensor that is written.

    Raises:
        ConfigError: If the weights below are packed in few bits.
        CheckpointError: If the adapter does not fit, holds NaN, or changes nothing.
    """
    refuse_packed(base)
    weights = model_folder.weights_of(base)
    steps = _steps(weights, adapter, base=base)
    plan = {
        name: (kind if kind and entry.kind in FLOATS else entry.kind, entry.shape)
        for name, entry in weights.items()
    }
    moved: list[str] = []
    lost: list[str] = []

    def produce(name: str) -> bytes:
        """Write one tensor, merged where the adapter has a layer for it, and note if it moved."""
        entry, (wanted, _) = weights[name], plan[name]
        if name not in steps:
            return entry.data() if wanted == entry.kind else encoded(entry.floats(), wanted)
        before = entry.floats()
        after = steps[name](before)
        if not np.isfinite(after).all():
            raise CheckpointError(f"the adapter gives {name} numbers that are not finite")
        data = encoded(after, wanted)
        (lost if data == encoded(before, wanted) else moved).append(name)
        return data

    model_folder.write_weights(folder, plan, produce, progress=progress)
    if not moved:
        why = _why_nothing(adapter, kind)
        raise CheckpointError(f"the adapter changed none of {len(weights)} tensors: {why}")
    used = {plan[name][0] for name in moved}
    model_folder.copy_rest(base, folder)
    written = kind or (used.pop() if len(used) == 1 else None)
    model_folder.write_config(read_json(base / "config.json"), folder, kind=written)
    return Merged(
        tensors=len(plan),
        changed=len(moved),
        rounded_away=sum(1 for name in lost if _moves(name, adapter)),
        kind=written or "mixed",
    )


def _why_nothing(adapter: Adapter, kind: str | None) -> str:
    if any(_adds(layer) for layer in adapter.layers.values()):
        wanted = kind or "the format of the weights"
        return f"all of it was lost in rounding to {wanted}; write fp32"
    return "it was never trained"


def refuse_packed(base: Path) -> None:
    """Refuse weights in few bits: adding an adapter to them would round it away.

    Raises:
        ConfigError: If a folder's weights are packed.
    """
    bits = packed_bits(base)
    if bits:
        floats = float_checkpoint(base.name, base) or "the float checkpoint they were made from"
        raise ConfigError(
            f"the weights in {base} are packed in {bits} bits, and adding an adapter to them would "
            f"round it away; merge into {floats} with --model_path, or keep the adapter beside "
            "the packed weights (scripts/evaluate.py --adapter_path)"
        )


def _steps(
    weights: Mapping[str, Entry], adapter: Adapter, *, base: Path
) -> dict[str, Callable[[Array], Array]]:
    """Find what happens to which tensor.

    Raises:
        CheckpointError: If the adapter has something that the model has not.
    """
    ours = {layer_names.canonical(name): name for name in weights}
    steps: dict[str, Callable[[Array], Array]] = {}
    for layer, values in adapter.layers.items():
        shape = (values.b.shape[0], values.a.shape[1])
        name = _found(f"{layer}.weight", shape, ours, weights, base=base)
        steps[name] = _adder(values)
    for weight, replacement in adapter.whole.items():
        name = _found(weight, replacement.shape, ours, weights, base=base)
        steps[name] = _replacer(replacement)
    return steps


def _found(
    name: str,
    shape: tuple[int, ...],
    ours: Mapping[str, str],
    weights: Mapping[str, Entry],
    *,
    base: Path,
) -> str:
    own = ours.get(name)
    if own is None or weights[own].shape != shape:
        has = "has no such tensor" if own is None else f"has {list(weights[own].shape)}"
        raise CheckpointError(
            f"the adapter is no adapter of {base}: it moves {name} {list(shape)}, and the model "
            f"{has}; name the model that it was trained on with --model_path"
        )
    return own


def _adder(layer: AdapterLayer) -> Callable[[Array], Array]:
    def add(weight: Array) -> Array:
        """Add the layer's product to a weight, float32, and rescale its rows where it is DoRA."""
        total: Array = weight + np.float32(layer.scale) * (layer.b @ layer.a)
        if layer.magnitude is None:
            return total
        rows: Array = layer.magnitude / np.linalg.norm(total, axis=1)
        return total * rows[:, None]

    return add


def _replacer(values: Array) -> Callable[[Array], Array]:
    return lambda _: values


def _adds(layer: AdapterLayer) -> bool:
    return bool(layer.b.any()) or layer.magnitude is not None


def _moves(name: str, adapter: Adapter) -> bool:
    layer = adapter.layers.get(layer_names.canonical(name).removesuffix(".weight"))
    return layer is not None and _adds(layer)
