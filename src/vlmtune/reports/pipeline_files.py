"""The files that tell the story of a pipeline, written again after each of its steps."""

import json
from collections.abc import Mapping
from pathlib import Path

from vlmtune.errors import RunFailed
from vlmtune.reports import pipeline_page, pipeline_story
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
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "report.md": pipeline_page.pipeline_text(report),
        "report.html": pipeline_page.pipeline_page(report),
        "curve.svg": pipeline_page.figure(report),
    }
    try:
        for name in FILES:
            part = folder / f".{name}.part"
            part.write_text(texts[name], encoding="utf-8", errors="replace")
            part.replace(folder / name)
    except OSError as error:
        raise RunFailed(
            f"{folder} cannot be written ({error.strerror}); free some space"
        ) from error
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
