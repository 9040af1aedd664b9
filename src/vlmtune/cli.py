"""The command line that all training scripts share.

    python scripts/train_grpo.py --debug --mlx --max_samples 5

Each flag sets exactly one config field, except --mlx_model, which names the model and the backend
at once. Nothing heavy is imported before it is known to be needed, so --help answers at once.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from vlmtune.errors import BackendUnavailable, ConfigError, MissingDependency, VlmtuneError

if TYPE_CHECKING:
    from rich.console import Console

    from vlmtune.config_file import Resolved

STAGES = ("sft", "dpo", "grpo")
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""
BASE_LIBRARIES = frozenset({"jinja2", "numpy", "PIL", "pydantic", "rich", "yaml"})
"""Modules without which nothing runs; the usual reason is a Python that is not the one of setup."""
PLANNED: Mapping[str, str] = MappingProxyType(
    {
        "--sft_checkpoint": "adapters come with training; a merged model folder loads with --model",
        "--resume_from_checkpoint": "there is no training to resume in this version",
        "--run_name": "a run is named by its folder: --output_dir",
    }
)
"""Flags of other tools that people will try, and why they are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the user typed.

    Attributes:
        config: The file, or None for the demo.
        overrides: Every --set, in order.
        flags: Dotted config key -> value, None where the flag was not given.
    """

    config: Path | None
    overrides: tuple[str, ...]
    flags: Mapping[str, object]


def main(stage: str | None, *, checkout: Path, argv: Sequence[str] | None = None) -> int:
    """Run one script.

    Args:
        stage: "sft", "dpo" or "grpo", or None where the config says which.
        checkout: The folder that holds configs/.
        argv: Arguments; default those of the process.

    Returns:
        The exit code: 0 done, 1 the run or a check failed, 2 a user's mistake, 130 Ctrl-C.
    """
    words = sys.argv[1:] if argv is None else argv
    if "-h" in words or "--help" in words:
        print(help_text(stage))
        return 0
    try:
        return _run(parse(words, stage=stage), stage=stage, checkout=checkout)
    except VlmtuneError as error:
        return _complain(error)
    except ModuleNotFoundError as error:
        if error.name not in BASE_LIBRARIES:
            raise
        return _complain(
            MissingDependency(
                f"{sys.executable} has no '{error.name}'; run 'make setup', then start the script "
                "with .venv/bin/python"
            )
        )
    except KeyboardInterrupt:
        print("Interrupted: stopped by Ctrl-C, the run is not complete", file=sys.stderr)
        return INTERRUPTED


def parse(words: Sequence[str], *, stage: str | None) -> Arguments:
    """Read the command line.

    Raises:
        ConfigError: If a flag is unknown, lacks its value or contradicts another.
    """
    parser = _parser(stage)
    try:
        found, unknown = parser.parse_known_args(_with_underscores(words))
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error}; --help lists all flags") from None
    if unknown:
        raise ConfigError(_unknown(unknown[0], parser))
    flags = vars(found)
    config, overrides = flags.pop("config"), flags.pop("set")
    if (mlx_model := flags.pop("mlx_model")) is not None:
        if flags["backend"] not in (None, "mlx"):
            raise ConfigError(
                f"--mlx_model runs on mlx and --backend says {flags['backend']}; "
                "use --model to name a model for that backend"
            )
        flags |= {"model.name": mlx_model, "backend": "mlx"}
    if names := flags["data.datasets"]:
        flags["data.datasets"] = [{"name": name} for name in names]
    return Arguments(config=config, overrides=tuple(overrides), flags=flags)


def help_text(stage: str | None) -> str:
    """Write the help, which opens with a command that runs as it stands."""
    script = _script(stage)
    example = "" if stage else " --stage grpo"
    return f"python {script}{example} --debug --max_samples 5\n\n{_parser(stage).format_help()}"


def _parser(stage: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_script(stage),
        usage="%(prog)s [flags]",
        description="Flags win over --set, --set over the file, the file over defaults.",
        epilog="Dashes work too: --max-samples. Exit codes: 0 ok, 1 failed, 2 a wrong setting.",
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    add = parser.add_argument
    add("-h", "--help", action="store_true", default=argparse.SUPPRESS, help="show this")
    add("--config", type=Path, metavar="FILE", help="YAML; without it configs/demo.yaml")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting, such as grpo.temperature=0.7; may be repeated",
    )
    if stage is None:
        add("--stage", dest="stage", choices=STAGES, help="what to run")
    add(
        "--debug",
        dest="debug",
        action="store_const",
        const=True,
        help="rehearse: everything a trainer does, except that no weight moves",
    )
    _add_model_flags(parser)
    _add_run_flags(parser, stage)
    return parser


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    backend = parser.add_mutually_exclusive_group()
    backend.add_argument("--backend", dest="backend", metavar="NAME", help="auto, mlx or scripted")
    backend.add_argument(
        "--mlx", dest="backend", action="store_const", const="mlx", help="the same as --backend mlx"
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--model",
        dest="model.name",
        metavar="NAME",
        help="pico, an alias such as 3b-4bit, a folder or a hub id",
    )
    model.add_argument(
        "--mlx_model", metavar="NAME", help="--model NAME and --backend mlx in one flag"
    )


def _add_run_flags(parser: argparse.ArgumentParser, stage: str | None) -> None:
    add = parser.add_argument
    add(
        "--dataset",
        dest="data.datasets",
        action="append",
        metavar="NAME|FILE",
        help="rows to use instead of the config's; may be repeated",
    )
    add("--max_samples", dest="data.max_samples", type=int, metavar="N", help="rows at most")
    add("--seed", dest="seed", type=int, metavar="N", help="fixes rows, order and sampling")
    add("--output_dir", dest="output_dir", metavar="FOLDER", help="where to write")
    add(
        "--no_wandb",
        dest="tracking.wandb",
        action="store_const",
        const=False,
        help="keep metrics on this machine",
    )
    if stage in (None, "grpo"):
        add(
            "--reward_type",
            dest="reward.type",
            metavar="NAME|FILE",
            help="spatial, counting, combined or a .py file",
        )
        add(
            "--num_generations",
            dest="grpo.num_generations",
            type=int,
            metavar="G",
            help="completions per prompt",
        )


def _run(arguments: Arguments, *, stage: str | None, checkout: Path) -> int:
    path = arguments.config
    if path is None:
        path = Path(os.path.relpath(checkout / "configs" / "demo.yaml"))
        print(
            f"No --config, so {path}: the embedded model pico, nothing to download. "
            "A real model: --model 3b-4bit",
            flush=True,
        )
    from vlmtune import config_file, discovery

    resolved = config_file.resolve(
        path,
        overrides=arguments.overrides,
        flags=arguments.flags,
        fallbacks={"stage": stage} if stage else {},
    )
    _refuse_other_stage(resolved, stage=stage, path=path)
    _refuse_training(resolved)
    if resolved.config.stage.value == "grpo":
        # A misspelt reward is told now, not after the model has been loaded.
        discovery.load("reward", resolved.config.reward.type)

    from rich.console import Console

    from vlmtune.training import rehearsal

    console = Console(soft_wrap=True, highlight=False)
    _announce(resolved, console)
    notes = [str(translation) for translation in resolved.translations]
    outcome = rehearsal.run(resolved.config, console=console, notes=notes)
    return 0 if outcome.ok else 1


def _announce(resolved: "Resolved", console: "Console") -> None:
    """Say what will happen before anything slow starts."""
    from vlmtune import config_file
    from vlmtune.backends.select import select

    config = resolved.config
    selection = select(config.backend)
    sources = ", ".join(dataset.name for dataset in config.data.datasets)
    rows = f"{config.data.max_samples} at most" if config.data.max_samples else "all"
    plan = {
        "stage": f"{config.stage.value}, rehearsed: no weight moves",
        "backend": selection.reason,
        "model": config.model.name,
        "rows": f"{rows} of {sources}",
    }
    plan |= {f"not {problem.what}": problem.remedy for problem in selection.rejected}
    if config.stage.value == "grpo":
        plan["answers"] = (
            f"{config.grpo.num_generations} per row, "
            f"{config.grpo.max_completion_length} tokens at most, reward {config.reward.type}"
        )
    for name, text in plan.items():
        console.print(f"{name:<8} {text}", markup=False)
    for translation in resolved.translations:
        console.print(f"note: {translation}", markup=False)
    console.print(config_file.render(config).rstrip(), markup=False, style="dim")


def _refuse_other_stage(resolved: "Resolved", *, stage: str | None, path: Path) -> None:
    found = resolved.config.stage.value
    if stage is not None and found != stage:
        raise ConfigError(
            f"stage is {found} in {path} or --set, and {_script(stage)} runs {stage}; "
            f"use {_script(found)}"
        )


def _refuse_training(resolved: "Resolved") -> None:
    if not resolved.config.debug:
        raise BackendUnavailable(
            "this version rehearses and cannot train yet; add --debug to rehearse "
            f"{resolved.config.stage.value} with the same rows, prompts and rewards"
        )


def _script(stage: str | None) -> str:
    return f"scripts/train_{stage}.py" if stage else "scripts/train.py"


def _complain(error: VlmtuneError) -> int:
    print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
    return error.exit_code


def _with_underscores(words: Sequence[str]) -> list[str]:
    """Read --max-samples=5 as --max_samples=5; values keep their dashes."""
    plain = []
    for word in words:
        name, equals, value = word.partition("=")
        is_flag = name.startswith("--") and len(name) > len("--")
        plain.append("--" + name[2:].replace("-", "_") + equals + value if is_flag else word)
    return plain


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    flag = word.partition("=")[0]
    if not flag.startswith("-"):
        return f"'{word}' stands alone; settings are flags, --help lists them"
    if flag in PLANNED:
        return f"flag '{flag}' is not supported: {PLANNED[flag]}"
    # argparse offers no public list of the flags it knows.
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    close = difflib.get_close_matches(flag, known, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown flag '{flag}'; {hint}Flags: {', '.join(known)}"
