r"""Adapters on MLX: linear layers that carry one, made anew or read from a folder in peft's layout.

    config = adapt(network, rank=16, alpha=16, targets_regex=targets(network, family), seed=0)
    with adapters_off(network): ...                     the model below, for references
    save_adapter(network, config, folder)               peft and transformers load it
    load_adapter(network, folder)                       whichever engine wrote it

Layers have transformers' names here, as in peft: "model.language_model.layers.0.self_attn.q_proj".
What is computed is what peft computes, over float and over quantised layers; nothing is merged.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt
from mlx.utils import tree_flatten, tree_unflatten

from vlmtune.backends.first_adapter import first_values
from vlmtune.backends.mlx.adapted_linear import AdaptedLinear, nn, size_of, weight_of
from vlmtune.backends.mlx.model import LoadedModel
from vlmtune.backends.stacked import stacked
from vlmtune.backends.targets import Part, target_pattern
from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import adapters, layer_names
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer
from vlmtune.types import ModelFamily


def linear_layers(network: Any) -> dict[str, Any]:
    """Find all linear layers, by transformers' names; adapted ones too."""
    kinds = (nn.Linear, nn.QuantizedLinear, AdaptedLinear)
    found = {
        layer_names.canonical(name): module
        for name, module in network.named_modules()
        if isinstance(module, kinds) and not name.endswith(".linear")
    }
    return dict(sorted(found.items()))


def adapted_layers(network: Any) -> dict[str, AdaptedLinear]:
    """Find the layers that carry an adapter, by transformers' names, in order."""
    found = linear_layers(network).items()
    return {name: module for name, module in found if isinstance(module, AdaptedLinear)}


def targets(
    network: Any,
    family: ModelFamily,
    *,
    parts: Collection[Part] = frozenset[Part]({"language"}),
    names: Collection[str] | None = None,
) -> str:
    """Write the regular expression of the layers to adapt; the same as on PyTorch.

    Args:
        network: mlx-vlm's model.
        family: Where its parts are.
        parts: Parts that train.
        names: Last parts of layers' names; None takes all.

    Raises:
        ConfigError: If a name is no linear layer of these parts.
    """
    return target_pattern(linear_layers(network), family, parts=parts, wanted=names)


def adapt(
    network: Any,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets_regex: str,
    dora: bool = False,
    seed: int,
    whole: tuple[str, ...] = (),
    base_model: str = "",
) -> AdapterConfig:
    """Freeze a model and put a new adapter on some of its linear layers.

    Args:
        network: mlx-vlm's model without adapter.
        rank: Inner size.
        alpha: The adapter's output is scaled by alpha / rank.
        dropout: Share of the adapter's inputs that are dropped in training.
        targets_regex: Matches the whole of a layer's name, as in peft.
        dora: Give each layer a magnitude.
        seed: Fixes the first values, which are those that PyTorch starts from.
        whole: Modules, such as "model.visual.merger", that train whole beside the adapter.
        base_model: What the model below is called.

    Returns:
        The adapter's settings, for `save_adapter`.

    Raises:
        ConfigError: If the expression matches no layer.
    """
    pattern = re.compile(targets_regex)
    chosen = {
        name: layer for name, layer in linear_layers(network).items() if pattern.fullmatch(name)
    }
    if not chosen:
        raise ConfigError(f"the adapter's targets {targets_regex!r} match no linear layer")
    config = AdapterConfig(
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=targets_regex,
        dora=dora,
        base_model=base_model,
        whole=whole,
    )
    layers = {}
    for name, layer in chosen.items():
        rows, columns = size_of(layer)
        layers[name] = AdapterLayer(
            a=first_values(name, seed=seed, rank=rank, input_size=columns),
            b=np.zeros((rows, rank), np.float32),
            magnitude=np.array(mx.linalg.norm(weight_of(layer), axis=1)) if dora else None,
            scale=config.scale_of(name),
        )
    attach(network, Adapter(config=config, layers=layers, whole={}), where="the new adapter")
    return config


def stack(
    network: Any,
    folder: Path,
    *,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets_regex: str,
    seed: int,
) -> AdapterConfig:
    """Put an adapter on a model that stays as it is, and a new one above it; as `adapt` otherwise.

    Args:
        network: mlx-vlm's model without adapter.
        folder: The adapter below, a LoRA in peft's layout.
        rank: Inner size of the new one.
        alpha: Its alpha.
        dropout: Share of inputs dropped in training, for both.
        targets_regex: Layers of the new one.
        seed: Fixes its first values.

    Returns:
        The settings of both as one, for `save_adapter`.
    """
    pattern = re.compile(targets_regex)
    both = stacked(
        adapters.read(folder),
        {
            name: size_of(layer)
            for name, layer in linear_layers(network).items()
            if pattern.fullmatch(name)
        },
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=targets_regex,
        seed=seed,
    )
    attach(network, both.adapter, where=f"the adapter in {folder}", held=both.held)
    return both.adapter.config


