"""The flags of the training scripts.

Each sets exactly one config field, except --mlx_model, which names the model and the backend at
once. Flags of other trainers are understood and not listed by --help; docs/config.md has them.
Nothing here needs more than the standard library, so --help answers at once.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmtune.cli_messages import split_flags, unknown_flag
from vlmtune.errors import ConfigError

STAGES = ("sft", "dpo", "grpo")
FOREIGN = (
    "CUDA_VISIBLE_DEVICES", "DEBUG_MODE", "DS_SKIP_CUDA_CHECK", "EXP_NAME", "LOG_PATH",
    "WANDB_DISABLED", "adam_epsilon", "attn_implementation", "beta", "bf16", "data_file_paths",
    "data_paths", "data_seed", "dataloader_num_workers", "dataset_name", "dataset_num_proc",
    "deepspeed", "epsilon", "epsilon_high", "eval_steps", "eval_strategy", "evaluation_strategy",
    "fp16", "freeze_vision_modules", "gradient_accumulation_steps", "gradient_checkpointing",
    "hub_model_id", "image_folders", "is_reward_customized_from_vlm_module", "logging_dir",
    "logging_steps", "lora_alpha", "lora_dropout", "lora_r", "lora_target_modules",
    "lr_scheduler_type", "master_addr", "master_port", "max_anyres_num", "max_completion_length",
    "max_grad_norm", "max_length", "max_prompt_length", "max_seq_length", "model_name_or_path",
    "model_path", "nnodes", "node_rank", "nproc_per_node", "num_iterations", "num_train_epochs",
    "optim", "overwrite_output_dir", "per_device_eval_batch_size", "per_device_train_batch_size",
    "push_to_hub", "remove_unused_columns", "report_to", "resume_from_checkpoint", "reward_funcs",
    "reward_weights", "save_only_model", "save_steps", "save_strategy", "save_total_limit",
    "scale_rewards", "task_type", "temperature", "torch_dtype", "use_peft", "use_vllm",
    "vllm_gpu_memory_utilization", "warmup_ratio", "warmup_steps", "weight_decay",
)  # fmt: skip
"""Flags of other trainers, by their names in config_aliases; a test compares the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the user typed.

    Attributes:
        config: The file, or None for the demo.
        overrides: Every --set and every bare key=value, in order.
        flags: Dotted config key -> value, None where the flag was not given.
        foreign: Another trainer's flag -> its words as typed; only those that were given.
        dry_run: Say how the settings are read, and stop.
    """

    config: Path | None
    overrides: tuple[str, ...]
    flags: Mapping[str, object]
    foreign: Mapping[str, tuple[str, ...]]
    dry_run: bool = False


def parse(words: Sequence[str], *, stage: str | None) -> Arguments:
    """Read the command line.

    Raises:
        ConfigError: If a flag is unknown, lacks its value or contradicts another.
    """
    known = parser(stage)
    found, rest = split_flags(known, words)
    # Hydra's way of setting a key: the words key=value, without a flag.
    bare = [word for word in rest if "=" in word and not word.startswith("-")]
    if unknown := [word for word in rest if word not in bare]:
        raise ConfigError(unknown_flag(unknown[0], known))
    flags = vars(found)
    overrides = (*flags.pop("set"), *bare)
    config = _config(flags.pop("config"), flags.pop("config_path"), flags.pop("config_name"))
    if (mlx_model := flags.pop("mlx_model")) is not None:
        if flags["backend"] not in (None, "mlx"):
            raise ConfigError(
                f"--mlx_model runs on mlx and --backend says {flags['backend']}; "
                "use --model to name a model for that backend"
            )
        flags |= {"model.name": mlx_model, "backend": "mlx"}
    if names := flags["data.datasets"]:
        flags["data.datasets"] = [{"name": name} for name in names]
    typed = {name: flags.pop(f"other {name}", None) for name in FOREIGN}
    foreign = {name: tuple(parts) for name, parts in typed.items() if parts is not None}
    dry_run = flags.pop("dry_run")
    return Arguments(
        config=config, overrides=overrides, flags=flags, foreign=foreign, dry_run=dry_run
    )


def help_text(stage: str | None) -> str:
    """Write the help, which opens with a command that runs as it stands."""
    example = "" if stage else " --stage grpo"
    return (
        f"python {script(stage)}{example} --debug --max_samples 5\n\n{parser(stage).format_help()}"
    )


def script(stage: str | None) -> str:
    """Name the script of a stage."""
    return f"scripts/train_{stage}.py" if stage else "scripts/train.py"


def parser(stage: str | None) -> argparse.ArgumentParser:
    """Build the parser of a stage's script."""
    built = argparse.ArgumentParser(
        prog=script(stage),
        usage="%(prog)s [flags]",
        description="Flags win over --set, --set over the file, the file over defaults.",
        epilog="Dashes work too: --max-samples. Flags of other trainers, such as "
        "--per_device_train_batch_size, are understood: docs/config.md. "
        "Exit codes: 0 ok, 1 failed, 2 a wrong setting.",
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    add = built.add_argument
    add("-h", "--help", action="store_true", default=argparse.SUPPRESS, help="show this")
    add("--config", type=Path, metavar="FILE",
        help="YAML or a launch script; without it configs/demo.yaml")  # fmt: skip
    add("--config_path", type=Path, help=argparse.SUPPRESS)
    add("--config_name", help=argparse.SUPPRESS)
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any setting, such as grpo.temperature=0.7; may be repeated")  # fmt: skip
    if stage is None:
        add("--stage", dest="stage", choices=STAGES, help="what to run")
    add("--debug", dest="debug", action="store_const", const=True,
        help="rehearse: everything a trainer does, except that no weight moves")  # fmt: skip
    add("--dry_run", action="store_true", help="say how the settings are read, and stop")
    _add_model_flags(built, stage)
    _add_run_flags(built)
    _add_training_flags(built, stage)
    for name in FOREIGN:
        if f"--{name}" not in built._option_string_actions:
            add(f"--{name}", dest=f"other {name}", nargs="*", help=argparse.SUPPRESS)
    return built


def _config(config: Path | None, folder: Path | None, name: str | None) -> Path | None:
    """Hydra names a folder and a file without its ending."""
    if folder is None and name is None:
        return config
    if name is None or config is not None:
        raise ConfigError("--config_path needs --config_name, and neither goes with --config")
    return (folder or Path()) / (name if name.endswith((".yaml", ".yml")) else f"{name}.yaml")


def _add_model_flags(built: argparse.ArgumentParser, stage: str | None) -> None:
    backend = built.add_mutually_exclusive_group()
    backend.add_argument("--backend", dest="backend", metavar="NAME",
        help="auto, mlx, pytorch or scripted")  # fmt: skip
    backend.add_argument(
        "--mlx", dest="backend", action="store_const", const="mlx", help="the same as --backend mlx"
    )
    model = built.add_mutually_exclusive_group()
    model.add_argument("--model", dest="model.name", metavar="NAME",
        help="pico, an alias such as 3b-4bit, a folder or a hub id")  # fmt: skip
    model.add_argument(
        "--mlx_model", metavar="NAME", help="--model NAME and --backend mlx in one flag"
    )
    if stage == "sft":
        return
    start = built.add_mutually_exclusive_group()
    start.add_argument("--sft_checkpoint", dest="model.start_from", metavar="FOLDER",
        help="start from what an earlier stage left there")  # fmt: skip
    if stage != "dpo":
        start.add_argument("--dpo_checkpoint", dest="model.start_from", metavar="FOLDER",
            help="the same")  # fmt: skip


def _add_run_flags(built: argparse.ArgumentParser) -> None:
    add = built.add_argument
    add("--dataset", dest="data.datasets", action="append", metavar="NAME|FILE",
        help="rows to use instead of the config's; may be repeated")  # fmt: skip
    add("--max_samples", dest="data.max_samples", type=int, metavar="N", help="rows at most")
    add("--seed", dest="seed", type=int, metavar="N", help="fixes rows, order and sampling")
    add("--output_dir", dest="output_dir", metavar="FOLDER", help="where to write")
    add("--run_name", dest="run_name", metavar="NAME", help="the folder's name in outputs/")
    add("--resume", dest="resume", metavar="never|auto|must|PATH",
        help="go on from a checkpoint; never is usual")  # fmt: skip
    add("--no_wandb", dest="tracking.wandb", action="store_const", const=False,
        help="keep metrics on this machine")  # fmt: skip


def _add_training_flags(built: argparse.ArgumentParser, stage: str | None) -> None:
    add = built.add_argument
    add("--learning_rate", dest="training.learning_rate", type=float, metavar="RATE",
        help="peak learning rate")  # fmt: skip
    add("--epochs", dest="training.epochs", type=float, metavar="N", help="passes over the rows")
    add("--max_steps", dest="training.max_steps", type=int, metavar="N",
        help="updates at most, whatever --epochs says")  # fmt: skip
    add("--batch_size", dest="training.batch_size", type=int, metavar="N",
        help="rows a device takes at once")  # fmt: skip
    if stage == "dpo":
        add("--beta", dest="dpo.beta", type=float, metavar="B",
            help="how strongly the model is held to its reference")  # fmt: skip
    if stage in (None, "grpo"):
        add("--reward_type", dest="reward.type", metavar="NAME|FILE",
            help="one reward: spatial, counting, combined ... or a .py file")  # fmt: skip
        add("--reward_funcs", dest="reward.functions", nargs="+", metavar="NAME",
            help="several rewards, added up: accuracy format explanation")  # fmt: skip
        add("--num_generations", dest="grpo.num_generations", type=int, metavar="G",
            help="completions per prompt")  # fmt: skip
