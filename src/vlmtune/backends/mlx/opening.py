"""From what a run starts with to a model that is ready to train."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from vlmtune.backends.choices import Tuning, tuning
from vlmtune.backends.job import Job
from vlmtune.backends.lengths import fit, told
from vlmtune.backends.mlx import (
    adapted,
    adapter_values,
    checkpointing,
    export,
    memory,
    settings,
    whole_weights,
)
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.model import LoadedModel, load
from vlmtune.config import RunConfig
from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import layer_names
from vlmtune.models.adapters import AdapterConfig
from vlmtune.models.resolve import Resolved, check_memory, fetch, hub_id, resolve
from vlmtune.protocols import Journal
from vlmtune.types import Lesson, Start

MERGED = "merged_base"
"""Folder in the run's own, for weights that an adapter was merged into: new adapters need them."""

_log = logging.getLogger("vlmtune")


def open_model(config: RunConfig, start: Start, journal: Journal) -> Learner:
    """Load, merge or continue, and decide what trains.

    Args:
        config: A checked config.
        start: What to load.
        journal: The run; merged weights are written to its folder.

    Raises:
        CheckpointError: If the model or adapter cannot be loaded.
        ConfigError: If a setting does not fit the model.
        BackendUnavailable: If the machine cannot hold the training.
    """
    wanted, how, limit = tuning(config), settings.loading(config), memory.limit_gib()
    resolved = resolve(start.model, backend="mlx")
    # An alias says what it needs, so a hopeless download is not even begun.
    check_memory(resolved, available_gib=limit)
    resolved = fetch(resolved)
    memory.refuse_too_large(resolved.name, memory.resting(resolved, how, wanted), limit=limit)
    loaded = load(resolved, how)
    folder = Path(resolved.location)
    base = hub_id(folder) or str(folder)
    found: AdapterConfig | None = None
    if start.adapter is not None and start.merge:
        merge(loaded, start.adapter)
        folder = journal.model_folder / MERGED
        whole_weights.write(loaded.network, source=Path(resolved.location), folder=folder)
        export.write_processor(loaded.reader, Path(resolved.location), folder)
        base = str(folder)
    elif start.adapter is not None and not start.stack:
        found = adapted.load_adapter(loaded.network, start.adapter)
    elif start.adapter is not None:
        found = _stacked(loaded, resolved, wanted, start.adapter, seed=config.seed)
    learner = _learner(loaded, resolved, found, wanted, config, base=base, folder=folder)
    learner.paces(config)
    if config.training.gradient_checkpointing:
        checkpointing.enable(loaded.network)
    _log.info("training %s of %s weights", *learner.counts())
    return learner


def _stacked(
    loaded: LoadedModel, resolved: Resolved, wanted: Tuning, adapter: Path, *, seed: int
) -> AdapterConfig:
    family = resolved.family
    assert family is not None  # `fetch` reads the family of whatever lies in a folder
    return adapted.stack(
        loaded.network,
        adapter,
        rank=wanted.rank,
        alpha=wanted.alpha,
        dropout=wanted.dropout,
        targets_regex=adapted.targets(
            loaded.network, family, parts=wanted.parts, names=wanted.targets
        ),
        seed=seed,
    )


def _learner(
    loaded: LoadedModel,
    resolved: Resolved,
    found: AdapterConfig | None,
    wanted: Tuning,
    config: RunConfig,
    *,
    base: str,
    folder: Path,
) -> Learner:
    family = resolved.family
    assert family is not None  # `fetch` reads the family of whatever lies in a folder
    if found is None and wanted.method != "full":
        found = adapted.adapt(
            loaded.network,
            rank=wanted.rank,
            alpha=wanted.alpha,
            dropout=wanted.dropout,
            targets_regex=adapted.targets(
                loaded.network, family, parts=wanted.parts, names=wanted.targets
            ),
            dora=wanted.method == "dora",
            seed=config.seed,
            whole=(family.projector_module,) if "projector" in wanted.parts else (),
            base_model=base,
        )
    elif found is None:
        _free(loaded.network, wanted, resolved)
    return Learner(loaded=loaded, family=family, adapter=found, base=base, folder=folder)


