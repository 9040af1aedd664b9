"""The command line that all training scripts share.

    python scripts/train_grpo.py --debug --mlx --max_samples 5

Its flags are in cli_flags.py. Nothing heavy is imported before it is known to be needed, so --help
answers at once.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlmtune.cli_flags import Arguments, help_text, parse, script
from vlmtune.cli_messages import INTERRUPTED, run_script
from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from vlmtune.config import RunConfig
    from vlmtune.config_file import Resolved


def main(stage: str | None, *, checkout: Path, argv: Sequence[str] | None = None) -> int:
    """Run one script.

    Args:
        stage: "sft", "dpo" or "grpo", or None where the config says which.
        checkout: The folder that holds configs/.
        argv: Arguments; default those of the process.

    Returns:
        The exit code: 0 done, 1 the run or a check failed, 2 a user's mistake, 130 Ctrl-C.
    """
    return run_script(
        argv,
        help_text=lambda: help_text(stage),
        work=lambda words: _run(
            parse(words, stage=stage), stage=stage, checkout=checkout, words=words
        ),
        interrupted="stopped by Ctrl-C, the run is not complete",
    )


def _run(arguments: Arguments, *, stage: str | None, checkout: Path, words: Sequence[str]) -> int:
    from vlmtune import cli_pipeline, config_pipeline

    path = arguments.config
    if path is None:
        path = Path(os.path.relpath(checkout / "configs" / "demo.yaml"))
        print(
            f"No --config, so {path}: the embedded model pico, nothing to download. "
            "A real model: --model 3b-4bit",
            flush=True,
        )
        if arguments.flags.get("data.datasets"):
            # The demo's number of rows is for its scenes, not for whatever else is named.
            overrides = ("data.max_samples=null", *arguments.overrides)
            arguments = replace(arguments, overrides=overrides)
    if config_pipeline.is_pipeline(path):
        return cli_pipeline.run(arguments, path, stage=stage, checkout=checkout)
    resolved = _resolve(arguments, path, stage=stage)
    config = resolved.config
    _refuse_other_stage(config, stage=stage, path=path)

    from rich.console import Console

    from vlmtune import config_consumers, config_rules
    from vlmtune.training import launch

    launch.follow(os.environ)
    found = launch.place(os.environ)
    config = launch.placed(config, found)
    # Of several processes the first speaks.
    console = Console(soft_wrap=True, highlight=False, quiet=found is not None and found.rank > 0)
    reader = config_consumers.REHEARSAL if config.debug else config.backend
    notes = [*map(str, resolved.translations), *resolved.left, *config_rules.unused(config)]
    if config.debug or (arguments.dry_run and reader in config_consumers.READERS):
        # Training asks by itself, once its backend is chosen.
        notes += config_consumers.check(config, reader)
    if arguments.dry_run:
        _print_settings(config, notes, console)
        return 0
    if not config.data.datasets:
        return _evaluate_alone(config)
    _check_rewards(config)
    if config.debug:
        launch.refuse_several(found)
        return _rehearse(config, notes, console)
    again = launch.command(str(checkout / script(stage)), words)
    return _train(config, notes, console, again=again)


def _rehearse(config: "RunConfig", notes: Sequence[str], console: "Console") -> int:
    from vlmtune.training import rehearsal

    _announce(config, console)
    _print_settings(config, notes, console)
    outcome = rehearsal.run(config, console=console, notes=notes)
    return 0 if outcome.ok else 1


def _train(
    config: "RunConfig", notes: Sequence[str], console: "Console", *, again: Sequence[str]
) -> int:
    from vlmtune import config_consumers
    from vlmtune.backends.select import select
    from vlmtune.training import launch, train

    # Whether this can be trained at all is told before the settings are listed.
    backend = select(config.backend).backend
    found = [*notes, *train.check(config, backend)]
    here = config_consumers.on_this_machine(config, backend.NAME)
    if count := launch.wanted(here, os.environ):
        console.print(f"starts   {launch.told(config, command=again)}", markup=False)
        return launch.start(again, count, gpus=config.hardware.gpus)
    _announce(config, console)
    _print_settings(config, found, console)
    trained = train.run(config, console=console, notes=notes)
    train.say_what_follows(config, trained, console)
    return INTERRUPTED if trained.stopped == "SIGINT" else 1 if trained.stopped else 0


def _resolve(arguments: Arguments, path: Path, *, stage: str | None) -> "Resolved":
    from vlmtune import config_file, config_yaml
    from vlmtune.aliases.vlm_r1 import ENVIRONMENT

    foreign: dict[str, object] = {
        name: _value([config_yaml.scalar(word) for word in words])
        for name, words in arguments.foreign.items()
    }
    variables = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return config_file.resolve(
        path,
        overrides=arguments.overrides,
        flags={**arguments.flags, **foreign},
        fallbacks={"stage": stage} if stage else {},
        environment=os.environ,
        variables=variables,
    )


def _value(words: Sequence[object]) -> object:
    """A flag alone says true, one word is its value, several are a list."""
    return list(words) if len(words) > 1 else next(iter(words), True)


def _check_rewards(config: "RunConfig") -> None:
    """A misspelt reward is told now, not after the model has been loaded."""
    from vlmtune.rewards import build_reward

    if config.stage.value == "grpo":
        build_reward(config.reward)


def _announce(config: "RunConfig", console: "Console") -> None:
    """Say what will happen before anything slow starts."""
    from vlmtune import config_rules
    from vlmtune.backends.select import select

    selection = select(config.backend)
    sources = ", ".join(dataset.name for dataset in config.data.datasets)
    rows = (config_rules.rehearsed(config) if config.debug else config).data.max_samples
    rehearsed = ", rehearsed: no weight moves" if config.debug else ""
    plan = {
        "stage": f"{config.stage.value}{rehearsed}",
        "backend": selection.reason,
        "model": config.model.name,
        "rows": f"{'all' if rows is None else f'{rows} at most'} of {sources}",
    }
    plan |= {f"not {problem.what}": problem.remedy for problem in selection.rejected}
    if config.stage.value == "grpo":
        from vlmtune.rewards import build_reward
        from vlmtune.rewards.weighted import told

        plan["answers"] = (
            f"{config.grpo.num_generations} per row, {config.grpo.max_completion_length} tokens "
            f"at most, reward {told(build_reward(config.reward))}"
        )
    for name, text in plan.items():
        console.print(f"{name:<8} {text}", markup=False)


def _print_settings(config: "RunConfig", notes: Sequence[str], console: "Console") -> None:
    from vlmtune import config_file, config_labels

    if label := config_labels.label(config):
        console.print(f"loss     {label}", markup=False)
    for note in notes:
        console.print(f"note: {note}", markup=False)
    console.print(config_file.render(config).rstrip(), markup=False, style="dim")


def _evaluate_alone(config: "RunConfig") -> int:
    """Run the evaluation that a config without training rows asks for."""
    from vlmtune import cli_evaluate, discovery

    sources = config.data.eval_datasets or []
    known = discovery.available("benchmark")
    names = [source.name.replace("-", "_").lower() for source in sources]
    if len(names) != 1 or names[0] not in known:
        raise ConfigError(
            "data.datasets is empty, so there is nothing to train on, and data.eval_datasets is "
            f"{', '.join(names) or 'empty'}: evaluation alone needs one of the benchmarks "
            f"{', '.join(known)}; see python scripts/evaluate.py --help"
        )
    words = ["--model_path", config.model.name, "--benchmarks", names[0]]
    if path := sources[0].options.get("path"):
        words += ["--data", str(path)]
    if config.output_dir is not None:
        words += ["--output_dir", config.output_dir]
    if config.data.max_eval_samples is not None:
        words += ["--max_samples", str(config.data.max_eval_samples)]
    if config.backend != "auto":
        words += ["--backend", config.backend]
    words += ["--seed", str(config.seed)]
    print(
        f"No rows to train on, so evaluation alone: python {cli_evaluate.SCRIPT} "
        f"{shlex.join(words)}",
        flush=True,
    )
    return cli_evaluate.main(words)


def _refuse_other_stage(config: "RunConfig", *, stage: str | None, path: Path) -> None:
    found = config.stage.value
    if stage is not None and found != stage:
        raise ConfigError(
            f"stage is {found} in {path} or --set, and {script(stage)} runs {stage}; "
            f"use {script(found)}"
        )
