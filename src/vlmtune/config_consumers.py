"""Who reads which setting: one table, so that no setting is ever silently ignored.

A run asks `check` with its own name. What it does not read is told where that is harmless (another
stage's section, what only a trainer needs), and refused where the run would do something else than
the file says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import BaseModel

from vlmtune.config import RunConfig
from vlmtune.config_run import HardwareConfig
from vlmtune.errors import ConfigError
from vlmtune.types import JSON, Stage

REHEARSAL, MLX, PYTORCH, EVALUATE = "rehearsal", "mlx", "pytorch", "evaluate"
"""A rehearsal on any backend; training on mlx; training on pytorch; scripts/evaluate.py."""
READERS = (REHEARSAL, MLX, PYTORCH, EVALUATE)
_SEVERAL = ("hardware.gpus", "hardware.processes", "hardware.nodes")
_TRAINERS = frozenset({MLX, PYTORCH})
_RUNS = _TRAINERS | {REHEARSAL}
_ALL = _RUNS | {EVALUATE}
_STAGES = frozenset(Stage)
_GRPO = frozenset({Stage.GRPO})


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a setting is for.

    Attributes:
        by: Who reads it, names of READERS.
        stages: Where it means something.
        nobody: Why nobody reads it, and what to do instead, where `by` is empty.
        machine: It says on what and how fast, never what is learned. Other machines go without it,
            so that one file serves them all.
    """

    by: frozenset[str]
    stages: frozenset[Stage] = _STAGES
    nobody: str = ""
    machine: bool = False


_CUDA = Use(by=frozenset({PYTORCH}), machine=True)
_VLLM = Use(by=frozenset({PYTORCH}), stages=_GRPO, machine=True)
_NANOVLM = Use(
    by=frozenset(),
    nobody="no backend here builds or trains a nanoVLM; name a model that transformers loads",
)

CONSUMERS: Mapping[str, Use] = MappingProxyType(
    {
        "stage": Use(by=_RUNS),
        "backend": Use(by=_ALL),
        "seed": Use(by=_ALL),
        "debug": Use(by=_RUNS),
        "run_name": Use(by=_RUNS),
        "output_dir": Use(by=_ALL),
        "resume": Use(by=_TRAINERS),
        "model.name": Use(by=_ALL),
        "model.start_from": Use(by=_RUNS),
        "model.start_adapter": Use(by=_RUNS),
        "model.tuning": Use(by=_TRAINERS),
        "model.quantization": Use(by=_TRAINERS),
        "model.dtype": Use(by=_TRAINERS),
        "model.attention": _CUDA,
        "model.lora": Use(by=_TRAINERS),
        "model.freeze_vision": Use(by=_TRAINERS),
        "model.freeze_projector": Use(by=_TRAINERS),
        "model.freeze_language": Use(by=_TRAINERS),
        "model.min_pixels": Use(by=_RUNS),
        "model.max_pixels": Use(by=_RUNS),
        "model.load_backbone": _NANOVLM,
        "model.vlm_config": _NANOVLM,
        "data": Use(by=_RUNS),
        "data.num_workers": _CUDA,
        "prompt": Use(by=_RUNS),
        "training": Use(by=_TRAINERS),
        "training.max_length": Use(by=_RUNS),
        "training.max_prompt_length": Use(by=_RUNS),
        "dpo": Use(by=_TRAINERS, stages=frozenset({Stage.DPO})),
        "grpo": Use(by=_TRAINERS, stages=_GRPO),
        "grpo.num_generations": Use(by=_RUNS, stages=_GRPO),
        "grpo.temperature": Use(by=_RUNS, stages=_GRPO),
        "grpo.top_p": Use(by=_RUNS, stages=_GRPO),
        "grpo.top_k": Use(by=_RUNS, stages=_GRPO),
        "grpo.max_completion_length": Use(by=_RUNS),
        "grpo.scale_rewards": Use(by=_RUNS, stages=_GRPO),
        "reward": Use(by=_RUNS, stages=_GRPO),
        "evaluation.strategy": Use(by=_TRAINERS),
        "evaluation.steps": Use(by=_TRAINERS),
        "evaluation.batch_size": Use(by=_TRAINERS | {EVALUATE}),
        "evaluation.benchmarks": Use(by=frozenset({EVALUATE})),
        "evaluation.datasets": Use(by=frozenset({EVALUATE})),
        "evaluation.seed": Use(by=frozenset({EVALUATE})),
        "evaluation.max_samples": Use(by=frozenset({EVALUATE})),
        "evaluation.style": Use(by=frozenset({EVALUATE})),
        "evaluation.protocol": Use(by=frozenset({EVALUATE})),
        "evaluation.max_tokens": Use(by=frozenset({EVALUATE})),
        "save": Use(by=_TRAINERS),
        "rehearsal": Use(by=frozenset({REHEARSAL}), stages=_GRPO),
        "rehearsal.max_samples": Use(by=frozenset({REHEARSAL})),
        "rehearsal.train_steps": Use(by=_TRAINERS),
        "hardware": _CUDA,
        "hardware.generation_batch_size": Use(by=_RUNS),
        "hardware.use_vllm": _VLLM,
        "hardware.vllm_mode": _VLLM,
        "hardware.vllm_gpu_memory_utilization": _VLLM,
        "hardware.vllm_server_url": _VLLM,
        "tracking": Use(by=_TRAINERS),
    }
)
"""A setting, or a section for all in it that have no line of their own -> who reads it."""


