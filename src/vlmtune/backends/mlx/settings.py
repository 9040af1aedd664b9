"""From the config to what this backend does; or a refusal, before anything loads.

    check(config)                    raises for what cannot be honoured here, beyond what
                                     config_rules.py says of all, and
                                     backends/settings.py of all that train
    loading(config), passes(config)  for opening.py and the stages

The loop is ours, so most settings are read where they act. `backends/mlx/honoured.py` says for each
setting who honours it. What belongs to PyTorch alone is refused by `config_consumers.py`.
"""

from collections.abc import Mapping
from typing import Literal

from vlmtune import config_rules
from vlmtune.backends import settings as shared
from vlmtune.backends.mlx.loading import Loading
from vlmtune.backends.order import Passes
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError

_BITS: Mapping[str, Literal[4, 8] | None] = {"none": None, "4bit": 4, "8bit": 8}


def check(config: RunConfig) -> None:
    """Refuse what this backend cannot honour; no model is loaded and MLX is not imported.

    Raises:
        ConfigError: One line about the first setting that cannot be honoured, or contradicts
            another.
        MissingDependency: If a setting needs a library that is not installed.
    """
    shared.check_start(config)
    shared.check_dtype(config)
    _check_formats(config)
    accumulation(config)
    shared.check_parts(config)
    shared.check_trackers(config)


def _check_formats(config: RunConfig) -> None:
    model, precision = config.model, config.training.precision
    if precision == "fp16" and model.dtype != "fp16":
        raise ConfigError(
            "training.precision: fp16 scales losses on CUDA only; mlx computes in the format of "
            "the weights, so use bf16 or fp32"
        )
    if precision == "auto":
        return
    if model.dtype not in ("auto", precision):
        raise ConfigError(
            f"training.precision is {precision} and model.dtype is {model.dtype}; mlx computes in "
            "the format of the weights, so keep one of the two"
        )
    if model.tuning == "full" and model.dtype == "auto" and precision != "fp32":
        raise ConfigError(
            f"training.precision: {precision} over weights that train themselves in fp32 is not "
            f"supported on mlx; set model.dtype: {precision}, or precision: fp32"
        )


def loading(config: RunConfig) -> Loading:
    """How to load the model.

    Weights that are trained themselves are kept in fp32 unless another format is asked for: most
    steps are smaller than what bf16 can add to a weight.
    """
    model, precision = config.model, config.training.precision
    dtype = precision if model.dtype == "auto" else model.dtype
    if model.tuning == "full" and dtype == "auto":
        dtype = "fp32"
    return Loading(
        dtype=dtype,
        bits=_BITS[model.quantization],
        min_pixels=model.min_pixels,
        max_pixels=model.max_pixels,
    )


def accumulation(config: RunConfig) -> int:
    """Count the batches that make one update.

    Raises:
        ConfigError: If `training.global_batch_size` cannot be divided.
    """
    return config_rules.accumulation(config.training, devices=1)


def passes(config: RunConfig, *, rows: int) -> Passes:
    """Say how rows are walked over."""
    return Passes(
        rows=rows,
        batch_size=config.training.batch_size,
        accumulation=accumulation(config),
        seed=config.seed,
    )
