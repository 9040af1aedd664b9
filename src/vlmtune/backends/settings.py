"""Settings that every backend that trains refuses, or reads, alike.

What one engine alone cannot honour stands in its own `settings.py`.
"""

import importlib.util

from vlmtune.backends.choices import trained_parts
from vlmtune.config import LoraConfig, RunConfig
from vlmtune.errors import ConfigError, MissingDependency

TRACKERS = ("wandb", "tensorboard", "trackio")


def check_start(config: RunConfig) -> None:
    """Hold what becomes of an earlier adapter against the rest.

    Raises:
        ConfigError: If there is none, or it is to be merged into weights of few bits.
    """
    model = config.model
    if model.start_adapter != "continue" and model.start_from is None:
        raise ConfigError(
            f"model.start_adapter: {model.start_adapter} needs model.start_from, the run whose "
            "adapter is meant"
        )
    if model.start_adapter == "merge" and model.quantization != "none":
        raise ConfigError(
            "model.start_adapter: merge needs weights in full precision; set model.quantization: "
            "none, or start_adapter: continue or stack"
        )


def check_dtype(config: RunConfig) -> None:
    """Refuse to train weights themselves in a format in which their steps are lost.

    Raises:
        ConfigError: If they are to be.
    """
    if config.model.tuning == "full" and config.model.dtype == "fp16":
        raise ConfigError(
            "model.dtype: fp16 cannot be trained itself, its steps round away; use bf16 or fp32, "
            "or model.tuning: lora"
        )


def check_parts(config: RunConfig) -> None:
    """Refuse adapters where nothing is left to adapt.

    Raises:
        ConfigError: If only the projector trains, which has no adapter.
    """
    if config.model.tuning != "full" and trained_parts(config) == {"projector"}:
        raise ConfigError(
            f"model.tuning: {config.model.tuning} has no place when vision and language are "
            "frozen; unfreeze one, or train the projector alone with tuning: full"
        )


def check_trackers(config: RunConfig) -> None:
    """Refuse trackers that are not installed.

    Raises:
        MissingDependency: If one is asked for.
    """
    for name in trackers(config):
        if importlib.util.find_spec(name) is None:
            raise MissingDependency(
                f"tracking.{name} needs {name}, which is not installed: pip install "
                f"'vlmtune[tracking]'; or set tracking.{name}: false, metrics.jsonl is written "
                "anyway"
            )


def trackers(config: RunConfig) -> list[str]:
    """Name the trackers that metrics go to; a rehearsal reports to none."""
    return [] if config.debug else [name for name in TRACKERS if getattr(config.tracking, name)]


def notes(config: RunConfig) -> list[str]:
    """Say which settings have no effect in this run, whichever the engine, and why."""
    if config.model.tuning == "full" and config.model.lora != LoraConfig():
        return ["model.lora has no effect: model.tuning is full, which has no adapter"]
    return []
