"""RLinf's supervised fine-tuning of VLMs: `runner`, `data`, `actor`, with Hydra around it.

runner: {task_type: sft, max_epochs: 1, save_interval: 1000}
data: {dataset_name: robo2vlmsft, train_data_paths: /data/robots}
actor: {micro_batch_size: 4, global_batch_size: 256, model: {model_path: /models/qwen}}
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.aliases.hugging_face import DTYPES, TRACKERS, every, report_to, scheduler
from vlmtune.aliases.rules import (
    Alias,
    Refusal,
    Rules,
    Settled,
    Spread,
    Translation,
    anything,
    choice,
    only,
    sources,
    sources_or_none,
    truth,
)
from vlmtune.types import JSON

_LOADERS: Mapping[JSON, str] = MappingProxyType({"robo2vlmsft": "robo2vlm"})
"""Its names of loaders -> ours."""
_CONVERTER = Refusal(
    why="this is the file of a checkpoint converter, not of a run; give it to "
    "scripts/convert.py --config"
)


def name_loader(values: dict[str, JSON]) -> tuple[Translation, ...]:
    """Read a loader's name and the paths it is to read as what they are here: name and option."""
    data = values.get("data")
    paths = ("train_data_paths", "eval_data_paths")
    if not isinstance(data, dict) or "dataset_name" not in data or not set(paths) & set(data):
        return ()
    written = data.pop("dataset_name")
    name = _LOADERS.get(written, written) if isinstance(written, str) else written
    for key in paths:
        if data.get(key) is not None:
            data[key] = [
                {"name": name, "options": {"path": path}} if isinstance(path, str) else path
                for path in (data[key] if isinstance(data[key], list) else [data[key]])
            ]
    return (Translation(written="data.dataset_name", read="data.datasets.0.name", value=name),)


def _full(value: JSON) -> JSON:
    """False trains all weights, true LoRA adapters."""
    return "lora" if truth(value) else "full"


def _training(value: JSON) -> JSON:
    """Null is how an evaluation without training is asked for."""
    return [] if value is None else sources(value)


def _warmup(value: JSON) -> JSON:
    """-1 leaves the warm-up to warmup_ratio."""
    return None if value == -1 else value


def _only_in(section: str, name: str) -> Settled:
    """A part of a Hydra file that says how Hydra itself works."""
    return Settled(
        accepts=only(*{"dir": (".",), "output_subdir": (None,)}[name]),
        why="is how it is here: the working directory stays",
        otherwise=f"there is no Hydra here to obey {section}; the run's folder is output_dir",
    )


_SHARDING: Mapping[JSON, JSON] = MappingProxyType(
    {
        "no_shard": "no",
        "full_shard": "full_shard",
        "shard_grad_op": "shard_grad_op",
    }
)

ALSO = ("data.prompt_key", "data.choice_key", "data.answer_key", "data.image_keys",
        "data.num_workers")  # fmt: skip
"""Keys of this tool that are ours as they are."""

