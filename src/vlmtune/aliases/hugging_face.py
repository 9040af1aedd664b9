"""Names of transformers' and TRL's trainers, which most tools pass on.

`training: {num_train_epochs: 3}` in NanoVLM-Lab's files and `--num_train_epochs 3` in VLM-R1's
scripts are one setting, so each name of NAMES is known below `training` and by itself.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.aliases.rules import (
    Alias,
    Refusal,
    Rule,
    Rules,
    Settled,
    Spread,
    anything,
    choice,
    truth,
    whole,
    words,
)
from vlmtune.types import JSON

TRACKERS = ("tensorboard", "wandb", "trackio")
DTYPES: Mapping[JSON, JSON] = MappingProxyType(
    {
        "auto": "auto",
        "bf16": "bf16",
        "bfloat16": "bf16",
        "fp16": "fp16",
        "float16": "fp16",
        "16": "fp16",
        16: "fp16",
        "fp32": "fp32",
        "float32": "fp32",
        "32": "fp32",
        32: "fp32",
    }
)
"""Names of number formats -> ours."""


def report_to(value: JSON) -> Mapping[str, JSON]:
    """Switch on the trackers of a list; "none" and [] switch off all."""
    names = [name for name in (words(value) or []) if name not in ("none", None)]
    unknown = [name for name in names if name not in TRACKERS]
    if unknown:
        raise ValueError(f"'{unknown[0]}' is no tracker here; there are {', '.join(TRACKERS)}")
    on = {f"tracking.{name}": True for name in names}
    return on or {f"tracking.{name}": False for name in TRACKERS}


def scheduler(value: JSON) -> JSON:
    """Name a schedule our way; warm-up is a setting of its own."""
    return "constant" if value == "constant_with_warmup" else value


def resume(value: JSON) -> JSON:
    """False starts afresh, true must find a checkpoint, a path is that checkpoint."""
    if value in (None, "", "None", "none"):
        return "never"
    try:
        return "must" if truth(value) else "never"
    except ValueError:
        return value


def every(steps: JSON) -> Mapping[str, JSON]:
    """Read an interval of evaluations; 0 and less is never."""
    number = whole(steps)
    if isinstance(number, int) and number <= 0:
        return {"evaluation.strategy": "no"}
    return {"evaluation.strategy": "steps", "evaluation.steps": number}


def _deepspeed(value: JSON) -> JSON:
    """An empty text is none."""
    return None if value in ("", None) else value


NAMES: Rules = MappingProxyType(
    {
        "num_train_epochs": Alias(to="training.epochs", convert=whole),
        "per_device_train_batch_size": Alias(to="training.batch_size", convert=whole),
        "per_device_eval_batch_size": Alias(to="evaluation.batch_size", convert=whole),
        "lr_scheduler_type": Alias(to="training.lr_scheduler", convert=scheduler),
        "adam_epsilon": Alias(to="training.adam_epsilon"),
        "eval_strategy": Alias(to="evaluation.strategy"),
        "evaluation_strategy": Alias(to="evaluation.strategy"),
        "eval_steps": Alias(to="evaluation.steps", convert=whole),
        "logging_steps": Alias(to="tracking.log_steps", convert=whole),
        "logging_dir": Refusal(
            why="TensorBoard files lie in the run's folder; name that folder: output_dir"
        ),
        "save_steps": Alias(to="save.steps", convert=whole),
        "save_total_limit": Alias(to="save.keep", convert=whole),
        "save_strategy": Settled(
            accepts=lambda value: value == "steps",
            why="is how it is here",
            otherwise="checkpoints are written every save.steps updates",
        ),
        "push_to_hub": Alias(to="save.push_to_hub", convert=truth),
        "hub_model_id": Alias(to="save.hub_model_id"),
        "report_to": Spread(to=tuple(f"tracking.{name}" for name in TRACKERS), convert=report_to),
        "resume_from_checkpoint": Alias(to="resume", convert=resume),
        "overwrite_output_dir": Settled(
            accepts=lambda value: value is False,
            why="is how it is here",
            otherwise="nothing is overwritten; name another output_dir, or go on with resume: must",
        ),
        "max_seq_length": Alias(to="training.max_length", convert=whole),
        "dataloader_num_workers": Alias(to="data.num_workers", convert=whole),
        "dataset_num_proc": Settled(
            accepts=anything, why="changes nothing: rows are read in one process, lazily"
        ),
        "remove_unused_columns": Settled(
            accepts=lambda value: value is False,
            why="is how it is here: rewards get every column",
            otherwise="rewards get every column of a row; leave it out",
        ),
        "deepspeed": Alias(to="hardware.deepspeed", convert=_deepspeed),
        "attn_implementation": Alias(to="model.attention"),
        "torch_dtype": Alias(to="model.dtype", convert=choice(DTYPES)),
        "optim": Settled(
            accepts=lambda value: value in ("adamw", "adamw_torch", "adamw_torch_fused"),
            why="is how it is here",
            otherwise="the optimizer is AdamW; its settings are training.adam_beta1 and so on",
        ),
    }
)
"""A trainer's name of a setting -> what becomes of it."""

