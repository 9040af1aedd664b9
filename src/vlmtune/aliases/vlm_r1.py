"""VLM-R1 and research scripts grown from it: variables of a shell script, flags of a trainer.

    data_paths: data/processed/ViVQA-X_train_grpo.jsonl
    image_folders: /data/coco/train2014
    model_path: OpenGVLab/InternVL3-1B
    EXP_NAME: internvl-vivqa
    reward_funcs: [accuracy, format, explanation]

The same names are read from a YAML file, from the shell script itself and from the command line.
Flags that all trainers share are in hugging_face.py.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.aliases.nanovlm_lab import precision
from vlmtune.aliases.rules import (
    Alias,
    Rules,
    Settled,
    Spread,
    Translation,
    anything,
    only,
    sources,
    truth,
    whole,
)
from vlmtune.types import JSON

ENVIRONMENT = ("WANDB_DISABLED", "DEBUG_MODE")
"""Variables that are read from the process's environment as well."""
_DATA, _FOLDERS = "data_paths", "image_folders"


def pair_folders(values: dict[str, JSON]) -> tuple[Translation, ...]:
    """Give each file of rows the folder of its pictures; both are lists, or texts parted by ':'."""
    key = next((name for name in (_DATA, "data_file_paths") if name in values), None)
    if key is None or _FOLDERS not in values:
        return ()
    files, folders = _paths(values[key]), _paths(values[_FOLDERS])
    if len(folders) == 1:
        folders *= len(files)
    if len(files) != len(folders):
        raise ValueError(
            f"'{key}' has {len(files)} files and '{_FOLDERS}' {len(folders)} folders; "
            "give each file its folder, or one folder to all"
        )
    values[key] = [
        {"name": file, "options": {"image_folder": folder}}
        for file, folder in zip(files, folders, strict=True)
    ]
    del values[_FOLDERS]
    return (
        Translation(
            written=_FOLDERS, read="data.datasets.0.options.image_folder", value=folders[0]
        ),
    )


def _paths(value: JSON) -> list[JSON]:
    if isinstance(value, str):
        return [part for part in value.split(":") if part]
    return value if isinstance(value, list) else [value]


def _sources(value: JSON) -> JSON:
    """Several files are parted by ':'."""
    return sources(_paths(value))


def _wandb(value: JSON) -> Mapping[str, JSON]:
    """True switches Weights & Biases off."""
    return {"tracking.wandb": False} if truth(value) else {}


def _gpus(value: JSON) -> JSON:
    """0,1 is [0, 1]."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    numbers = [whole(part) for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(numbers, list) or not all(isinstance(one, int) for one in numbers):
        raise ValueError("expected numbers of GPUs like 0,1")
    return numbers


def _name(value: JSON) -> JSON:
    """A name with '/' is refused: resuming would not find its folders."""
    if isinstance(value, str) and "/" in value:
        raise ValueError(
            "a name with '/' would be folders inside each other, where resuming finds nothing; "
            "use '-' or '_'"
        )
    return value


_LAUNCHER = Settled(
    accepts=anything, why="changes nothing here: it belongs to the launcher of several machines"
)

ALSO = (
    "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "max_steps",
    "num_train_epochs", "save_steps", "logging_steps", "num_generations", "reward_funcs", "beta",
    "gradient_checkpointing", "push_to_hub", "hub_model_id", "max_completion_length",
    "max_prompt_length", "resume_from_checkpoint", "deepspeed", "attn_implementation",
    "report_to", "model_name_or_path", "output_dir", "run_name", "seed",
)  # fmt: skip
"""Names of this tool that are ours as they are, or are in another table."""

RULES: Rules = MappingProxyType(
    {
        "data_paths": Alias(to="data.datasets", convert=_sources),
        "data_file_paths": Alias(to="data.datasets", convert=_sources),
        "image_folders": Alias(to="data.datasets.0.options.image_folder"),
        "model_path": Alias(to="model.name"),
        "EXP_NAME": Alias(to="run_name", convert=_name),
        "CUDA_VISIBLE_DEVICES": Alias(to="hardware.gpus", convert=_gpus),
        "nproc_per_node": Alias(to="hardware.processes", convert=whole),
        "nnodes": Alias(to="hardware.nodes", convert=whole),
        "node_rank": _LAUNCHER,
        "master_addr": _LAUNCHER,
        "master_port": _LAUNCHER,
        "DEBUG_MODE": Alias(to="grpo.log_completions", convert=truth),
        "LOG_PATH": Settled(
            accepts=anything, why="changes nothing: logs lie in the run's folder, output_dir"
        ),
        "WANDB_DISABLED": Spread(
            to=("tracking.wandb",),
            convert=_wandb,
            nothing="changes nothing; tracking.wandb: true switches it on",
        ),
        "DS_SKIP_CUDA_CHECK": Alias(to="hardware.ds_skip_cuda_check", convert=truth),
        "bf16": precision("bf16"),
        "fp16": precision("fp16"),
        "use_peft": Alias(
            to="model.tuning", convert=lambda value: "lora" if truth(value) else "full"
        ),
        "freeze_vision_modules": Alias(to="model.freeze_vision", convert=truth),
        "task_type": Settled(
            accepts=anything,
            why="changes nothing: each row's own kind decides how it is asked and graded",
        ),
        "max_anyres_num": Settled(
            accepts=anything,
            why="changes nothing: the model's own processor cuts pictures; model.max_pixels "
            "bounds them",
        ),
        "dataset_name": Settled(accepts=anything, why="changes nothing: data_paths names the rows"),
        "save_only_model": Settled(
            accepts=only(False, "false", "False"),
            why="is how it is here: a checkpoint holds what resuming needs",
            otherwise="bound their number with save.keep",
        ),
        "is_reward_customized_from_vlm_module": Settled(
            accepts=only(False, "false", "False"),
            why="is how it is here",
            otherwise="rewards are named: reward.functions",
        ),
    }
)
