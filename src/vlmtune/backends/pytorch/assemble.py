"""Weights out of an engine's files, put into a folder that transformers loads.

The model they were trained from says which tensors there must be, under which names and in which
shapes; config, tokenizer and processor are its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from vlmtune.backends.pytorch.weight_files import read
from vlmtune.errors import CheckpointError
from vlmtune.models import adapters, layer_names, merging, model_folder
from vlmtune.models.adapters import Adapter
from vlmtune.models.checkpoints import read_json
from vlmtune.models.tensors import FLOATS, Entry

_WRAPPERS = (
    "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.",
    "modules_to_save.default.", "base_layer.",
)  # fmt: skip
"""What wrapping a module puts into its weights' names."""
_PREFIXES = ("", "model.", "module.", "base_model.model.", "model.base_model.model.", "actor.")
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What came of an engine's files.

    Attributes:
        tensors: Tensors written.
        changed: Those that differ from the model that training began with.
        is_adapter: An adapter was written, and no whole model.
    """

    tensors: int
    changed: int
    is_adapter: bool = False


def assemble(
    source: Path,
    base: Path,
    folder: Path,
    *,
    kind: str | None,
    count: Callable[[int], Callable[[int], None]],
) -> Assembled:
    """Write a folder out of an engine's files.

    Args:
        source: A file or folder of weights.
        base: The model that was trained, in float weights.
        folder: An empty folder to write to.
        kind: Format of the weights, F32, BF16 or F16; None for the base's own.
        count: Told the number of tensors; returns what is told of each.

    Raises:
        CheckpointError: If a file has code in it or is damaged, or its weights are not the model's.
        ConfigError: If the base is packed in few bits.
    """
    state = read(source)
    if any(".lora_A." in name for name in state):
        return _write_adapter(source, state, folder)
    merging.refuse_packed(base)
    weights = model_folder.weights_of(base)
    found = _matched(state, weights, source=source, base=base)
    plan = {name: (kind or entry.kind, entry.shape) for name, entry in weights.items()}
    changed: list[str] = []

    def produce(name: str) -> bytes:
        """Write one tensor in its planned format, and note whether training changed it."""
        tensor, wanted = found[name].detach(), plan[name][0]
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source} has NaN or infinity in {name}; take an earlier one")
        entry = weights[name]
        if _bytes(tensor, entry.kind) != entry.data():
            changed.append(name)
        return _bytes(tensor, wanted)

    model_folder.write_weights(folder, plan, produce, progress=count(len(plan)))
    model_folder.copy_rest(base, folder)
    model_folder.write_config(read_json(base / "config.json"), folder, kind=kind)
    return Assembled(tensors=len(plan), changed=len(changed))


def _bytes(tensor: torch.Tensor, kind: str) -> bytes:
    plain = tensor.to(_DTYPES[kind]).contiguous()
    data: bytes = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    return data


def _matched(
    state: Mapping[str, torch.Tensor], weights: Mapping[str, Entry], *, source: Path, base: Path
) -> dict[str, torch.Tensor]:
    """Find each of the model's tensors among those of the files.

    Raises:
        CheckpointError: If one is missing, left over or of another shape.
    """
    if packed := [name for name, entry in weights.items() if entry.kind not in FLOATS]:
        raise CheckpointError(f"{base} holds {packed[0]} in a packed format; name float weights")
    wanted = {layer_names.canonical(name): name for name in weights}
    named = max(
        ({_plain(name, prefix): name for name in state} for prefix in _PREFIXES),
        key=lambda names: len(wanted.keys() & names.keys()),
    )
    _add_tied(named, wanted)
    missing = sorted(wanted.keys() - named.keys())
    extra = sorted(named.keys() - wanted.keys() - {"lm_head.weight"})
    if missing or extra:
        raise CheckpointError(
            f"{source} does not hold the weights of {base}: {len(missing)} of {len(wanted)} are "
            f"missing{_first(missing)}, {len(extra)} are no part of it{_first(extra)}; name the "
            "model that was trained with --model_path"
        )
    found = {own: state[named[name]] for name, own in wanted.items()}
    for own, tensor in found.items():
        if tuple(tensor.shape) != weights[own].shape:
            raise CheckpointError(
                f"{source} has {own} {list(tensor.shape)}, and {base} {list(weights[own].shape)}; "
                "name the model that was trained with --model_path"
            )
    return found


def _plain(name: str, prefix: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return layer_names.canonical(name.removeprefix(prefix))


def _add_tied(named: dict[str, str], wanted: Mapping[str, str]) -> None:
    """A head that is tied to the embeddings may lie under either name."""
    pair = ("lm_head.weight", f"{layer_names.LANGUAGE}.embed_tokens.weight")
    for one, other in (pair, pair[::-1]):
        if one in wanted and one not in named and other in named:
            named[one] = named[other]


def _first(names: list[str]) -> str:
    return f" ({names[0]} ...)" if names else ""


def _write_adapter(source: Path, state: Mapping[str, torch.Tensor], folder: Path) -> Assembled:
    """Write an adapter whose settings lie beside its weights."""
    near = source if source.is_dir() else source.parent
    places = [near, *near.resolve().parents[:2]]
    place = next((one for one in places if (one / adapters.CONFIG).is_file()), None)
    if place is None:
        raise CheckpointError(
            f"{source} holds the weights of an adapter, whose rank and scale stand in "
            f"{adapters.CONFIG}; put that file beside it"
        )
    config = adapters.read_config(place)
    weights = {
        name: tensor.detach().float().numpy()
        for name, tensor in state.items()
        if ".lora_" in name or ".modules_to_save." in name
    }
    found: Adapter = adapters.assembled(config, weights, where=source)
    adapters.write(found, folder)
    count = len(adapters.peft_weights(found))
    return Assembled(tensors=count, changed=count, is_adapter=True)
