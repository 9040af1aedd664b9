"""The command line of scripts/audit_rewards.py: can a reward be gamed?

    --reward combined                     a reward of this package
    --reward my_rewards.py                a file with a `build`
    --reward my_rewards.py:accuracy       a class or function in it
    --config my_grpo.yaml                 the reward and the rows of a run

Nothing heavy is imported for --help.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmtune.cli_messages import flag_parser, read_flags, run_script
from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from vlmtune.config import RunConfig
    from vlmtune.evaluation.audit import Subject
    from vlmtune.types import JSON, Example

SCRIPT = "scripts/audit_rewards.py"
EXAMPLE = f"python {SCRIPT} --reward combined --dataset scenes"
OUTPUT, USUAL_ROWS, USUAL_MARGIN, USUAL_TIMED = "outputs/audit", 100, 0.05, 10_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        The exit code: 0 no reward can be gamed, 1 one can, or misbehaves, 2 a user's mistake,
        130 Ctrl-C.
    """
    return run_script(
        argv,
        help_text=lambda: f"{EXAMPLE}\n\n{_parser().format_help()}",
        work=lambda words: _run(parse(words)),
        interrupted="nothing was written",
    )


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line.

    Raises:
        ConfigError: If a flag is unknown, lacks its value or has an impossible one.
    """
    found = read_flags(_parser(), words)
    if not 0 <= found.margin < 1:
        raise ConfigError(f"--margin is {found.margin}; it should be from 0 to below 1")
    if found.timed_answers < 0:
        raise ConfigError(f"--timed_answers is {found.timed_answers}; it should be 0 or more")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = flag_parser(
        SCRIPT,
        usage="[flags]",
        epilog="Dashes work too: --max-samples. Exit codes: 0 no hole, 1 a reward can be gamed or "
        "misbehaves, 2 a wrong setting.",
    )
    add = parser.add_argument
    add("--reward", nargs="+", metavar="NAME|FILE",
        help="rewards to audit: a name, a .py file, a module, or FILE.py:NAME and MODULE:NAME for "
        "a class or function; without it the config's, or combined")  # fmt: skip
    add("--dataset", action="append", metavar="NAME|FILE",
        help="rows to build answers from; else the config's, or scenes")  # fmt: skip
    add("--config", type=Path, metavar="FILE", help="YAML of a run: its reward and its rows")
    add("--set", action="append", default=[], metavar="KEY=VALUE",
        help="any setting, such as reward.close_count=0; may be repeated")  # fmt: skip
    add("--max_samples", type=int, metavar="N", help=f"rows at most ({USUAL_ROWS})")
    add("--seed", type=int, metavar="N", help="fixes rows and their order (0)")
    add("--margin", type=float, default=USUAL_MARGIN, metavar="REWARD",
        help=f"what an attack may earn above a plain wrong answer ({USUAL_MARGIN})")  # fmt: skip
    add("--timed_answers", type=int, default=USUAL_TIMED, metavar="N",
        help=f"ordinary answers to time ({USUAL_TIMED}); 0 times none")  # fmt: skip
    add("--output_dir", type=Path, default=Path(OUTPUT), metavar="FOLDER",
        help=f"where report.html and report.json go ({OUTPUT})")  # fmt: skip
    return parser


def _run(flags: argparse.Namespace) -> int:
    from rich.console import Console

    from vlmtune.data.load import load_examples
    from vlmtune.evaluation.audit import configured_reward, open_reward
    from vlmtune.evaluation.audit.record import record
    from vlmtune.reports import audit_files
    from vlmtune.reports.audit_text import print_audit
    from vlmtune.reports.evaluation_files import refuse_foreign

    started = time.perf_counter()
    console = Console(highlight=False)
    folder: Path = flags.output_dir
    refuse_foreign(folder, ours=audit_files.FILES)
    config = _config(flags)
    for name in flags.reward or []:
        # A misspelt reward is told now, not after the rows have been read.
        open_reward(name, config.reward)
    loaded = load_examples(config, verify_images=False)
    subjects = [open_reward(name, config.reward, loaded.examples) for name in flags.reward or []]
    subjects = subjects or [configured_reward(config.reward, loaded.examples)]
    names = ", ".join(dataset.name for dataset in config.data.datasets)
    console.print(
        f"Auditing {', '.join(one.name for one in subjects)} on {len(loaded.examples)} rows of "
        f"{names}; no model is asked",
        markup=False,
    )
    for source in loaded.report.sources:
        if source.skipped:
            console.print(f"note: {source.line()}", markup=False)
    records = []
    for subject in subjects:
        records.append(record(_audit(subject, loaded.examples, flags, console)))
        print_audit(records[-1], console)
    report = _facts(config, flags, loaded.examples, names=names) | {
        "skipped": {one.name: dict(one.reasons) for one in loaded.report.sources if one.skipped},
        "seconds": time.perf_counter() - started,
        "status": _worst([one["status"] for one in records]),
        "rewards": records,
    }
    images = [image for example in loaded.examples for image in example.images]
    page = audit_files.write_audit(folder, report, images=images)
    console.print(f"\nWritten to {folder}; open {page}", markup=False)
    return 1 if report["status"] == "fail" else 0


def _config(flags: argparse.Namespace) -> "RunConfig":
    """Read the run whose reward and rows are audited; without a file it is the usual one."""
    from vlmtune import config_file

    rows = USUAL_ROWS if flags.max_samples is None else flags.max_samples
    given: dict[str, object] = {"seed": flags.seed, "data.max_samples": rows}
    if flags.dataset:
        given["data.datasets"] = [{"name": name} for name in flags.dataset]
    return config_file.resolve(
        flags.config, overrides=tuple(flags.set), flags=given, fallbacks={"stage": "grpo"}
    ).config


def _audit(
    subject: "Subject", examples: Sequence["Example"], flags: argparse.Namespace, console: "Console"
) -> Any:
    from rich import progress

    from vlmtune.evaluation.audit import audit
    from vlmtune.evaluation.audit.attacks import battery

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(subject.name, total=len(battery()))

        def advance(family: str, count: int) -> None:
            """Move the bar by the attacks of a family that are done."""
            bar.update(task, advance=count, description=f"{subject.name}: {family}")

        return audit(
            subject,
            examples,
            margin=flags.margin,
            timed_answers=flags.timed_answers,
            progress=advance,
        )


def _facts(
    config: "RunConfig", flags: argparse.Namespace, examples: Sequence["Example"], *, names: str
) -> dict[str, "JSON"]:
    import vlmtune

    kinds = [example.kind.value for example in examples]
    return {
        "vlmtune": vlmtune.__version__,
        "dataset": names,
        "rows": len(examples),
        "kinds": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "seed": config.seed,
        "margin": flags.margin,
        "options": config.reward.model_dump(mode="json"),
    }


def _worst(statuses: Sequence[str]) -> str:
    return next(status for status in ("fail", "warn", "pass") if status in statuses)