def _free(network: Any, wanted: Tuning, resolved: Resolved) -> None:
    """Let the parts train that are not frozen."""
    family = resolved.family
    assert family is not None
    packed = [name for name, module in network.named_modules() if hasattr(module, "bits")]
    if packed:
        raise ConfigError(
            f"the weights in {resolved.location} are packed in few bits and cannot be trained "
            "themselves; use model.tuning: lora, or name the float checkpoint"
        )
    network.freeze()
    modules = dict(network.named_modules())
    projector = modules[layer_names.mlx(family.projector_module)]
    if "language" in wanted.parts:
        network.language_model.unfreeze()
    if "vision" in wanted.parts:
        modules[layer_names.mlx(family.vision_module)].unfreeze()
        projector.freeze()
    if "projector" in wanted.parts:
        projector.unfreeze()


def merge(loaded: LoadedModel, folder: Path) -> None:
    """Add an adapter to the weights below it.

    Raises:
        CheckpointError: If it does not fit, is not finite, or changes nothing.
        ConfigError: If the weights are packed: adding to them rounds the adapter away.
    """
    network = loaded.network
    if any(hasattr(module, "bits") for module in network.modules()):
        raise ConfigError(
            "model.start_adapter: merge needs weights in full precision; name the float checkpoint "
            "as model.name, or continue the adapter"
        )
    config = adapted.load_adapter(network, folder)
    changed = adapter_values.merge(network)
    weights: dict[str, mx.array] = dict(tree_flatten(network.parameters()))
    if not all(bool(mx.isfinite(weight).all()) for weight in weights.values()):
        raise CheckpointError(f"adapter {folder} cannot be merged: it holds numbers that are none")
    if not config.whole and not changed:
        raise CheckpointError(
            f"adapter {folder} changed no weight when merged; it was never trained, or belongs to "
            "another model"
        )


def fitted(learner: Learner, job: Job) -> Job:
    """Hold rows against the length limits, and batches of the longest against the memory.

    Returns:
        The job with the rows that fit.

    Raises:
        DataError: If rows are too long and the policy is error, or none is left.
        BackendUnavailable: If a batch of the longest rows does not fit into memory.
    """
    return replace(
        job,
        lessons=_fitted(learner, job, job.lessons),
        evaluation=_fitted(learner, job, job.evaluation),
    )


def _fitted(learner: Learner, job: Job, lessons: Sequence[Lesson]) -> tuple[Lesson, ...]:
    found = fit(lessons, learner.loaded.reader, job.config, room=job.room)
    for line in told(found):
        _log.warning(line)
    _refuse_too_large(job.config, learner, longest=found.longest, room=job.room or 0)
    return found.lessons


def _refuse_too_large(config: RunConfig, learner: Learner, *, longest: int, room: int) -> None:
    how = settings.loading(config)
    resolved = resolve(str(learner.folder), backend="mlx")
    held = memory.resting(resolved, how, tuning(config))
    rows, tokens = config.training.batch_size, longest
    if room:
        # A prompt's answers lie behind it in one row.
        together = min(rows, config.grpo.num_generations)
        rows, tokens = -(-rows // together), longest + (together - 1) * room
    batch = memory.activations_gib(
        learner.folder,
        tokens=tokens,
        rows=rows,
        width=2 if mx.metal.is_available() and how.dtype in ("auto", "bf16", "fp16") else 4,
        checkpointing=config.training.gradient_checkpointing,
    )
    need = memory.Need(weights=held.weights, moving=held.moving, activations=batch)
    name = learner.loaded.info.name
    if doubt := memory.refuse_too_large(name, need, limit=memory.limit_gib()):
        _log.warning(doubt)
