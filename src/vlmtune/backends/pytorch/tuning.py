"""Which weights move: adapters or the weights themselves, in which parts, at which rates.

    loaded = adapt(load(resolved, loading), Tuning(method="lora", rank=16), seed=0)
    groups = weight_groups(loaded, Rates(default=1e-4, projector=1e-3), weight_decay=0.01)

A new adapter's first values come from the seed and the layers' names, as on MLX.
"""

import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlmtune.backends.choices import Rates, Tuning
from vlmtune.backends.first_adapter import first_values
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.stacked import held_part, stacked
from vlmtune.backends.targets import PARTS, Part, part_of, target_pattern
from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import adapters

ADAPTER = "default"
"""peft's name of the adapter that trains."""


def adapt(
    loaded: LoadedModel,
    tuning: Tuning,
    *,
    seed: int,
    adapter: Path | None = None,
    stack: bool = False,
) -> LoadedModel:
    """Attach an adapter and decide which weights have gradients.

    Args:
        loaded: A model without adapter.
        tuning: What is trained.
        seed: Fixes a new adapter's first values.
        adapter: Folder of an adapter to train on; its own rank and targets hold.
        stack: Hold that adapter still instead, and train a new one above it.

    Returns:
        The same weights; the network is peft's where there is an adapter.

    Raises:
        ConfigError: If a target names no layer, or nothing would train.
        CheckpointError: If the adapter does not fit.
    """
    base = loaded.network
    if tuning.method == "full":
        for name, weight in base.named_parameters():
            weight.requires_grad_(part_of(name, loaded.family) in tuning.parts)
        return _checked(loaded)
    base.requires_grad_(False)
    if adapter is not None and not stack:
        return _checked(replace(loaded, network=_continued(base, adapter)))
    language_or_vision = tuning.parts - {"projector"}
    if not language_or_vision:
        raise ConfigError(
            "model.tuning is an adapter and vision and language are frozen, so it has no place; "
            "unfreeze one, or train the projector alone with model.tuning: full"
        )
    torch.manual_seed(seed)
    targets = target_pattern(
        _linear_layers(loaded), loaded.family, parts=tuning.parts, wanted=tuning.targets
    )
    if adapter is not None:
        return _checked(_above(loaded, tuning, adapter, targets=targets, seed=seed))
    return _checked(_anew(loaded, tuning, targets=targets, seed=seed))


def _anew(loaded: LoadedModel, tuning: Tuning, *, targets: str, seed: int) -> LoadedModel:
    """Attach an adapter that adds nothing yet."""
    import peft

    settings = peft.LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=targets,
        modules_to_save=[loaded.family.projector_module] if "projector" in tuning.parts else None,
        use_dora=tuning.method == "dora",
        bias="none",
        use_rslora=False,
        init_lora_weights=True,
        task_type="CAUSAL_LM",
    )
    network = peft.get_peft_model(loaded.network, settings)
    _draw(network, seed=seed)
    return replace(loaded, network=network)


def _above(
    loaded: LoadedModel, tuning: Tuning, adapter: Path, *, targets: str, seed: int
) -> LoadedModel:
    """Attach an adapter whose first ranks are another's, which get no gradient."""
    sizes = {
        name: (module.out_features, module.in_features)
        for name, module in loaded.network.named_modules()
        if isinstance(module, torch.nn.Linear) and re.fullmatch(targets, name)
    }
    both = stacked(
        adapters.read(adapter),
        sizes,
        rank=tuning.rank,
        alpha=tuning.alpha,
        dropout=tuning.dropout,
        targets=targets,
        seed=seed,
    )
    with tempfile.TemporaryDirectory(prefix="vlmtune-stacked-") as folder:
        adapters.write(both.adapter, Path(folder))
        network = _continued(loaded.network, Path(folder))
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            weight.register_hook(_Still(held_part(name, both.held)))
    return replace(loaded, network=network, held_rank=both.held)


class _Still:
    """Takes the gradient away from a part of a weight."""

    def __init__(self, part: tuple[slice, slice]) -> None:
        self._part = part

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        gradient[self._part] = 0
        return gradient


def hold_still(optimizer: torch.optim.Optimizer, loaded: LoadedModel) -> None:
    """Keep the adapter below a stacked one as it is, whatever weight decay does to the rest."""
    if not loaded.held_rank:
        return
    kept = []
    for name, weight in loaded.network.named_parameters():
        if weight.requires_grad:
            part = held_part(name, loaded.held_rank)
            kept.append((weight, part, weight.detach()[part].clone()))

    def restore(*_: Any) -> None:
        """Put back what an optimizer's decay or momentum moved of the parts that are held."""
        with torch.no_grad():
            for weight, part, values in kept:
                weight[part] = values

    optimizer.register_step_post_hook(restore)


