"""MLX: generation and training on Apple GPUs, and on any CPU for tests and demos; without PyTorch.

`load_generator` returns the one door through which rehearsals, rollouts and evaluation ask a model.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
from pathlib import Path

from vlmtune.backends.job import Job
from vlmtune.backends.rollouts import Grade, Observe
from vlmtune.config import RunConfig
from vlmtune.protocols import Generator
from vlmtune.types import Problem, Stage, Start, TrainResult

NAME = "mlx"
TRAINS = ("sft", "dpo", "grpo")
"""Stages that this backend trains."""
INSTALL = 'pip install "vlmtune[mlx]" (in a checkout: pip install -e ".[mlx]")'


def check() -> list[Problem]:
    """Say why MLX cannot run here: not installed, or not loadable."""
    missing = [name for name in ("mlx", "mlx_vlm") if importlib.util.find_spec(name) is None]
    if missing:
        return [Problem(what=f"{' and '.join(missing)} not installed", remedy=INSTALL)]
    from vlmtune.backends.mlx.blas import prefer_openblas

    prefer_openblas()
    try:
        importlib.import_module("mlx.core")
    except ImportError as error:
        return [Problem(what=f"mlx is installed but cannot be loaded ({error})", remedy=INSTALL)]
    version = importlib.metadata.version("mlx-vlm")
    if tuple(int(part) for part in version.split(".")[:2]) != (0, 7):
        return [Problem(what=f"mlx-vlm {version} is not 0.7.x", remedy=INSTALL)]
    return []


def check_training() -> list[Problem]:
    """Say why it cannot train here; what generates also trains."""
    return check()


def load_generator(
    model: str,
    *,
    batch_rows: int = 64,
    adapter: Path | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Generator:
    """Load a model by alias, local path or hub id.

    Args:
        model: What the user typed.
        batch_rows: Completions decoded side by side; bounds memory.
        adapter: Folder of an adapter to put on it, in peft's layout.
        min_pixels: Smaller pictures are enlarged to this; None is the model's own bound.
        max_pixels: Larger pictures are scaled down to this; None is the model's own bound.

    Raises:
        ConfigError: If the alias is unknown, or this model's pictures have no such bounds.
        CheckpointError: If the folder is incomplete, the hub cannot be reached, or the adapter does
            not fit.
        BackendUnavailable: If the model needs more memory than the machine has.
    """
    from vlmtune.backends.mlx.blas import prefer_openblas
    from vlmtune.models.resolve import check_memory, fetch, machine_memory_gib, resolve

    resolved = resolve(model, backend=NAME)
    available_gib = machine_memory_gib()
    # An alias says what it needs, so a hopeless download is not even begun.
    check_memory(resolved, available_gib=available_gib)
    resolved = fetch(resolved)
    warning = check_memory(resolved, available_gib=available_gib)
    if warning:
        logging.getLogger("vlmtune").warning(warning)
    prefer_openblas()
    from vlmtune.backends.mlx.generate import MLXGenerator
    from vlmtune.backends.mlx.loading import Loading
    from vlmtune.backends.mlx.model import load

    loaded = load(resolved, Loading(min_pixels=min_pixels, max_pixels=max_pixels))
    if adapter is not None:
        from vlmtune.backends.mlx.adapted import attached

        loaded = attached(loaded, adapter)
    return MLXGenerator(loaded, batch_rows=batch_rows)


def check_settings(config: RunConfig) -> list[str]:
    """Refuse settings that this backend cannot honour; nothing is loaded.

    Returns:
        Notes about settings without an effect.

    Raises:
        ConfigError: If a setting cannot be honoured.
        MissingDependency: If one needs a library that is not installed.
    """
    from vlmtune.backends import settings as shared
    from vlmtune.backends.mlx import grpo_settings, settings

    settings.check(config)
    own = grpo_settings.check(config) if config.stage is Stage.GRPO else []
    return [*shared.notes(config), *own]


def train_sft(job: Job, start: Start) -> TrainResult:
    """Train on prompts and their answers, from `start` to a finished model.

    Raises:
        DataError: If rows are too long and the policy is error.
        CheckpointError: If the model cannot be loaded.
        BackendUnavailable: If the machine cannot hold the training.
        RunFailed: If training began and could not go on.
    """
    from vlmtune.backends.mlx.opening import fitted, open_model

    learner = open_model(job.config, start, job.journal)
    from vlmtune.backends.mlx import sft

    return sft.train_sft(learner, fitted(learner, job))


def train_dpo(job: Job, start: Start) -> TrainResult:
    """Train on chosen against rejected answers; as `train_sft` otherwise."""
    from vlmtune.backends.mlx.opening import fitted, open_model

    learner = open_model(job.config, start, job.journal)
    from vlmtune.backends.mlx import dpo

    return dpo.train_dpo(learner, fitted(learner, job))


def train_grpo(job: Job, start: Start, *, grade: Grade, observe: Observe) -> TrainResult:
    """Train on groups of the model's own answers; as `train_sft` otherwise.

    Args:
        job: Prompts to train on, and those to evaluate on.
        start: What to load.
        grade: The reward.
        observe: Told of every rollout.
    """
    from vlmtune.backends.mlx.opening import fitted, open_model

    learner = open_model(job.config, start, job.journal)
    from vlmtune.backends.mlx import grpo

    return grpo.train_grpo(learner, fitted(learner, job), grade=grade, observe=observe)
