"""How the weights are divided among processes: not at all, by DeepSpeed, or by FSDP2.

    plain     every process holds everything, gradients are averaged
    zero2     DeepSpeed divides gradients and optimizer state
    zero3     and the weights too
    fsdp2     PyTorch's own way to divide all three

PyTorch is not imported here: a run's engine is checked before anything loads. What is done to a
divided model stands in `sharding.py`.
"""

import copy
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlmtune import config_rules
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, DataError, MissingDependency
from vlmtune.types import JSON

Engine: TypeAlias = Literal["plain", "zero2", "zero3", "fsdp2"]
STAGES: Mapping[JSON, Engine] = {1: "zero2", 2: "zero2", 3: "zero3"}
"""Stage of ZeRO -> engine; stage 1 divides the optimizer alone and is treated like 2."""
_OURS = {
    "train_micro_batch_size_per_gpu": "training.batch_size",
    "train_batch_size": "training.global_batch_size",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps",
    "gradient_clipping": "training.max_grad_norm",
    "optimizer": "training.learning_rate and its neighbours",
    "scheduler": "training.lr_scheduler",
}
"""What a DeepSpeed file may not decide -> the settings that do."""
_FORMATS = ("bf16", "fp16")
_DRIVER = Path("/proc/driver/nvidia/gpus")
"""One entry for each GPU, where Linux drives any."""


def engine(config: RunConfig) -> Engine:
    """Say which engine a config asks for.

    Raises:
        ConfigError: If `hardware.deepspeed` cannot be read.
    """
    if config.hardware.fsdp != "no":
        return "fsdp2"
    if config.hardware.deepspeed is None:
        return "plain"
    stage = _optimization(deepspeed(config.hardware.deepspeed)).get("stage")
    if stage not in STAGES:
        raise ConfigError(
            f"hardware.deepspeed: {config.hardware.deepspeed} has zero_optimization.stage {stage}; "
            "use 2 or 3, or leave hardware.deepspeed out for plain data parallelism"
        )
    return STAGES[stage]


def divides_weights(config: RunConfig) -> bool:
    """Tell whether a process holds only its share of the weights."""
    return engine(config) in ("zero3", "fsdp2")


def deepspeed(name: str) -> dict[str, Any]:
    """Read DeepSpeed's settings: zero2, zero3, or a JSON file in its own words.

    Raises:
        ConfigError: If the file cannot be read.
    """
    if name in ("zero2", "zero3"):
        return _built_in(int(name[-1]))
    path = Path(name).expanduser()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"hardware.deepspeed: {name} is neither zero2 nor zero3, and as a file it cannot be "
            f"read: {error.strerror or error}"
        ) from None
    except ValueError as error:
        raise ConfigError(f"hardware.deepspeed: {name} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"hardware.deepspeed: {name} holds no JSON object; see zero2 in the docs")
    return found


def _built_in(stage: int) -> dict[str, Any]:
    optimization: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
    }
    if stage == 3:
        optimization |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_optimization": optimization,
    }


def _optimization(settings: Mapping[str, Any]) -> dict[str, Any]:
    found = settings.get("zero_optimization")
    return found if isinstance(found, dict) else {}


def arguments(config: RunConfig) -> dict[str, Any]:
    """Write the engine's part of what every TRL config takes."""
    found: dict[str, Any] = {
        # A row without a picture leaves a vision tower that trains without gradients.
        "ddp_find_unused_parameters": not {"vision", "projector"} <= config_rules.frozen(config),
        "ddp_timeout": 7200,
        "deepspeed": None,
        "fsdp": None,
    }
    chosen = engine(config)
    if chosen == "fsdp2":
        found["fsdp"] = True
        found["fsdp_config"] = {
            "version": 2,
            "reshard_after_forward": config.hardware.fsdp == "full_shard",
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            # One file of all, so that another number of processes can read it.
            "state_dict_type": "FULL_STATE_DICT",
            "cpu_ram_efficient_loading": False,
            "activation_checkpointing": False,
        }
    elif chosen != "plain":
        found["deepspeed"] = _completed(deepspeed(str(config.hardware.deepspeed)))
    return found