def _draw(network: Any, *, seed: int) -> None:
    """Replace what peft drew by the values that every backend starts from; B stays zero."""
    for name, weight in network.named_parameters():
        layer, found, _ = name.partition(f".lora_A.{ADAPTER}.")
        if found:
            rank, size = weight.shape
            values = first_values(
                layer.removeprefix("base_model.model."), seed=seed, rank=rank, input_size=size
            )
            weight.data.copy_(torch.from_numpy(values))


def _continued(base: Any, adapter: Path) -> Any:
    # peft imports it always, and it tells every CPU which kernels for 4 bits it could have.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import peft

    try:
        return peft.PeftModel.from_pretrained(
            base, str(adapter), adapter_name=ADAPTER, is_trainable=True
        )
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"adapter {adapter} cannot be put on this model: {reason}; name the model that it was "
            "trained on as model.name"
        ) from error


def attached(loaded: LoadedModel, adapter: Path) -> LoadedModel:
    """Put an adapter on a model that is to answer, not to learn.

    Raises:
        CheckpointError: If the adapter does not fit.
    """
    network = _continued(loaded.network, adapter).requires_grad_(False).eval()
    return replace(loaded, network=network, info=replace(loaded.info, adapter=str(adapter)))


def _checked(loaded: LoadedModel) -> LoadedModel:
    if not any(weight.requires_grad for weight in loaded.network.parameters()):
        raise ConfigError(
            "no weight would train: vision, projector and language are all frozen; set one of "
            "model.freeze_vision, model.freeze_projector, model.freeze_language to false"
        )
    return loaded


def merged(loaded: LoadedModel, adapter: Path) -> LoadedModel:
    """Add an adapter to the weights below it.

    Raises:
        CheckpointError: If the adapter does not fit, has NaN in it, or changes nothing.
        ConfigError: If the weights are quantised: adding to 4-bit weights rounds the adapter away.
    """
    if getattr(loaded.network, "is_quantized", False):
        raise ConfigError(
            "model.start_adapter: merge needs weights in full precision; set model.quantization: "
            "none, or continue the adapter"
        )
    before = {name: weight.detach().clone() for name, weight in loaded.network.named_parameters()}
    network = _continued(loaded.network, adapter)
    try:
        network = network.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise CheckpointError(f"adapter {adapter} cannot be merged: {error}") from error
    after = dict(network.named_parameters())
    if all(torch.equal(weight, after[name]) for name, weight in before.items()):
        raise CheckpointError(
            f"adapter {adapter} changed no weight when merged; it was never trained, or belongs to "
            "another model"
        )
    return replace(loaded, network=network)


def _linear_layers(loaded: LoadedModel) -> Iterator[str]:
    for name, module in loaded.base.named_modules():
        if isinstance(module, torch.nn.Linear):
            yield name


def weight_groups(
    loaded: LoadedModel, rates: Rates, *, weight_decay: float
) -> list[dict[str, Any]]:
    """Sort the weights that train by rate and decay, for AdamW.

    Matrices decay; biases, norms and other vectors do not.

    Args:
        loaded: The adapted model.
        rates: Peak rates.
        weight_decay: Decay of matrices.

    Returns:
        torch's parameter groups, each with a `name` such as "language adapter".

    Raises:
        ConfigError: If a rate is set for weights that do not train.
    """
    groups: dict[tuple[Part, bool, bool], list[Any]] = {}
    for name, weight in loaded.network.named_parameters():
        if weight.requires_grad:
            key = (part_of(name, loaded.family), "lora_" in name, weight.ndim > 1)
            groups.setdefault(key, []).append(weight)
    rates.refuse_idle({(part, adapter) for part, adapter, _ in groups})
    return [
        {
            "params": weights,
            "lr": rates.of(part, adapter=adapter),
            "weight_decay": weight_decay if decays else 0.0,
            "name": f"{part}{' adapter' if adapter else ''}{'' if decays else ', no decay'}",
        }
        for (part, adapter, decays), weights in sorted(groups.items())
    ]


def trained_counts(loaded: LoadedModel) -> dict[str, int]:
    """Count the weights that train, by part, and all weights under "all"."""
    counts = dict.fromkeys(PARTS, 0) | {"all": 0}
    for name, weight in loaded.network.named_parameters():
        counts["all"] += weight.numel()
        if weight.requires_grad:
            held = weight[held_part(name, loaded.held_rank)].numel() if loaded.held_rank else 0
            counts[part_of(name, loaded.family)] += weight.numel() - held
    return {str(part): count for part, count in counts.items()}