def attach(network: Any, adapter: Adapter, *, where: str, held: int = 0) -> None:
    """Freeze a model, put an adapter's values beside its layers, and let those train.

    Args:
        network: mlx-vlm's model without adapter.
        adapter: The values; modules that it has whole replace the model's.
        where: What messages call the adapter.
        held: Ranks, the first ones, that do not train.

    Raises:
        CheckpointError: If a layer is missing or of another size.
    """
    network.freeze()
    known = linear_layers(network)
    wrapped = []
    for name, values in adapter.layers.items():
        found = (values.b.shape[0], values.a.shape[1])
        size = size_of(known[name]) if name in known else None
        if size != found:
            has = "no such layer" if size is None else f"{size[1]} to {size[0]}"
            raise CheckpointError(
                f"{where} does not fit this model: {name} goes from {found[1]} to {found[0]} "
                f"numbers, and the model has {has}; name the model that it was trained on"
            )
        layer = AdaptedLinear(known[name], values, dropout=adapter.config.dropout, held=held)
        wrapped.append((layer_names.mlx(name), layer))
    if wrapped:
        network.update_modules(tree_unflatten(wrapped))
    put_whole(network, adapter.whole, where=where)
    for name in adapter.config.whole:
        _module(network, name).unfreeze()
    network.train(network.training)


def put_whole(network: Any, weights: Mapping[str, npt.NDArray[np.float32]], *, where: str) -> None:
    """Give modules that lie whole with an adapter the values that they have there.

    Raises:
        CheckpointError: If the model has no such weights, or packs them.
    """
    known: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    put = []
    for name, values in weights.items():
        target = layer_names.mlx(name)
        weight = known.get(target)
        if weight is None or weight.shape != values.shape:
            raise CheckpointError(
                f"{where} brings {name} whole, {list(values.shape)}, and this model has "
                f"{'none' if weight is None else list(weight.shape)}; load it on PyTorch, and "
                "merge it there"
            )
        put.append((target, mx.array(values).astype(weight.dtype)))
    network.load_weights(put, strict=False)


def _module(network: Any, name: str) -> Any:
    found = dict(network.named_modules()).get(layer_names.mlx(name))
    if found is None:
        raise ConfigError(f"this model has no module {name}, which was to train whole")
    return found


def load_adapter(network: Any, folder: Path) -> AdapterConfig:
    """Put an adapter in peft's layout on a model without one; its layers can be trained on.

    Raises:
        CheckpointError: If the adapter is incomplete, unsupported, or does not fit.
    """
    adapter = adapters.read(folder)
    attach(network, adapter, where=f"the adapter in {folder}")
    mx.eval(network.parameters())
    return adapter.config


def attached(loaded: LoadedModel, folder: Path) -> LoadedModel:
    """Put an adapter on a model that is to answer, not to learn.

    Raises:
        CheckpointError: If the adapter is incomplete, unsupported, or does not fit.
    """
    load_adapter(loaded.network, folder)
    loaded.network.freeze()
    loaded.network.eval()
    return replace(loaded, info=replace(loaded.info, adapter=str(folder)))


def adapter_weights(network: Any, config: AdapterConfig) -> dict[str, Any]:
    """Read an adapter's values under peft's names, as float32 numpy arrays."""
    return adapters.peft_weights(adapter_of(network, config))


def adapter_of(network: Any, config: AdapterConfig) -> Adapter:
    """Read the adapter that a model carries."""
    layers = {
        name: AdapterLayer(
            a=np.array(layer.matrices()[0].astype(mx.float32)),
            b=np.array(layer.matrices()[1].astype(mx.float32)),
            magnitude=np.array(layer.magnitude.astype(mx.float32))
            if "magnitude" in layer
            else None,
            scale=layer.scale,
        )
        for name, layer in adapted_layers(network).items()
    }
    weights: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    roots = tuple(f"{layer_names.mlx(name)}." for name in config.whole)
    whole = {
        layer_names.canonical(name): np.array(weight.astype(mx.float32))
        for name, weight in weights.items()
        if roots and name.startswith(roots)
    }
    return Adapter(config=config, layers=layers, whole=whole)


def save_adapter(
    network: Any, config: AdapterConfig, folder: Path, *, base_model: str = ""
) -> None:
    """Write a model's adapter in peft's layout.

    Args:
        network: The adapted model.
        config: What `adapt` or `load_adapter` returned.
        folder: Where; made if need be.
        base_model: What the model below is called; "" keeps what the config says.
    """
    named = replace(config, base_model=base_model or config.base_model)
    adapters.write(adapter_of(network, named), folder)


@contextmanager
def adapters_off(network: Any) -> Iterator[None]:
    """Compute the model below its adapter: what a new adapter's reference is.

    Modules that train whole keep their values.
    """
    layers = list(adapted_layers(network).values())
    for layer in layers:
        layer.active = False
    try:
        yield
    finally:
        for layer in layers:
            layer.active = True
