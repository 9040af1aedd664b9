"""PyTorch: generation and training with transformers, TRL and peft, on CUDA, on a CPU, on MPS.

`load_generator` is the same door as on the other backends. Nothing heavy is imported before it.
"""

import importlib.metadata
import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlmtune.backends.job import Job
from vlmtune.backends.rollouts import Grade, Observe
from vlmtune.backends.team import ALONE, Team
from vlmtune.config import RunConfig
from vlmtune.protocols import Generator
from vlmtune.types import Problem, Stage, Start, TrainResult

NAME = "pytorch"
TRAINS = ("sft", "dpo", "grpo")
"""Stages that this backend trains."""
INSTALL = 'pip install "vlmtune[cuda]" (in a checkout: pip install -e ".[cuda]")'
GENERATES_WITH = ("torch", "torchvision", "transformers")
TRAINS_WITH = (*GENERATES_WITH, "trl", "peft", "accelerate", "datasets")


def check() -> list[Problem]:
    """Say why PyTorch cannot run here: not installed, or a transformers that is not version 5."""
    return _problems(GENERATES_WITH)


def check_training() -> list[Problem]:
    """Say why it cannot train here."""
    return _problems(TRAINS_WITH)


def _problems(needed: tuple[str, ...]) -> list[Problem]:
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return [Problem(what=f"{', '.join(missing)} not installed", remedy=INSTALL)]
    found = {name: importlib.metadata.version(name) for name in ("transformers",)}
    if "trl" in needed:
        found["trl"] = importlib.metadata.version("trl")
    expected = {"transformers": "5.", "trl": "1.16."}
    return [
        Problem(what=f"{name} {version} is not {expected[name]}x", remedy=INSTALL)
        for name, version in found.items()
        if not version.startswith(expected[name])
    ]


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
        BackendUnavailable: If the model needs more memory than the device has.
    """
    from vlmtune.backends.pytorch.devices import choose_device, device_memory_gib
    from vlmtune.models.resolve import check_memory, fetch, machine_memory_gib, resolve

    resolved = resolve(model, backend=NAME)
    available_gib = device_memory_gib(choose_device()) or machine_memory_gib()
    # An alias says what it needs, so a hopeless download is not even begun.
    check_memory(resolved, available_gib=available_gib)
    resolved = fetch(resolved)
    warning = check_memory(resolved, available_gib=available_gib)
    if warning:
        logging.getLogger("vlmtune").warning(warning)
    from vlmtune.backends.pytorch.choices import Loading
    from vlmtune.backends.pytorch.generate import TorchGenerator
    from vlmtune.backends.pytorch.model import load

    loaded = load(resolved, Loading(min_pixels=min_pixels, max_pixels=max_pixels))
    if adapter is not None:
        from vlmtune.backends.pytorch.tuning import attached

        loaded = attached(loaded, adapter)
    return TorchGenerator(loaded, batch_rows=batch_rows)


def load_vllm(
    model: str,
    *,
    batch_rows: int = 64,
    adapter: Path | None = None,
    memory_share: float = 0.9,
) -> Generator:
    """Load a model as `load_generator` does, into vLLM.

    Args:
        model: What the user typed.
        batch_rows: Completions decoded side by side.
        adapter: Folder of an adapter to put on it, in peft's layout.
        memory_share: Share of a GPU's memory that vLLM takes.

    Raises:
        MissingDependency: If vLLM is not installed.
        CheckpointError: As `load_generator`, or if the adapter is one that vLLM does not serve.
        BackendUnavailable: If vLLM cannot start here.
    """
    from vlmtune.backends.pytorch import vllm_settings

    vllm_settings.refuse_missing()
    from vlmtune.models.resolve import fetch, resolve

    resolved = fetch(resolve(model, backend=NAME))
    os.environ.update(vllm_settings.environment())
    from vlmtune.backends.pytorch import vllm_generate

    return vllm_generate.load(
        resolved, batch_rows=batch_rows, adapter=adapter, memory_share=memory_share
    )


def check_settings(config: RunConfig) -> list[str]:
    """Refuse settings that this backend cannot honour; nothing is loaded.

    Returns:
        Notes about settings without an effect.

    Raises:
        ConfigError: If a setting cannot be honoured.
        MissingDependency: If one needs a library that is not installed.
    """
    from vlmtune.backends.pytorch import grpo_settings, settings

    settings.check(config)
    own = grpo_settings.check(config) if config.stage is Stage.GRPO else []
    return [*settings.notes(config), *own]


@contextmanager
def together(config: RunConfig) -> Iterator[Team]:
    """Meet the processes that were started for this training; one alone is a team too.

    Args:
        config: A checked config.

    Raises:
        ConfigError: If there are fewer GPUs than processes on this machine.
    """
    if config.hardware.processes * config.hardware.nodes == 1 and not config.hardware.deepspeed:
        yield ALONE
        return
    from vlmtune.backends.pytorch import processes

    yield processes.join(config.hardware.device)
    # Only where all went well: others that are gone would be waited for.
    processes.leave()


def train_sft(job: Job, start: Start) -> TrainResult:
    """Train on prompts and their answers, from `start` to a finished model.

    Raises:
        DataError: If rows are too long and the policy is error.
        CheckpointError: If the model cannot be loaded.
        RunFailed: If training began and could not go on.
    """
    from vlmtune.backends.pytorch.opening import fitted, open_model

    loaded = open_model(job.config, start, job.journal)
    from vlmtune.backends.pytorch import sft

    return sft.train_sft(loaded, fitted(loaded, job))


def train_dpo(job: Job, start: Start) -> TrainResult:
    """Train on chosen against rejected answers; as `train_sft` otherwise."""
    from vlmtune.backends.pytorch.opening import fitted, open_model

    loaded = open_model(job.config, start, job.journal)
    from vlmtune.backends.pytorch import dpo

    continued = start.adapter is not None and not start.merge
    return dpo.train_dpo(loaded, fitted(loaded, job), continued=continued)


def train_grpo(job: Job, start: Start, *, grade: Grade, observe: Observe) -> TrainResult:
    """Train on groups of the model's own answers; as `train_sft` otherwise.

    Args:
        job: Prompts to train on, and those to evaluate on.
        start: What to load.
        grade: The reward.
        observe: Told of every rollout.
    """
    from vlmtune.backends.pytorch.opening import fitted, open_model

    loaded = open_model(job.config, start, job.journal)
    if job.config.hardware.use_vllm:
        from vlmtune.backends.pytorch import vllm_settings

        # TRL imports vLLM where there is one, and vLLM reads these when it is imported.
        os.environ.update(vllm_settings.environment())
    from vlmtune.backends.pytorch import grpo

    return grpo.train_grpo(loaded, fitted(loaded, job), grade=grade, observe=observe)
