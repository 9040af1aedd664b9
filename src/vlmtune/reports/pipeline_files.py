"""The files that tell the story of a pipeline, written again after each of its steps."""

from collections.abc import Mapping
from pathlib import Path

from vlmtune.reports import pipeline_page, pipeline_story
from vlmtune.reports.files import as_json, write_whole
from vlmtune.types import JSON

FILES = ("report.json", "report.md", "report.html", "curve.svg")


def write(folder: Path) -> dict[str, JSON]:
    """Write report.json, report.md, report.html and curve.svg.

    Args:
        folder: The pipeline's, with at least one evaluation in it.

    Returns:
        What report.json holds.

    Raises:
        RunFailed: If the folder cannot be written.
    """
    report = pipeline_story.collect(folder)
    texts = {
        "report.json": as_json(report),
        "report.md": pipeline_page.pipeline_text(report),
        "report.html": pipeline_page.pipeline_page(report),
        "curve.svg": pipeline_page.figure(report),
    }
    write_whole(folder, texts)
    return report


def lines(report: Mapping[str, JSON], name: str) -> list[str]:
    """Say how well a model did, and how that compares with the one before it.

    Args:
        report: What `write` returned.
        name: The model.
    """
    names = [one["name"] for one in report["models"]]
    place = names.index(name)
    model = report["models"][place]
    found = []
    for key, one in model["benchmarks"].items():
        low, high = one["wilson95"]
        found.append(
            f"{key}: {100 * one['accuracy']:.1f} % of {one['n']} (95 % interval "
            f"{100 * low:.1f} to {100 * high:.1f}), {one['unreadable']} unreadable"
        )
        if model["paired"] is not None:
            told = pipeline_story.told(name, model["paired"][key], before=names[place - 1])
            found.append(f"{told}")
    return found
