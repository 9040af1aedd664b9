"""Who honours each setting when this backend trains: no setting is without an entry.

A test holds the keys against the config. Where an entry names a function of `settings.py` or of
`backends/choices.py`, another value changes what it returns; where it names a module, that module
reads the setting; what is refused is refused by `config_consumers.py` or `settings.check`.
"""

from collections.abc import Mapping
from types import MappingProxyType

REFUSED = "refused"
"""What belongs to PyTorch, or to nothing that is trained here."""
_DATA = (
    "datasets", "eval_datasets", "eval_split", "max_eval_samples", "eval_fraction", "on_leak",
    "max_samples", "max_samples_per_dataset", "shuffle", "on_bad_row", "preprocessing",
    "prompt_key", "choice_key", "answer_key", "image_keys", "addresses", "cache_dir",
    "max_image_pixels",
)  # fmt: skip
_REWARD = (
    "type", "functions", "weights", "file", "format_weight", "close_count", "accuracy.scale",
    "format.tags", "explanation.alpha", "explanation.scorer", "explanation.clip_model",
    "explanation.needs_accuracy",
)  # fmt: skip
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
_SCRIPT = (
    "benchmarks", "datasets", "seed", "max_samples", "style", "protocol", "max_tokens",
)  # fmt: skip
_SCHEDULE = ("lr_scheduler", "scheduler_steps", "warmup_ratio", "warmup_steps")
_LENGTHS = ("max_length", "max_prompt_length", "on_overlong")
_LOOP = ("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "epochs", "max_steps")

HONOURED: Mapping[str, str] = MappingProxyType(
    {
        "stage": "cli",
        "backend": "backends.select",
        "seed": "passes",
        "debug": "trackers",
        "run_name": "backends.mlx.trackers",
        "output_dir": "training.run_directory",
        "resume": "training.run_folder",
        "model.name": "training.lineage",
        "model.start_from": "training.lineage",
        "model.start_adapter": "training.lineage",
        "model.tuning": "tuning",
        "model.quantization": "loading",
        "model.dtype": "loading",
        "model.attention": REFUSED,
        "model.lora.rank": "tuning",
        "model.lora.alpha": "tuning",
        "model.lora.dropout": "tuning",
        "model.lora.target_modules": "tuning",
        "model.freeze_vision": "tuning",
        "model.freeze_projector": "tuning",
        "model.freeze_language": "tuning",
        "model.min_pixels": "loading",
        "model.max_pixels": "loading",
        "model.load_backbone": REFUSED,
        **{f"model.vlm_config.{name}": REFUSED for name in _VLM},
        **{f"data.{name}": "data" for name in _DATA},
        "data.num_workers": REFUSED,
        "prompt.style": "language.prompts",
        "training.batch_size": "passes",
        "training.gradient_accumulation_steps": "passes",
        "training.global_batch_size": "passes",
        "training.learning_rate": "rates",
        "training.lr_mp": "rates",
        "training.lr_vision_backbone": "rates",
        "training.lr_language_backbone": "rates",
        "training.lr_lora": "rates",
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
        "grpo.log_completions": "training.samples",
        **{f"reward.{name}": "rewards" for name in _REWARD},
        "evaluation.strategy": "backends.mlx.trainer",
        "evaluation.steps": "backends.mlx.trainer",
        "evaluation.batch_size": "backends.mlx.sft",
        **{f"evaluation.{name}": "scripts/evaluate.py" for name in _SCRIPT},
        "save.steps": "backends.mlx.trainer",
        "save.keep": "training.train",
        "save.model_path": "training.run_folder",
        "save.processor": "backends.mlx.export",
        "save.push_to_hub": "backends.mlx.export",
        "save.hub_model_id": "backends.mlx.export",
        "rehearsal.max_samples": "config_rules",
        "rehearsal.temperatures": "training.grpo_rehearsal",
        "rehearsal.forecast_generations": "training.grpo_rehearsal",
        "rehearsal.forecast_prompts": "training.grpo_rehearsal",
        "rehearsal.train_steps": "training.trial",
        "hardware.generation_batch_size": "backends.mlx.grpo",
        **{f"hardware.{name}": REFUSED for name in _HARDWARE},
        "tracking.wandb": "trackers",
        "tracking.wandb_mode": "backends.mlx.trackers",
        "tracking.tensorboard": "trackers",
        "tracking.trackio": "trackers",
        "tracking.project": "backends.mlx.trackers",
        "tracking.entity": "backends.mlx.trackers",
        "tracking.log_steps": "backends.mlx.trainer",
        "tracking.sample_steps": "training.samples",
    }
)
"""Dotted key -> the function, the module, the room, or `REFUSED`."""
