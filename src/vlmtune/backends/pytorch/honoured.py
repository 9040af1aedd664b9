"""Who honours each setting when this backend trains: no setting is without an entry.

A test holds the keys against the config and, where the entry names a function of `settings.py` or
of `backends/choices.py`, that another value changes what the function returns.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.backends.honoured import ALIKE

_GRPO = (
    "num_generations", "temperature", "top_p", "top_k", "max_completion_length", "scale_rewards",
    "loss_type", "importance_sampling_level", "beta", "epsilon", "epsilon_high", "delta",
    "sapo_temperature_pos", "sapo_temperature_neg", "num_iterations", "mask_truncated_completions",
    "resample_flat_groups", "disable_dropout",
)  # fmt: skip
_VLM = (
    "vit_model_type", "lm_model_type", "lm_tokenizer", "vit_img_size", "max_img_size",
    "mp_image_token_length",
)  # fmt: skip

HONOURED: Mapping[str, str] = MappingProxyType(
    {
        **ALIKE,
        "seed": "arguments",
        "debug": "arguments",
        "run_name": "arguments",
        "resume": "training.resume",
        "model.name": "models.resolve",
        "model.attention": "loading",
        "model.load_backbone": "config_consumers",
        **{f"model.vlm_config.{name}": "config_consumers" for name in _VLM},
        "data.num_workers": "arguments",
        "training.epochs": "arguments",
        "training.max_steps": "arguments",
        "training.batch_size": "arguments",
        "training.gradient_accumulation_steps": "arguments",
        "training.global_batch_size": "arguments",
        "training.lr_scheduler": "trainer",
        "training.scheduler_steps": "trainer",
        "training.warmup_ratio": "trainer",
        "training.warmup_steps": "trainer",
        "training.adam_beta1": "arguments",
        "training.adam_beta2": "arguments",
        "training.adam_epsilon": "arguments",
        "training.weight_decay": "arguments",
        "training.max_grad_norm": "arguments",
        "training.precision": "arguments",
        "training.gradient_checkpointing": "arguments",
        "training.max_length": "backends.lengths",
        "training.max_prompt_length": "backends.lengths",
        "training.on_overlong": "backends.lengths",
        "dpo.beta": "dpo_arguments",
        "dpo.loss_type": "dpo_arguments",
        "dpo.label_smoothing": "dpo_arguments",
        "dpo.sft_weight": "dpo_arguments",
        **{f"grpo.{name}": "grpo_settings" for name in _GRPO},
        "grpo.resample_flat_groups": "backends.rollouts",
        "evaluation.strategy": "arguments",
        "evaluation.steps": "arguments",
        "evaluation.batch_size": "arguments",
        "save.steps": "arguments",
        "save.keep": "training.checkpoints",
        "save.model_path": "training.run_directory",
        "save.processor": "export",
        "rehearsal.max_samples": "training.rehearsal",
        "rehearsal.temperatures": "training.rehearsal",
        "rehearsal.forecast_generations": "training.rehearsal",
        "rehearsal.forecast_prompts": "training.rehearsal",
        "hardware.generation_batch_size": "generate",
        "hardware.device": "loading",
        "hardware.gpus": "environment",
        "hardware.processes": "check",
        "hardware.nodes": "check",
        "hardware.fsdp": "check",
        "hardware.deepspeed": "check",
        "hardware.ds_skip_cuda_check": "environment",
        "hardware.use_vllm": "grpo_settings",
        "hardware.vllm_mode": "grpo_settings",
        "hardware.vllm_gpu_memory_utilization": "grpo_settings",
        "hardware.vllm_server_url": "grpo_settings",
        "tracking.wandb": "arguments",
        "tracking.wandb_mode": "environment",
        "tracking.tensorboard": "arguments",
        "tracking.trackio": "arguments",
        "tracking.project": "arguments",
        "tracking.entity": "environment",
        "tracking.log_steps": "arguments",
    }
)
"""Dotted key -> the function of `settings.py` or `choices.py`, the module, or the room."""
