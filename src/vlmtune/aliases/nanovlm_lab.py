"""NanoVLM-Lab: `training_type`, `dataset`, `training`, `save`, `logging`.

    training_type: grpo
    model: {model_name_or_path: some/model, use_lora: true, lora_config: {r: 16}}
    dataset: {train_data_path: rows.jsonl, reward_functions_fn: reward_functions.py}

What its `training` section says is in hugging_face.py.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.aliases.hugging_face import TRACKERS, report_to
from vlmtune.aliases.rules import (
    Alias,
    Rules,
    Spread,
    sources_or_none,
    truth,
)
from vlmtune.types import JSON, Stage

INITIALIZE = "initialize"
"""The model's name that asks for a new nanoVLM."""


def tuning(value: JSON) -> JSON:
    """True trains LoRA adapters, false the weights themselves."""
    return "lora" if truth(value) else "full"


def _stage_of_format(value: JSON) -> JSON:
    """Vqa is sft, preference is dpo, grpo is grpo."""
    stages = {"vqa": Stage.SFT, "preference": Stage.DPO, "grpo": Stage.GRPO}
    if value not in stages:
        raise ValueError(f"expected one of {', '.join(stages)}")
    return stages[value].value


def _initialize(value: JSON) -> Mapping[str, JSON]:
    """True asks for a new nanoVLM."""
    return {"model.name": INITIALIZE} if truth(value) else {}


def precision(name: str) -> Spread:
    """Read `bf16` or `fp16`, a switch of mixed precision."""

    def convert(value: JSON) -> Mapping[str, JSON]:
        """True computes in this format; bf16: false computes in fp32."""
        if truth(value):
            return {"training.precision": name}
        return {"training.precision": "fp32"} if name == "bf16" else {}

    return Spread(
        to=("training.precision",),
        convert=convert,
        nothing="asks for nothing; training.precision says in which format is computed",
    )


ALSO = (
    "model.load_backbone", "model.vlm_config.vit_model_type", "model.vlm_config.lm_model_type",
    "model.vlm_config.lm_tokenizer", "model.vlm_config.vit_img_size",
    "model.vlm_config.max_img_size", "model.vlm_config.mp_image_token_length",
    "training.output_dir", "training.num_train_epochs", "training.per_device_train_batch_size",
    "training.gradient_accumulation_steps", "training.learning_rate", "training.lr_mp",
    "training.lr_vision_backbone", "training.lr_language_backbone", "training.lr_lora",
    "training.warmup_ratio", "training.weight_decay", "training.max_grad_norm",
    "training.lr_scheduler_type", "training.eval_strategy", "training.eval_steps", "dpo.beta",
    "dpo.label_smoothing", "grpo.num_generations", "grpo.max_completion_length",
    "grpo.temperature", "grpo.top_p", "grpo.loss_type", "grpo.importance_sampling_level",
    "grpo.mask_truncated_completions", "grpo.beta", "grpo.epsilon", "grpo.epsilon_high",
    "grpo.delta", "grpo.sapo_temperature_pos", "grpo.sapo_temperature_neg", "grpo.scale_rewards",
    "grpo.disable_dropout", "grpo.log_completions",
)  # fmt: skip
"""Keys of this tool that are ours as they are, or are in another table."""

RULES: Rules = MappingProxyType(
    {
        "training_type": Alias(to="stage"),
        "model.model_name_or_path": Alias(to="model.name"),
        "model.use_lora": Alias(to="model.tuning", convert=tuning),
        "model.initialize_from_config": Spread(
            to=("model.name",), convert=_initialize, nothing="loads model.name as it is"
        ),
        "model.lora_config.r": Alias(to="model.lora.rank"),
        "model.lora_config.lora_alpha": Alias(to="model.lora.alpha"),
        "model.lora_config.lora_dropout": Alias(to="model.lora.dropout"),
        "model.lora_config.target_modules": Alias(to="model.lora.target_modules"),
        "dataset.train_data_path": Alias(to="data.datasets.0.name"),
        "dataset.train_split": Alias(to="data.datasets.0.split"),
        "dataset.eval_data_path": Alias(to="data.eval_datasets", convert=sources_or_none),
        "dataset.eval_split": Alias(to="data.eval_split"),
        "dataset.dataset_format": Alias(to="stage", convert=_stage_of_format),
        "dataset.preprocessing_fn": Alias(to="data.preprocessing"),
        "dataset.reward_functions_fn": Alias(to="reward.file"),
        "training.bf16": precision("bf16"),
        "training.fp16": precision("fp16"),
        "dpo.dpo_loss_type": Alias(to="dpo.loss_type"),
        "grpo.max_prompt_length": Alias(to="training.max_prompt_length"),
        "grpo.reward_weights": Alias(to="reward.weights"),
        "save.save_model_path": Alias(to="save.model_path"),
        "save.save_tokenizer": Alias(to="save.processor", convert=truth),
        "save.save_image_processor": Alias(to="save.processor", convert=truth),
        "logging.use_wandb": Alias(to="tracking.wandb", convert=truth),
        "logging.report_to": Spread(
            to=tuple(f"tracking.{name}" for name in TRACKERS), convert=report_to
        ),
        "logging.wandb_project": Alias(to="tracking.project"),
        "logging.wandb_entity": Alias(to="tracking.entity"),
    }
)