def use_of(key: str) -> Use:
    """Look a setting up; the longest key of CONSUMERS that it is, or is in, counts.

    Raises:
        KeyError: If neither it nor its sections are in the table.
    """
    known = key
    while known not in CONSUMERS:
        if "." not in known:
            raise KeyError(key)
        known = known.rpartition(".")[0]
    return CONSUMERS[known]


def settings(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, JSON, JSON]]:
    """Walk all settings that have a default: dotted key, value, default.

    A list or mapping is one setting.
    """
    for name, about in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings(value, f"{prefix}{name}.")
        elif not about.is_required():
            yield f"{prefix}{name}", value, about.get_default(call_default_factory=True)


def check(config: RunConfig, reader: str) -> tuple[str, ...]:
    """Account for every setting that differs from its default.

    Args:
        config: The run.
        reader: Who is about to run: one of READERS.

    Returns:
        What to tell the user: settings that this run does not read, and why that is harmless.

    Raises:
        ConfigError: If the run would do something else than a setting says.
    """
    trainer: list[str] = []
    machine: list[str] = []
    elsewhere: list[str] = []
    for key, value, default in settings(config):
        if value == default:
            continue
        use = use_of(key)
        if not use.by:
            raise ConfigError(f"{key}: {value!r} cannot be used: {use.nobody}")
        if config.stage not in use.stages and reader != EVALUATE:
            elsewhere.append(key)
        elif reader not in use.by and use.machine and reader in _TRAINERS:
            _refuse_other_batch(config, key, value, reader)
            machine.append(key)
        elif reader not in use.by:
            _refuse(key, value, use, reader)
            trainer.append(key)
    return tuple(
        f"{told}: {', '.join(keys)}"
        for told, keys in (
            (_harmless(reader), trainer),
            (f"for another machine, {reader} goes without", machine),
            (f"stage {config.stage} does not read", elsewhere),
        )
        if keys
    )


def on_this_machine(config: RunConfig, reader: str) -> RunConfig:
    """Leave out how other machines are used, where MLX trains: in one process, on this one.

    Args:
        config: The run, which `check` has passed.
        reader: Who is about to run: one of READERS.
    """
    if reader != MLX:
        return config
    kept = HardwareConfig(generation_batch_size=config.hardware.generation_batch_size)
    return config.model_copy(update={"hardware": kept})


def _refuse(key: str, value: JSON, use: Use, reader: str) -> None:
    # What belongs to other commands may stand in a file that several commands share.
    if reader in _TRAINERS and use.by & _TRAINERS:
        others = " or ".join(sorted(use.by & _TRAINERS))
        raise ConfigError(
            f"{key}: {value!r} cannot be used: training on {reader} has no such setting; "
            f"leave it out, or train with --backend {others}"
        )


def _refuse_other_batch(config: RunConfig, key: str, value: JSON, reader: str) -> None:
    """Refuse several processes where they would make an update larger there than here."""
    several = len(value) if isinstance(value, list) else value
    if key not in _SEVERAL or several in (None, 0, 1) or config.training.global_batch_size:
        return
    raise ConfigError(
        f"{key}: {value!r} multiplies the rows of an update, and {reader} trains in one process; "
        "set training.global_batch_size, which is the same everywhere"
    )


def _harmless(reader: str) -> str:
    return {
        REHEARSAL: "for the training itself, not for a rehearsal",
        EVALUATE: "an evaluation does not read",
    }.get(reader, "read by other commands")