def _completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a file's settings what our checkpoints and optimizer need."""
    found = copy.deepcopy(dict(settings))
    # Our AdamW has a rate for each part; DeepSpeed's own would take one for all.
    found |= {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
    for name, key in _OURS.items():
        if name not in ("optimizer", "scheduler") and key:
            found[name] = "auto"
    for name in _FORMATS:
        found[name] = {"enabled": "auto"}
    if _optimization(found).get("stage") == 3:
        found["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    return found


def check(config: RunConfig) -> None:
    """Refuse an engine that cannot do what the other settings ask; nothing is imported.

    Raises:
        ConfigError: If a setting contradicts the engine.
        MissingDependency: If the engine is not installed.
    """
    _refuse_other_engine(config)
    chosen, hardware, model = engine(config), config.hardware, config.model
    if chosen == "plain":
        return
    key = "fsdp" if chosen == "fsdp2" else "deepspeed"
    value = getattr(hardware, key)
    if chosen == "fsdp2" and hardware.processes * hardware.nodes == 1:
        raise ConfigError(
            f"hardware.fsdp: {value} divides weights among processes, and hardware.processes is 1; "
            "raise it to the number of your GPUs, or set fsdp: no"
        )
    if chosen != "fsdp2":
        _check_deepspeed(str(value))
    if hardware.device == "mps":
        raise ConfigError(f"hardware.{key}: {value} does not run on mps; leave it out")
    if model.quantization != "none" and chosen in ("zero3", "fsdp2"):
        raise ConfigError(
            f"model.quantization: {model.quantization} packs weights into blocks that "
            f"hardware.{key}: {value} cannot divide; use hardware.deepspeed: zero2, under which "
            "every GPU keeps the packed weights, or model.quantization: none"
        )
    if model.tuning == "dora" and chosen == "zero3":
        raise ConfigError(
            "model.tuning: dora reads whole weights outside the layers that own them, which "
            f"hardware.deepspeed: {value} has divided; use lora, or hardware.deepspeed: zero2"
        )


def notes(config: RunConfig) -> list[str]:
    """Say what trains together, and which GPUs stay idle."""
    hardware = config.hardware
    count = hardware.processes * hardware.nodes
    if count == 1:
        seen = _visible_gpus(config)
        idle = seen > 1 and hardware.device in ("auto", "cuda")
        more = f"1 of {seen} GPUs trains; hardware.processes: {seen} trains on all of them"
        return [more] if idle else []
    how = {
        "plain": "each holds all weights",
        "zero2": "DeepSpeed divides gradients and optimizer",
        "zero3": "DeepSpeed divides weights, gradients and optimizer",
        "fsdp2": "FSDP2 divides weights, gradients and optimizer",
    }[engine(config)]
    where = f"on each of {hardware.nodes} machines" if hardware.nodes > 1 else "on this machine"
    return [f"{hardware.processes} processes {where} train together, {how}"]


def _visible_gpus(config: RunConfig) -> int:
    """Count NVIDIA GPUs without loading PyTorch."""
    if config.hardware.gpus is not None:
        return len(config.hardware.gpus)
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([name for name in named.split(",") if name.strip()])
    return len(list(_DRIVER.iterdir())) if _DRIVER.is_dir() else 0


def refuse_mixed(config: RunConfig, pictures: Sequence[int]) -> None:
    """Make sure that all processes compute the same layers at the same time.

    Args:
        config: A checked config.
        pictures: How many each row has.

    Raises:
        DataError: If weights are divided, and only some rows have pictures: the processes whose
            batch has none would leave out the vision tower, and the others wait for them.
    """
    without = sum(not count for count in pictures)
    if divides_weights(config) and 0 < without < len(pictures):
        raise DataError(
            f"{without} of {len(pictures)} rows have no picture, and where weights are divided "
            f"among processes ({engine(config)}) either all rows have one or none; leave the "
            "others out, or use hardware.deepspeed: zero2"
        )


def _refuse_other_engine(config: RunConfig) -> None:
    """Accelerate can be told about engines too, and what it was told would win in silence."""
    asked = {
        "ACCELERATE_USE_FSDP": ("fsdp", config.hardware.fsdp != "no"),
        "ACCELERATE_USE_DEEPSPEED": ("deepspeed", config.hardware.deepspeed is not None),
    }
    for variable, (key, ours) in asked.items():
        if os.environ.get(variable, "false").lower() in ("true", "1") and not ours:
            raise ConfigError(
                f"accelerate launch was told to use {key}, and hardware.{key} is not set; set it "
                "here, and launch without accelerate's own config file"
            )


def _check_deepspeed(name: str) -> None:
    if importlib.util.find_spec("deepspeed") is None:
        raise MissingDependency(
            f"hardware.deepspeed: {name} needs the package deepspeed (Linux): "
            'pip install "vlmtune[cloud]"; or use hardware.fsdp: full_shard, which needs none'
        )
    for key, value, setting in _decided(deepspeed(name)):
        raise ConfigError(
            f"hardware.deepspeed: {name} sets {key} to {value!r}, which {setting} decides; write "
            '"auto" there, or leave it out'
        )


def _decided(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    for key, setting in _OURS.items():
        if settings.get(key, "auto") != "auto":
            yield key, settings[key], setting
    for key in _FORMATS:
        if settings.get(key, {}).get("enabled", "auto") not in ("auto", False):
            yield f"{key}.enabled", settings[key]["enabled"], "training.precision"