RULES: Rules = MappingProxyType(
    {
        "defaults": Settled(
            accepts=only([{"override hydra/job_logging": "stdout"}], []),
            why="is how it is here: messages go to the terminal",
            otherwise="files are not composed; write the settings of all of them into one",
        ),
        "hydra.run.dir": _only_in("hydra.run", "dir"),
        "hydra.output_subdir": _only_in("hydra", "output_subdir"),
        "cluster.num_nodes": Alias(to="hardware.nodes"),
        "cluster.component_placement.actor": Settled(
            accepts=only("all"),
            why="is how it is here: every GPU trains",
            otherwise="choose GPUs with hardware.gpus, a list of their numbers",
        ),
        "runner.task_type": Alias(to="stage"),
        "runner.logger.log_path": Alias(to="output_dir"),
        "runner.logger.project_name": Alias(to="tracking.project"),
        "runner.logger.experiment_name": Alias(to="run_name"),
        "runner.logger.logger_backends": Spread(
            to=tuple(f"tracking.{name}" for name in TRACKERS), convert=report_to
        ),
        "runner.max_epochs": Alias(to="training.epochs", note="passes over the rows"),
        "runner.max_steps": Alias(to="training.max_steps"),
        "runner.val_check_interval": Spread(
            to=("evaluation.strategy", "evaluation.steps"), convert=every
        ),
        "runner.save_interval": Alias(to="save.steps"),
        "data.type": Settled(
            accepts=only("vlm"),
            why="is how it is here",
            otherwise="rows may have pictures or none; leave it out",
        ),
        "data.dataset_name": Alias(to="data.datasets.0.name"),
        "data.train_data_paths": Alias(to="data.datasets", convert=_training),
        "data.eval_data_paths": Alias(to="data.eval_datasets", convert=sources_or_none),
        "data.apply_chat_template": Settled(
            accepts=only(True),
            why="is how it is here",
            otherwise="the model's own chat template is always used",
        ),
        "data.use_chat_template": Settled(
            accepts=only(True),
            why="is how it is here",
            otherwise="the model's own chat template is always used",
        ),
        "data.max_prompt_length": Alias(to="training.max_prompt_length"),
        "data.lazy_loading": Settled(
            accepts=lambda value: isinstance(value, bool),
            why="changes nothing: a picture is always opened when it is needed",
            otherwise="expected true or false",
        ),
        "algorithm.adv_type": Settled(
            accepts=only("gae"),
            why="changes nothing: supervised fine-tuning has no advantages",
            otherwise="advantages are those of GRPO; see grpo.scale_rewards",
        ),
        "actor.group_name": Settled(
            accepts=anything, why="changes nothing: there are no named groups of workers"
        ),
        "actor.training_backend": Settled(
            accepts=only("fsdp"),
            why="is how it is here; hardware.fsdp says what is sharded",
            otherwise="there are plain data parallelism, hardware.fsdp and hardware.deepspeed",
        ),
        "actor.micro_batch_size": Alias(to="training.batch_size"),
        "actor.eval_batch_size": Alias(to="evaluation.batch_size"),
        "actor.global_batch_size": Alias(to="training.global_batch_size"),
        "actor.seed": Alias(to="seed"),
        "actor.model.model_type": Settled(
            accepts=anything, why="changes nothing: the model's own config.json says what it is"
        ),
        "actor.model.precision": Alias(to="model.dtype", convert=choice(DTYPES)),
        "actor.model.model_path": Alias(to="model.name"),
        "actor.model.is_lora": Alias(to="model.tuning", convert=_full),
        "actor.model.lora_rank": Alias(to="model.lora.rank"),
        "actor.optim.lr": Alias(to="training.learning_rate"),
        "actor.optim.adam_beta1": Alias(to="training.adam_beta1"),
        "actor.optim.adam_beta2": Alias(to="training.adam_beta2"),
        "actor.optim.adam_eps": Alias(to="training.adam_epsilon"),
        "actor.optim.weight_decay": Alias(to="training.weight_decay"),
        "actor.optim.clip_grad": Alias(to="training.max_grad_norm"),
        "actor.optim.lr_scheduler": Alias(to="training.lr_scheduler", convert=scheduler),
        "actor.optim.total_training_steps": Alias(
            to="training.scheduler_steps", note="optimizer updates, not epochs"
        ),
        "actor.optim.lr_warmup_steps": Alias(to="training.warmup_steps", convert=_warmup),
        "actor.fsdp_config.strategy": Settled(
            accepts=only("fsdp", "fsdp2"),
            why="means FSDP2 here, which PyTorch offers in the place of both",
            otherwise="hardware.fsdp and hardware.deepspeed are the strategies",
        ),
        "actor.fsdp_config.sharding_strategy": Alias(to="hardware.fsdp", convert=choice(_SHARDING)),
        "actor.fsdp_config.use_orig_params": Settled(
            accepts=lambda value: isinstance(value, bool),
            why="changes nothing: FSDP2 always keeps the original parameters",
            otherwise="expected true or false",
        ),
        "actor.fsdp_config.gradient_checkpointing": Alias(
            to="training.gradient_checkpointing", convert=truth
        ),
        "actor.fsdp_config.mixed_precision.param_dtype": Alias(
            to="training.precision", convert=choice(DTYPES)
        ),
        "actor.fsdp_config.mixed_precision.reduce_dtype": Settled(
            accepts=only("fp32"),
            why="is how it is here: gradients are summed in fp32",
            otherwise="gradients are summed in fp32; leave it out",
        ),
        "actor.fsdp_config.mixed_precision.buffer_dtype": Settled(
            accepts=lambda value: value in DTYPES,
            why="changes nothing: FSDP2 leaves buffers in the model's own format",
            otherwise="FSDP2 leaves buffers in the model's own format; leave it out",
        ),
        "reward.use_reward_model": Settled(
            accepts=only(False),
            why="is how it is here",
            otherwise="rewards are functions: reward.type, reward.functions or reward.file",
        ),
        "critic.use_critic_model": Settled(
            accepts=only(False),
            why="is how it is here",
            otherwise="GRPO compares answers with each other and has no critic",
        ),
        "convertor.ckpt_path": _CONVERTER,
        "convertor.save_path": _CONVERTER,
        "model.model_path": Alias(to="model.name"),
        "model.model_type": Settled(
            accepts=anything, why="changes nothing: the model's own config.json says what it is"
        ),
    }
)
