"""Who honours a setting on every backend that trains; the rest stands in each `honoured.py`.

Entries are written as there: a function of settings.py or choices.py, a module, or a room.
"""

from collections.abc import Mapping
from types import MappingProxyType

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
_SCRIPT = (
    "benchmarks", "datasets", "seed", "max_samples", "style", "protocol", "max_tokens",
)  # fmt: skip

ALIKE: Mapping[str, str] = MappingProxyType(
    {
        "stage": "cli",
        "backend": "backends.select",
        "output_dir": "training.run_directory",
        "model.start_from": "training.lineage",
        "model.start_adapter": "training.lineage",
        "model.tuning": "tuning",
        "model.quantization": "loading",
        "model.dtype": "loading",
        "model.lora.rank": "tuning",
        "model.lora.alpha": "tuning",
        "model.lora.dropout": "tuning",
        "model.lora.target_modules": "tuning",
        "model.freeze_vision": "tuning",
        "model.freeze_projector": "tuning",
        "model.freeze_language": "tuning",
        "model.min_pixels": "loading",
        "model.max_pixels": "loading",
        **{f"data.{name}": "data" for name in _DATA},
        "prompt.style": "language.prompts",
        "training.learning_rate": "rates",
        "training.lr_mp": "rates",
        "training.lr_vision_backbone": "rates",
        "training.lr_language_backbone": "rates",
        "training.lr_lora": "rates",
        "grpo.log_completions": "training.samples",
        **{f"reward.{name}": "rewards" for name in _REWARD},
        **{f"evaluation.{name}": "scripts/evaluate.py" for name in _SCRIPT},
        "save.push_to_hub": "backends.hub",
        "save.hub_model_id": "backends.hub",
        "rehearsal.train_steps": "training.trial",
        "tracking.sample_steps": "training.samples",
    }
)
"""Dotted key -> who honours it, whatever the engine."""