ROOT: Rules = MappingProxyType(
    {
        "learning_rate": Alias(to="training.learning_rate"),
        "gradient_accumulation_steps": Alias(
            to="training.gradient_accumulation_steps", convert=whole
        ),
        "gradient_checkpointing": Alias(to="training.gradient_checkpointing", convert=truth),
        "max_steps": Alias(to="training.max_steps", convert=whole),
        "warmup_ratio": Alias(to="training.warmup_ratio"),
        "warmup_steps": Alias(to="training.warmup_steps", convert=whole),
        "weight_decay": Alias(to="training.weight_decay"),
        "max_grad_norm": Alias(to="training.max_grad_norm"),
        "max_length": Alias(to="training.max_length", convert=whole),
        "max_prompt_length": Alias(to="training.max_prompt_length", convert=whole),
        "num_generations": Alias(to="grpo.num_generations", convert=whole),
        "max_completion_length": Alias(to="grpo.max_completion_length", convert=whole),
        "temperature": Alias(to="grpo.temperature"),
        "beta": Alias(to="grpo.beta"),
        "epsilon": Alias(to="grpo.epsilon"),
        "epsilon_high": Alias(to="grpo.epsilon_high"),
        "num_iterations": Alias(to="grpo.num_iterations", convert=whole),
        "scale_rewards": Alias(to="grpo.scale_rewards"),
        "reward_funcs": Alias(to="reward.functions", convert=words),
        "reward_weights": Alias(to="reward.weights"),
        "use_vllm": Alias(to="hardware.use_vllm", convert=truth),
        "vllm_gpu_memory_utilization": Alias(to="hardware.vllm_gpu_memory_utilization"),
        "model_name_or_path": Alias(to="model.name"),
        "lora_r": Alias(to="model.lora.rank", convert=whole),
        "lora_alpha": Alias(to="model.lora.alpha"),
        "lora_dropout": Alias(to="model.lora.dropout"),
        "lora_target_modules": Alias(to="model.lora.target_modules", convert=words),
        "data_seed": Alias(to="seed", convert=whole),
    }
)
"""Names that are flags of a script; below `training` they are ours already or mean nothing."""


def _below_training() -> dict[str, Rule]:
    # adam_epsilon is ours below training; by itself it needs the section.
    return {f"training.{name}": rule for name, rule in NAMES.items() if name != "adam_epsilon"}


RULES: Rules = MappingProxyType(
    {
        **NAMES,
        **ROOT,
        **_below_training(),
        "training.seed": Alias(to="seed"),
        "training.run_name": Alias(to="run_name"),
        "training.output_dir": Alias(to="output_dir"),
    }
)
