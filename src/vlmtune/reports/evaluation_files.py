"""The files that an evaluation leaves behind, each whole or not there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmtune.errors import ConfigError
from vlmtune.evaluation.score import Result
from vlmtune.reports.evaluation_page import comparison_page, evaluation_page
from vlmtune.reports.evaluation_text import comparison_text, evaluation_text
from vlmtune.reports.files import as_json, part_of, write_whole
from vlmtune.types import JSON

EVALUATION = ("report.json", "report.md", "report.html", "eval_results.json")
COMPARISON = ("compare.json", "compare.md", "compare.html")


def refuse_foreign(folder: Path, *, ours: Sequence[str]) -> None:
    """Make sure that writing into a folder overwrites nothing of somebody else's.

    Args:
        folder: Where files are to go.
        ours: Names that an earlier run may have left there.

    Raises:
        ConfigError: If it is not a folder, or holds anything else.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"--output_dir {folder} is a file; choose another")
    known = {*ours, *map(part_of, ours)}
    others = sorted(file.name for file in folder.iterdir() if file.name not in known)
    if others:
        raise ConfigError(
            f"--output_dir {folder} holds {', '.join(others[:4])}{', ...' if others[4:] else ''}, "
            "which no evaluation wrote; choose another"
        )


def write_evaluation(folder: Path, report: Mapping[str, JSON], results: Sequence[Result]) -> Path:
    """Write report.json, report.md, report.html and eval_results.json.

    Returns:
        The page.

    Raises:
        RunFailed: If the folder cannot be written.
    """
    seed_004 = {result.name: _as_seed_004(result) for result in results}
    texts = {
        "report.json": as_json(report),
        "eval_results.json": as_json(seed_004),
        "report.md": evaluation_text(report),
        "report.html": evaluation_page(report, results),
    }
    write_whole(folder, texts)
    return folder / "report.html"


def write_comparison(folder: Path, comparison: Mapping[str, JSON]) -> Path:
    """Write compare.json, compare.md and compare.html.

    Returns:
        The page.

    Raises:
        RunFailed: If the folder cannot be written.
    """
    texts = {
        "compare.json": as_json(comparison),
        "compare.md": comparison_text(comparison),
        "compare.html": comparison_page(comparison),
    }
    write_whole(folder, texts)
    return folder / "compare.html"


def _as_seed_004(result: Result) -> dict[str, JSON]:
    """Lay a result out the way the first version of this script did."""
    return {
        "benchmark": result.name,
        "accuracy": result.report["accuracy"],
        "total_samples": result.report["n"],
        "correct": result.report["correct"],
        "predictions": [
            {
                **one.answer.saved,
                "id": one.answer.row.id,
                "gold": one.judgement.gold,
                "reading": one.judgement.reading,
                "verdict": one.judgement.verdict.value,
                "is_correct": one.judgement.verdict.value == "correct",
            }
            for one in result.graded
        ],
    }
