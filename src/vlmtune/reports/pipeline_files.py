"""The files that tell the story of a pipeline, written again after each of its steps."""

import json
from collections.abc import Mapping
from pathlib import Path

from vlmtune.config_pipeline import BASE
from vlmtune.evaluation import compare
from vlmtune.types import JSON

EVALUATIONS, RUN, METRICS = "evaluations", "run.json", "metrics.jsonl"


def write(folder: Path) -> Path:
    """Write report.json, report.md, report.html and curve.svg.

    Returns:
        The page.
    """
    report = collect(folder)
    path = folder / "report.json"
    part = folder / ".report.json.part"
    part.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def collect(folder: Path) -> dict[str, JSON]:
    """Gather what a pipeline's folder holds so far."""
    record = _json(folder / RUN)
    names = [BASE, *(stage["name"] for stage in record["order"])]
    found = {
        name: compare.load(folder / EVALUATIONS / name)
        for name in names
        if (folder / EVALUATIONS / name / compare.REPORT).is_file()
    }
    models: list[dict[str, JSON]] = []
    before: compare.Side | None = None
    for name, side in found.items():
        benchmarks = {
            key: {
                field: part[field]
                for field in ("n", "correct", "accuracy", "wilson95", "unreadable", "groups")
            }
            for key, part in side.benchmarks.items()
        }
        paired = None if before is None else compare.compare(before, side)["benchmarks"]
        models.append({"name": name, "benchmarks": benchmarks, "paired": paired})
        before = side
    return {"pipeline": record["pipeline"], "backend": record["backend"], "models": models}


def line(folder: Path, name: str) -> str:
    """Say in a line how well a model did."""
    model = next(one for one in collect(folder)["models"] if one["name"] == name)
    return "; ".join(_told(key, part) for key, part in model["benchmarks"].items())


def _told(key: str, one: Mapping[str, JSON]) -> str:
    low, high = one["wilson95"]
    return (
        f"{key}: {100 * one['accuracy']:.1f} % of {one['n']} (95 % interval {100 * low:.1f} to "
        f"{100 * high:.1f}), {one['unreadable']} unreadable"
    )


def _json(path: Path) -> dict[str, JSON]:
    found: dict[str, JSON] = json.loads(path.read_text(encoding="utf-8"))
    return found
