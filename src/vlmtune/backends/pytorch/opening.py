"""From what a run starts with to a model that is ready to train."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

from vlmtune.backends.choices import rates, tuning
from vlmtune.backends.job import Job
from vlmtune.backends.lengths import fit, told
from vlmtune.backends.pytorch import engines, processes, settings
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.devices import (
    choose_device,
    device_memory_gib,
    warn_about_mps,
)
from vlmtune.backends.pytorch.model import LoadedModel, load
from vlmtune.backends.pytorch.tuning import adapt, merged, trained_counts, weight_groups
from vlmtune.config import RunConfig
from vlmtune.models.resolve import check_memory, fetch, machine_memory_gib, resolve
from vlmtune.protocols import Journal
from vlmtune.types import Lesson, Start

MERGED = "merged_base"
"""Folder in the run's own, for weights that an adapter was merged into: new adapters need them."""

_log = logging.getLogger("vlmtune")


def open_model(config: RunConfig, start: Start, journal: Journal) -> LoadedModel:
    """Load, merge or continue, and decide what trains.

    Args:
        config: A checked config.
        start: What to load.
        journal: The run; merged weights are written to its folder.

    Raises:
        CheckpointError: If the model or adapter cannot be loaded.
        ConfigError: If a setting does not fit the model.
        BackendUnavailable: If the device does not exist or cannot hold or train the model.
    """
    os.environ.update(settings.environment(config, folder=journal.folder))
    if choose_device(config.hardware.device) == "cpu":
        # TRL imports DeepSpeed wherever it is installed, and it tells every CPU that it is one.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    # peft imports it always, and it tells every CPU which kernels for 4 bits it could have.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    loaded = _loaded(config, start.model, settings.loading(config))
    adapter = start.adapter
    if start.merge and adapter is not None:
        loaded = merged(loaded, adapter)
        base = journal.model_folder / MERGED
        if processes.team().rank == 0:
            loaded.network.save_pretrained(base)
            loaded.reader.processor.save_pretrained(base)
        processes.team().gather(None)
        loaded.network.name_or_path = str(base)
        adapter = None
    loaded = adapt(loaded, tuning(config), seed=config.seed, adapter=adapter, stack=start.stack)
    weight_groups(loaded, rates(config), weight_decay=config.training.weight_decay)
    counts = trained_counts(loaded)
    _log.info("training %s of %s weights", sum(counts.values()) - counts["all"], counts["all"])
    if loaded.device == "mps":
        warn_about_mps(loaded.network)
    return loaded


def _loaded(config: RunConfig, name: str, loading: Loading) -> LoadedModel:
    resolved = resolve(name, backend="pytorch")
    available_gib = device_memory_gib(choose_device(loading.device)) or machine_memory_gib()
    if loading.waits:
        available_gib *= processes.team().size
    check_memory(resolved, available_gib=available_gib)
    resolved = fetch(resolved)
    if warning := check_memory(resolved, available_gib=available_gib):
        _log.warning(warning)
    return load(resolved, loading)


def fitted(loaded: LoadedModel, job: Job) -> Job:
    """Hold rows against the length limits, and say what became of long ones.

    Returns:
        The job with the rows that fit.

    Raises:
        ConfigError: If an engine cannot train rows with and without pictures together.
        DataError: If rows are too long and the policy is error, or none is left.
    """
    return replace(
        job,
        lessons=_fitted(loaded, job, job.lessons),
        evaluation=_fitted(loaded, job, job.evaluation),
    )


def _fitted(loaded: LoadedModel, job: Job, lessons: Sequence[Lesson]) -> tuple[Lesson, ...]:
    engines.refuse_mixed(job.config, [len(lesson.prompt.images) for lesson in lessons])
    found = fit(lessons, loaded.reader, job.config, room=job.room)
    for line in told(found):
        _log.warning(line)
    return found.lessons
