"""What settings mean together: facts that both backends must agree on, and pairs that exclude.

clash        two settings that cannot both be honoured
unused       a setting that another one switches off
frozen       which parts of the model keep their weights
accumulation how many batches make an update
rehearsed    how many rows a rehearsal looks at
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vlmtune.aliases.nanovlm_lab import INITIALIZE
from vlmtune.config import GrpoConfig, ModelConfig, RunConfig, TrainingConfig
from vlmtune.errors import ConfigError

PARTS = ("vision", "projector", "language")
"""Of a vision-language model: encoder, what lies between, language model."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Two settings that exclude each other.

    Attributes:
        key: The one to change.
        why: What excludes it and what to do, as the end of a sentence.
    """

    key: str
    why: str


def frozen(config: RunConfig) -> frozenset[str]:
    """Say which of PARTS keep their weights and get no adapters.

    Under lora and dora the vision encoder and the projector are left alone unless their learning
    rate is set; under full they are trained. A rate of 0 freezes; an explicit freeze_* decides.
    """
    return frozenset(part for part in PARTS if _is_frozen(part, config.model, config.training))


def accumulation(training: TrainingConfig, *, devices: int) -> int:
    """Say how many batches of a device make one update.

    Args:
        training: The config's section.
        devices: Processes that train together, on all machines.

    Raises:
        ConfigError: If global_batch_size cannot be divided among them.
    """
    whole, once = training.global_batch_size, training.batch_size * devices
    if whole is None:
        return training.gradient_accumulation_steps
    if whole % once:
        raise ConfigError(
            f"training.global_batch_size {whole} cannot be divided into batches of "
            f"training.batch_size {training.batch_size} on {devices} devices ({once} at once); "
            f"use a multiple of {once}"
        )
    return whole // once


def rehearsed(config: RunConfig) -> RunConfig:
    """Let a rehearsal look at a few rows where the run itself takes all."""
    if config.data.max_samples is not None:
        return config
    few = config.data.model_copy(update={"max_samples": config.rehearsal.max_samples})
    return config.model_copy(update={"data": few})


def clash(config: RunConfig) -> Clash | None:
    """Find the first pair of settings that cannot both be honoured."""
    return next(_clashes(config), None)


def unused(config: RunConfig) -> tuple[str, ...]:
    """Say which settings another one switches off, one phrase each."""
    return tuple(_unused(config))


def _is_frozen(part: str, model: ModelConfig, training: TrainingConfig) -> bool:
    explicit, rate = _part(part, model, training)
    if explicit is not None and (part != "language" or explicit):
        return explicit
    if rate is not None:
        return rate == 0
    return part != "language" and model.tuning != "full"


def _part(
    part: str, model: ModelConfig, training: TrainingConfig
) -> tuple[bool | None, float | None]:
    return {
        "vision": (model.freeze_vision, training.lr_vision_backbone),
        "projector": (model.freeze_projector, training.lr_mp),
        "language": (model.freeze_language, training.lr_language_backbone),
    }[part]


def _clashes(config: RunConfig) -> Iterator[Clash]:
    yield from _model_clashes(config)
    yield from _training_clashes(config)
    yield from _grpo_clashes(config.grpo)
    dpo, save, hardware = config.dpo, config.save, config.hardware
    if dpo.label_smoothing and dpo.loss_type not in ("sigmoid", "robust"):
        yield Clash(
            "dpo.label_smoothing",
            f"loss {dpo.loss_type} has none; use sigmoid (then it is cDPO) or robust, or leave it",
        )
    if save.push_to_hub and save.hub_model_id is None:
        yield Clash("save.push_to_hub", "where to? Set save.hub_model_id: owner/name")
    if hardware.gpus is not None and hardware.processes not in (1, len(hardware.gpus)):
        yield Clash(
            "hardware.processes",
            f"{hardware.processes} processes and {len(hardware.gpus)} GPUs in hardware.gpus; "
            "one process drives one GPU",
        )
    if hardware.deepspeed is not None and hardware.fsdp != "no":
        yield Clash("hardware.fsdp", "hardware.deepspeed shards already; keep one of the two")
    if hardware.use_vllm and hardware.vllm_mode == "server" and hardware.vllm_server_url is None:
        yield Clash("hardware.vllm_mode", "which server? Set hardware.vllm_server_url")


def _model_clashes(config: RunConfig) -> Iterator[Clash]:
    model, training = config.model, config.training
    if model.name == INITIALIZE:
        yield Clash(
            "model.name",
            "'initialize' builds a new nanoVLM, which no backend here can train; name a model "
            "that transformers loads, such as pico or HuggingFaceTB/SmolVLM-256M-Instruct",
        )
    if model.quantization != "none" and model.tuning == "full":
        yield Clash(
            "model.quantization",
            f"{model.quantization} weights cannot be trained themselves; use model.tuning: lora, "
            "or quantization: none",
        )
    names = {
        "vision": "lr_vision_backbone",
        "projector": "lr_mp",
        "language": "lr_language_backbone",
    }
    for part in PARTS:
        explicit, rate = _part(part, model, training)
        if explicit and rate:
            yield Clash(
                f"training.{names[part]}", f"model.freeze_{part} is true; leave out one of the two"
            )
        if explicit is False and rate == 0 and part != "language":
            yield Clash(
                f"training.{names[part]}",
                f"0 freezes, and model.freeze_{part} is false; leave out one of the two",
            )
    if frozen(config) == frozenset(PARTS):
        yield Clash("model.freeze_language", "all parts are frozen, so nothing would be trained")
    if model.min_pixels and model.max_pixels and model.min_pixels > model.max_pixels:
        yield Clash("model.min_pixels", f"more than model.max_pixels {model.max_pixels}")


def _training_clashes(config: RunConfig) -> Iterator[Clash]:
    training = config.training
    if training.global_batch_size is not None:
        if training.gradient_accumulation_steps != 1:
            yield Clash(
                "training.global_batch_size",
                "says how many batches make an update, and so does "
                f"training.gradient_accumulation_steps {training.gradient_accumulation_steps}; "
                "keep one",
            )
        if training.global_batch_size % training.batch_size:
            yield Clash(
                "training.global_batch_size",
                f"{training.global_batch_size} is no multiple of training.batch_size "
                f"{training.batch_size}",
            )
    if training.warmup_steps is not None and training.warmup_ratio:
        yield Clash(
            "training.warmup_ratio",
            f"training.warmup_steps {training.warmup_steps} says the same otherwise; keep one",
        )
    if training.lr_lora is not None and config.model.tuning == "full":
        yield Clash("training.lr_lora", "model.tuning is full, which has no adapters; leave it out")
    longest = training.max_length
    if longest is not None and (training.max_prompt_length or 0) > longest:
        yield Clash("training.max_prompt_length", f"more than training.max_length {longest}")


def _grpo_clashes(grpo: GrpoConfig) -> Iterator[Clash]:
    if grpo.epsilon_high is not None and grpo.epsilon_high < grpo.epsilon:
        yield Clash(
            "grpo.epsilon_high", f"less than grpo.epsilon {grpo.epsilon}; the upper clip is wider"
        )
    if grpo.delta is not None and grpo.delta <= 1 + grpo.epsilon:
        yield Clash(
            "grpo.delta",
            f"a cap below 1 + grpo.epsilon ({1 + grpo.epsilon:g}) would cut what is clipped "
            "already; use a larger one",
        )
    if grpo.epsilon >= 1 and grpo.loss_type not in ("cispo", "sapo"):
        yield Clash("grpo.epsilon", "1 - epsilon must stay above 0; use less than 1")


def _unused(config: RunConfig) -> Iterator[str]:
    grpo, hardware, usual = config.grpo, config.hardware, GrpoConfig()
    gates = ("sapo_temperature_pos", "sapo_temperature_neg")
    if grpo.loss_type != "sapo":
        for name in gates:
            if getattr(grpo, name) != getattr(usual, name):
                yield f"grpo.{name} counts with loss_type sapo only, and it is {grpo.loss_type}"
    else:
        for name in ("epsilon", "epsilon_high", "delta"):
            if getattr(grpo, name) != getattr(usual, name):
                yield f"grpo.{name} has no use in loss_type sapo, which clips nothing"
    if grpo.loss_type == "cispo" and grpo.delta is not None:
        yield "grpo.delta has no use in loss_type cispo, which caps the ratio at epsilon_high"
    if not hardware.use_vllm:
        for name in ("vllm_mode", "vllm_gpu_memory_utilization", "vllm_server_url"):
            if getattr(hardware, name) != type(hardware).model_fields[name].default:
                yield f"hardware.{name} waits for hardware.use_vllm: true"
    if config.save.hub_model_id is not None and not config.save.push_to_hub:
        yield "save.hub_model_id waits for save.push_to_hub: true"
    if not config.tracking.wandb and config.tracking.wandb_mode != "online":
        yield "tracking.wandb_mode waits for tracking.wandb: true"
