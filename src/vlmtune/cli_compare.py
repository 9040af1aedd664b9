"""The command line of scripts/compare_runs.py: did the other machine do what this one did?

    outputs/mac outputs/gpu                    two pipelines, or two runs of one stage
    outputs/mac outputs/gpu --draw two.svg     with their courses, one over the other

Nothing heavy is imported for --help.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmtune.cli_messages import flag_parser, run_script, split_flags, unknown_flag
from vlmtune.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from vlmtune.parity.runs import Comparison

SCRIPT = "scripts/compare_runs.py"
EXAMPLE = f"python {SCRIPT} outputs/on_mac outputs/on_gpu --draw two_machines.svg"
SHOWN = 5
"""Ids of differing answers that are printed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        The exit code: 0 compared, 2 a user's mistake, 130 Ctrl-C.
    """
    return run_script(
        argv,
        help_text=lambda: f"{EXAMPLE}\n\n{_parser().format_help()}",
        work=_run,
        interrupted="nothing was written",
    )


def _run(words: Sequence[str]) -> int:
    found, folders = split_flags(_parser(), words)
    if flags := [word for word in folders if word.startswith("-")]:
        raise ConfigError(unknown_flag(flags[0], _parser()))
    if len(folders) != 2:
        raise ConfigError(f"{len(folders)} folders are named, and two are compared; {EXAMPLE}")
    from rich.console import Console

    from vlmtune.parity import runs

    one, other = (Path(folder).expanduser() for folder in folders)
    comparison = runs.compare(one, other)
    _print(comparison, Console())
    if found.draw is not None:
        _draw(comparison, Path(found.draw).expanduser())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = flag_parser(
        SCRIPT,
        usage="ONE OTHER [--draw FILE]",
        epilog="Folders of pipelines, or of single runs. Exit codes: 0 compared, 2 a wrong call.",
    )
    parser.add_argument("--draw", metavar="FILE", help="an .svg with both sides' courses")
    return parser


def _print(found: "Comparison", console: "Console") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if found.courses:
        table = Table(
            "stage",
            "followed",
            "updates",
            "the same at first",
            "largest difference, of the largest",
            box=SIMPLE_HEAD,
        )
        for course in found.courses:
            counts = sorted({len(course.one), len(course.other)})
            table.add_row(
                course.name,
                course.number,
                " and ".join(map(str, counts)),
                "all" if course.alike == counts[-1] else str(course.alike),
                f"{course.apart:.1e}",
            )
        console.print(table)
    if found.weights:
        table = Table(
            "stage", "weights", "cosine", "largest difference", "largest weight", box=SIMPLE_HEAD
        )
        for one in found.weights:
            table.add_row(
                one.name,
                f"{one.count:,}",
                f"{one.cosine:.7f}",
                f"{one.apart:.1e}",
                f"{one.largest:.2g}",
            )
        console.print(table)
    if found.answers:
        table = Table("model", "asked", "answers that are the same", "others", box=SIMPLE_HEAD)
        for answer in found.answers:
            more = ", ..." if len(answer.differing) > SHOWN else ""
            table.add_row(
                answer.model,
                answer.benchmark,
                f"{answer.same} of {answer.n}",
                ", ".join(answer.differing[:SHOWN]) + more,
            )
        console.print(table)


def _draw(found: "Comparison", path: Path) -> None:
    from vlmtune.parity import page
    from vlmtune.reports.files import write_whole

    if not found.courses:
        raise ConfigError("--draw has nothing to draw: no stage of both has a metrics.jsonl")
    panels = {
        f"{course.name}: {course.number}": dict(
            zip(found.sides, (course.one, course.other), strict=True)
        )
        for course in found.courses
    }
    write_whole(path.parent, {path.name: page.drawn(panels)})
    print(f"drawn: {path}")
