"""A config with `stages`: what scripts/train.py does with it.

python scripts/train.py --config configs/pico_pipeline.yaml --backend pytorch
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vlmtune.cli_flags import Arguments, script
from vlmtune.cli_messages import INTERRUPTED
from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from vlmtune.config_pipeline import Pipeline
    from vlmtune.training.pipeline_plan import Plan


def run(arguments: Arguments, path: Path, *, stage: str | None, checkout: Path) -> int:
    """Rehearse, plan or run all stages.

    Args:
        arguments: What the user typed.
        path: The config.
        stage: The script's stage, or None for scripts/train.py.
        checkout: The folder that holds scripts/.

    Returns:
        The exit code.

    Raises:
        VlmtuneError: If it cannot be done; the message says why.
    """
    from rich.console import Console

    pipeline = _load(arguments, path, stage=stage)
    console = Console(soft_wrap=True, highlight=False)
    from vlmtune.training import launch
    from vlmtune.training import pipeline as running
    from vlmtune.training.pipeline_plan import make_plan
    from vlmtune.training.progress import Tracks

    if (found := launch.place(os.environ)) is not None and found.processes * found.nodes > 1:
        raise ConfigError(
            f"{path} has several stages and starts processes by itself (hardware.processes); "
            "leave torchrun or accelerate launch out"
        )
    if pipeline.shared.config.debug and not arguments.dry_run:
        return 0 if running.rehearse(pipeline, console=console) else 1
    plan = make_plan(pipeline, track=Tracks(console))
    _announce(plan, console)
    if arguments.dry_run:
        return 0
    outcome = running.run(plan, console=console, script=checkout / script(None))
    shown = outcome.directory
    if outcome.stopped:
        console.print(
            f"\n{outcome.stopped}: what is finished is kept. The same command goes on with it in "
            f"{shown}",
            markup=False,
        )
        return INTERRUPTED if outcome.stopped == "SIGINT" else 1
    console.print(f"\nWritten to {shown}; open {outcome.page}", markup=False)
    return 0


def _load(arguments: Arguments, path: Path, *, stage: str | None) -> "Pipeline":
    from vlmtune import config_yaml
    from vlmtune.aliases.vlm_r1 import ENVIRONMENT
    from vlmtune.config_pipeline import load_pipeline

    if stage is not None:
        raise ConfigError(
            f"{path} has several stages, and {script(stage)} runs one; use {script(None)}"
        )
    foreign: dict[str, object] = {}
    for name, words in arguments.foreign.items():
        read = [config_yaml.scalar(word) for word in words]
        foreign[name] = read if len(read) > 1 else next(iter(read), True)
    return load_pipeline(
        path,
        overrides=arguments.overrides,
        flags={**arguments.flags, **foreign},
        environment=os.environ,
        variables={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
    )


def _announce(plan: "Plan", console: "Console") -> None:
    """Say what will happen before anything slow starts."""
    shared = plan.pipeline.shared.config
    names = ", ".join(
        f"{len(one.prepared.rows)} of {one.prepared.benchmark.name}" for one in plan.questions
    )
    lines = {
        "pipeline": f"{plan.pipeline.path}: base, then {', '.join(s.name for s in plan.stages)}",
        "backend": plan.backend_reason,
        "model": shared.model.name,
        "asked": f"{names}, style {shared.evaluation.style}, greedy, after every stage",
        "folder": str(plan.root),
    }
    for name, text in lines.items():
        console.print(f"{name:<8} {text}", markup=False)
    for stage in plan.stages:
        updates = "" if stage.updates is None else f", {stage.updates} updates"
        console.print(
            f"{stage.name:<8} {stage.config.stage.value} on {stage.rows} rows{updates}, rate "
            f"{stage.config.training.learning_rate:g}, {stage.config.model.tuning}, into "
            f"{stage.folder}",
            markup=False,
        )
        for note in stage.notes:
            console.print(f"  note: {note}", markup=False)
