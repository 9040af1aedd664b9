"""Who honours each setting when this backend trains: no setting is without an entry.

A test holds the keys against the config. Where an entry names a function of `settings.py` or of
`backends/choices.py`, another value changes what it returns; where it names a module, that module
reads the setting; what is refused is refused by `config_consumers.py` or `settings.check`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.backends.honoured import ALIKE

REFUSED = "refused"
"""What is trained nowhere."""
ELSEWHERE = "elsewhere"
"""On what and how fast PyTorch trains: said to the user, and left out here."""
_DPO = ("beta", "loss_type", "label_smoothing", "sft_weight")
_POLICY = (
    "temperature", "top_p", "top_k", "max_completion_length", "loss_type",
    "importance_sampling_level", "beta", "epsilon", "epsilon_high", "delta",
    "sapo_temperature_pos", "sapo_temperature_neg",
)  # fmt: skip
_GRPO = (
    "scale_rewards", "num_iterations", "mask_truncated_completions", "resample_flat_groups",
    "disable_dropout",
)  # fmt: skip
_VLM = (
    "vit_model_type", "lm_model_type", "lm_tokenizer", "vit_img_size", "max_img_size",
    "mp_image_token_length",
)  # fmt: skip
_HARDWARE = (
    "device", "gpus", "processes", "nodes", "fsdp", "deepspeed", "ds_skip_cuda_check", "use_vllm",
    "vllm_mode", "vllm_gpu_memory_utilization", "vllm_server_url",
)  # fmt: skip
_SCHEDULE = ("lr_scheduler", "scheduler_steps", "warmup_ratio", "warmup_steps")
_LENGTHS = ("max_length", "max_prompt_length", "on_overlong")
_LOOP = ("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "epochs", "max_steps")

HONOURED: Mapping[str, str] = MappingProxyType(
    {
        **ALIKE,
        "seed": "passes",
        "debug": "trackers",
        "run_name": "backends.mlx.trackers",
        "resume": "training.run_folder",
        "model.name": "training.lineage",
        "model.attention": ELSEWHERE,
        "model.load_backbone": REFUSED,
        **{f"model.vlm_config.{name}": REFUSED for name in _VLM},
        "data.num_workers": ELSEWHERE,
        "training.batch_size": "passes",
        "training.gradient_accumulation_steps": "passes",
        "training.global_batch_size": "passes",
        **{f"training.{name}": "backends.schedule" for name in _SCHEDULE},
        **{f"training.{name}": "backends.mlx.trainer" for name in _LOOP},
        "training.weight_decay": "backends.mlx.learner",
        "training.precision": "loading",
        "training.gradient_checkpointing": "backends.mlx.opening",
        **{f"training.{name}": "backends.lengths" for name in _LENGTHS},
        **{f"dpo.{name}": "backends.mlx.dpo" for name in _DPO},
        "grpo.num_generations": "backends.groups",
        **{f"grpo.{name}": "backends.policy" for name in _POLICY},
        **{f"grpo.{name}": "backends.mlx.grpo" for name in _GRPO},
        "evaluation.strategy": "backends.mlx.trainer",
        "evaluation.steps": "backends.mlx.trainer",
        "evaluation.batch_size": "backends.mlx.sft",
        "save.steps": "backends.mlx.trainer",
        "save.keep": "training.train",
        "save.model_path": "training.run_folder",
        "save.processor": "backends.mlx.export",
        "rehearsal.max_samples": "config_rules",
        "rehearsal.temperatures": "training.grpo_rehearsal",
        "rehearsal.forecast_generations": "training.grpo_rehearsal",
        "rehearsal.forecast_prompts": "training.grpo_rehearsal",
        "hardware.generation_batch_size": "backends.mlx.grpo",
        **{f"hardware.{name}": ELSEWHERE for name in _HARDWARE},
        "tracking.wandb": "trackers",
        "tracking.wandb_mode": "backends.mlx.trackers",
        "tracking.tensorboard": "trackers",
        "tracking.trackio": "trackers",
        "tracking.project": "backends.mlx.trackers",
        "tracking.entity": "backends.mlx.trackers",
        "tracking.log_steps": "backends.mlx.trainer",
    }
)
"""Dotted key -> the function, the module, the room, `REFUSED` or `ELSEWHERE`."""
