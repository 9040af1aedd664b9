"""Which settings vLLM can follow when it draws GRPO's completions; others are refused, with why.

Nothing is imported and nothing loads.
"""

import importlib.util
import os
from collections.abc import Mapping

from vlmtune.backends.choices import trained_parts
from vlmtune.backends.pytorch import engines
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, MissingDependency

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # our draws and adapters live in this process
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the trainer needs the cores as well
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""What vLLM reads when it is imported and when it starts; what the user has set counts."""
LARGEST_RANK = 512
"""Of an adapter that vLLM serves."""
OTHERWISE = "or set hardware.use_vllm: false, and this backend draws completions itself"


def check(config: RunConfig) -> None:
    """Refuse what vLLM cannot do for a trainer.

    Raises:
        MissingDependency: If vLLM is not installed.
        ConfigError: If a setting cannot be honoured together with it.
    """
    if reason := _tuning(config) or _machine(config):
        raise ConfigError(f"hardware.use_vllm: {reason}, {OTHERWISE}")
    if config.hardware.vllm_mode == "colocate":
        refuse_missing()


def environment() -> dict[str, str]:
    """Write the environment variables for vLLM, those of the user first."""
    return {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}


def is_installed() -> bool:
    """Say whether vLLM is there, without importing it."""
    return importlib.util.find_spec("vllm") is not None


def refuse_missing() -> None:
    """Say how to get vLLM where there is none.

    Raises:
        MissingDependency: If it is not installed.
    """
    if not is_installed():
        raise MissingDependency(
            "hardware.use_vllm needs vllm, which is not installed: pip install 'vlmtune[cloud]'; "
            + OTHERWISE
        )


def _tuning(config: RunConfig) -> str:
    model = config.model
    if model.tuning == "full":
        return (
            "model.tuning: full changes every weight, and vLLM is given adapters only; use "
            "model.tuning: lora"
        )
    if model.tuning == "dora":
        return "vLLM computes no DoRA; use model.tuning: lora"
    if others := sorted(trained_parts(config) - {"language"}):
        return (
            f"vLLM puts adapters on the language model only, and the {others[0]} part trains too; "
            f"use model.freeze_{others[0]}: true"
        )
    if model.quantization == "8bit":
        return (
            "8bit weights compute with rounded inputs, which vLLM does not do; use "
            "model.quantization: 4bit or none"
        )
    if model.lora.rank > LARGEST_RANK:
        return f"model.lora.rank {model.lora.rank} is more than vLLM serves; use {LARGEST_RANK}"
    return ""


def _machine(config: RunConfig) -> str:
    hardware, served = config.hardware, config.hardware.vllm_mode == "server"
    if served and config.grpo.temperature != 1:
        return (
            f"a server gives log-probabilities at temperature 1, and grpo.temperature is "
            f"{config.grpo.temperature:g}; use vllm_mode: colocate, or temperature: 1.0"
        )
    if served and hardware.processes * hardware.nodes > 1:
        return "several processes cannot share one server yet; use vllm_mode: colocate"
    if served and config.model.quantization != "none":
        return (
            f"a server has its own copy of the weights, not these {config.model.quantization} "
            "ones; use vllm_mode: colocate, or quantization: none"
        )
    if engines.divides_weights(config):
        return (
            f"engine {engines.engine(config)} divides the weights, and every process would have to "
            "put its adapter together first; use hardware.deepspeed: zero2, or neither"
        )
    return ""
