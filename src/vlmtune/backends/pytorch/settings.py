"""From the config to what TRL, transformers and peft take; or a refusal, before anything loads.

    check(config)                                       raises for what cannot be honoured here,
                                                        beyond what config_rules.py says of all
    loading(config)                                     for model.py; tuning and rates, which
                                                        both engines share, are in choices.py
    arguments(config, folder=folder)                    what every TRL config shares

Every argument whose default has a meaning is passed, so that a library's new default changes
nothing here. `backends/pytorch/honoured.py` says for each setting who honours it.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from vlmtune import config_rules
from vlmtune.backends import settings as shared
from vlmtune.backends.pytorch import engines
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, MissingDependency
from vlmtune.types import Stage


def check(config: RunConfig) -> None:
    """Refuse what this backend cannot honour; no model is loaded and PyTorch is not imported.

    Raises:
        ConfigError: One line about the first setting that cannot be honoured, or contradicts
            another.
        MissingDependency: If a setting needs a library that is not installed.
    """
    _check_model(config)
    shared.check_parts(config)
    _check_machine(config)
    accumulation(config)


def _check_model(config: RunConfig) -> None:
    model = config.model
    _check_start(config)
    shared.check_dtype(config)
    needed = {"flash_attention_2": "flash_attn"}.get(model.attention)
    if needed and importlib.util.find_spec(needed) is None:
        raise MissingDependency(
            f"model.attention: {model.attention} needs the package {needed}, which is not "
            "installed; use sdpa"
        )
    if model.quantization != "none" and importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency(
            f"model.quantization: {model.quantization} needs bitsandbytes; install vlmtune[cuda], "
            "or set it to none"
        )


def _check_start(config: RunConfig) -> None:
    model, hardware = config.model, config.hardware
    if model.start_adapter == "stack" and (hardware.fsdp != "no" or hardware.deepspeed is not None):
        raise ConfigError(
            "model.start_adapter: stack holds a part of each weight still, which engines that "
            "divide weights among processes cannot; use continue or merge, or leave "
            "hardware.deepspeed and hardware.fsdp out"
        )
    shared.check_start(config)


def _check_machine(config: RunConfig) -> None:
    hardware = config.hardware
    _check_processes(config)
    engines.check(config)
    if config.training.precision == "fp16" and hardware.device in ("cpu", "mps"):
        raise ConfigError(
            f"training.precision: fp16 trains on CUDA only, and hardware.device is "
            f"{hardware.device}; use fp32"
        )
    shared.check_trackers(config)


def _check_processes(config: RunConfig) -> None:
    """Hold the processes that were started, if any were, against those that are asked for."""
    hardware, started = config.hardware, os.environ.get("WORLD_SIZE")
    wanted = hardware.processes * hardware.nodes
    if started is None and hardware.nodes > 1:
        raise ConfigError(
            f"hardware.nodes is {hardware.nodes}, and machines are started one by one; on each: "
            f"torchrun --nnodes {hardware.nodes} --nproc_per_node {hardware.processes} "
            "--rdzv_backend c10d --rdzv_endpoint FIRST_HOST:29500 "
            f"scripts/train_{config.stage.value}.py ..."
        )
    if started is not None and int(started) != wanted:
        raise ConfigError(
            f"{started} processes were started, and hardware.processes {hardware.processes} times "
            f"hardware.nodes {hardware.nodes} is {wanted}; make them agree, or leave both out"
        )


def notes(config: RunConfig) -> list[str]:
    """Say which settings have no effect in this run, and why; none is ignored in silence."""
    found = engines.notes(config)
    if config.hardware.use_vllm and config.stage is not Stage.GRPO:
        found.append(f"hardware.use_vllm has no effect: {config.stage.value} draws no completions")
    found += shared.notes(config)
    return found


def world_size(config: RunConfig) -> int:
    """Count the processes that train together, on all machines."""
    return config.hardware.processes * config.hardware.nodes


def accumulation(config: RunConfig) -> int:
    """Count the batches that make one update.

    Raises:
        ConfigError: If `training.global_batch_size` cannot be divided among the processes.
    """
    return config_rules.accumulation(config.training, devices=world_size(config))


def loading(config: RunConfig) -> Loading:
    """How to load the model.

    Weights that are trained themselves are kept in fp32 unless another format is asked for: most
    steps are smaller than what bf16 can add to a weight.
    """
    model = config.model
    dtype = "fp32" if model.tuning == "full" and model.dtype == "auto" else model.dtype
    return Loading(
        device=config.hardware.device,
        dtype=dtype,
        attention=model.attention,
        quantization=model.quantization,
        waits=engines.divides_weights(config),
        min_pixels=model.min_pixels,
        max_pixels=model.max_pixels,
    )


def arguments(config: RunConfig, *, folder: Path, device: str) -> dict[str, Any]:
    """Write what all TRL configs share.

    Args:
        config: A checked config.
        folder: Where the trainer keeps what it is writing.
        device: "cuda", "cpu" or "mps", as the model was loaded.

    Returns:
        Keyword arguments of SFTConfig, DPOConfig and GRPOConfig.
    """
    training, tracking = config.training, config.tracking
    return {
        "output_dir": str(folder),
        "seed": config.seed,
        "data_seed": config.seed,
        "full_determinism": False,
        "use_cpu": device == "cpu",
        "num_train_epochs": training.epochs,
        "max_steps": -1 if training.max_steps is None else training.max_steps,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": accumulation(config),
        "learning_rate": training.learning_rate,
        **_optimizer(config),
        **_precision(config, device),
        **engines.arguments(config),
        "gradient_checkpointing": training.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "torch_compile": False,
        "use_liger_kernel": False,
        "logging_strategy": "steps",
        "logging_steps": tracking.log_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "report_to": shared.trackers(config),
        "run_name": config.run_name or config.stage.value,
        "project": tracking.project,
        "disable_tqdm": True,
        "log_level": "error",
        **_evaluation_and_saving(config),
        "dataloader_num_workers": config.data.num_workers,
        "dataloader_drop_last": False,
        "dataloader_pin_memory": device == "cuda",
        "remove_unused_columns": False,
    }


def _optimizer(config: RunConfig) -> dict[str, Any]:
    training = config.training
    return {
        "optim": "adamw_torch",
        "adam_beta1": training.adam_beta1,
        "adam_beta2": training.adam_beta2,
        "adam_epsilon": training.adam_epsilon,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "label_smoothing_factor": 0.0,
        "average_tokens_across_devices": True,
    }


def _evaluation_and_saving(config: RunConfig) -> dict[str, Any]:
    evaluation = config.evaluation
    return {
        "eval_strategy": evaluation.strategy,
        "eval_steps": evaluation.steps if evaluation.strategy == "steps" else None,
        "per_device_eval_batch_size": evaluation.batch_size,
        "prediction_loss_only": True,
        "save_strategy": "steps",
        "save_steps": config.save.steps,
        "save_only_model": False,
        "save_total_limit": None,
        "load_best_model_at_end": False,
        "push_to_hub": False,
    }


def _precision(config: RunConfig, device: str) -> dict[str, bool]:
    """Choose the number format of the computation; the device decides for auto."""
    wanted = config.training.precision
    if wanted == "auto":
        from vlmtune.backends.pytorch.devices import choose_dtype

        name = str(choose_dtype("auto", device=device)).rpartition(".")[2]
        wanted = "bf16" if name == "bfloat16" else "fp32"
    return {"bf16": wanted == "bf16", "fp16": wanted == "fp16"}


def environment(config: RunConfig, *, folder: Path) -> dict[str, str]:
    """Write the environment variables that libraries read before or while they train.

    Args:
        config: A checked config.
        folder: The run's folder.
    """
    found = {"TOKENIZERS_PARALLELISM": "false", "TENSORBOARD_LOGGING_DIR": str(folder / "logs")}
    if config.hardware.gpus is not None and world_size(config) == 1:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.hardware.gpus))
    if config.hardware.ds_skip_cuda_check:
        found["DS_SKIP_CUDA_CHECK"] = "1"
    if config.tracking.wandb:
        found["WANDB_MODE"] = config.tracking.wandb_mode
        found["WANDB_PROJECT"] = config.tracking.project
        if config.tracking.entity:
            found["WANDB_ENTITY"] = config.tracking.entity
    return found


def sft_arguments(config: RunConfig, *, folder: Path, device: str) -> dict[str, Any]:
    """Write the keyword arguments of SFTConfig."""
    return arguments(config, folder=folder, device=device) | {
        "loss_type": "nll",
        "packing": False,
        "padding_free": False,
        "completion_only_loss": True,
        "assistant_only_loss": False,
        "max_length": None,  # our own policy has dealt with long rows; nothing is cut
        "shuffle_dataset": False,
        "activation_offloading": False,
    }


def dpo_arguments(config: RunConfig, *, folder: Path, device: str) -> dict[str, Any]:
    """Write the keyword arguments of DPOConfig.

    TRL leaves label_smoothing out of its sigmoid loss. Conservative DPO is a sum of two losses that
    it does have, with e the smoothing and z the margin:

        cdpo = -(1 - e) log s(z) - e log s(-z)   =   2 (1 - e) sigmoid - (1 - 2 e) robust

    Source: Mitchell 2023, A note on DPO with noisy preferences, equation 3 (cDPO); Chowdhury et
        al. 2024, arXiv:2403.00409, equation 11 (robust).
    """
    dpo, smoothing = config.dpo, config.dpo.label_smoothing
    losses: list[str] = [dpo.loss_type]
    weights = [1.0]
    if dpo.loss_type == "sigmoid" and smoothing:
        losses, weights = ["sigmoid", "robust"], [2 * (1 - smoothing), 2 * smoothing - 1]
    if dpo.sft_weight:
        losses, weights = [*losses, "sft"], [*weights, dpo.sft_weight]
    return arguments(config, folder=folder, device=device) | {
        "beta": dpo.beta,
        "loss_type": losses,
        "loss_weights": weights,
        "label_smoothing": smoothing,
        "f_divergence_type": "reverse_kl",
        "use_weighting": False,
        "ld_alpha": None,
        "disable_dropout": True,
        "max_length": None,
        "precompute_ref_log_probs": False,
        "sync_ref_model": False,
        "padding_free": False,
        "activation_offloading": False,
    }
