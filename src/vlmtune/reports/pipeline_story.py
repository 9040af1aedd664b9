"""What a pipeline's folder says so far: how each stage went, and what each model got right.

models    base, sft, ...: accuracy with its interval, by kind, and the paired difference to the
          model before it and to the first
stages    rows, updates, time, what the metrics say, and the metrics themselves
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmtune.config_pipeline import BASE
from vlmtune.evaluation import compare
from vlmtune.types import JSON

EVALUATIONS, RUN, METRICS = "evaluations", "run.json", "metrics.jsonl"
CHANCE = 0.05
"""A difference with a smaller p-value is called one."""
CURVES: Mapping[str, Mapping[str, str]] = {
    "sft": {
        "loss": "loss",
        "mean_token_accuracy": "tokens foretold rightly",
        "eval_loss": "loss on rows set aside",
    },
    "dpo": {
        "rewards/margins": "margin of the chosen",
        "rewards/accuracies": "pairs preferred rightly",
        "loss": "loss",
    },
    "grpo": {
        "reward/mean": "mean reward",
        "reward/flat_groups": "share of flat groups",
        "completions/mean_length": "tokens of an answer",
    },
}
"""Stage -> metric -> what it is called; the first is the one that tells how the stage learned."""
_FIELDS = ("n", "correct", "accuracy", "wilson95", "unreadable", "missing", "truncated", "groups")


def collect(folder: Path) -> dict[str, JSON]:
    """Gather what a pipeline's folder holds so far.

    Args:
        folder: With the pipeline's run.json.
    """
    record = _json(folder / RUN)
    names = [BASE, *(stage["name"] for stage in record["order"])]
    found = {
        name: compare.load(folder / EVALUATIONS / name)
        for name in names
        if (folder / EVALUATIONS / name / compare.REPORT).is_file()
    }
    models: list[dict[str, JSON]] = []
    for index, (name, side) in enumerate(found.items()):
        models.append(_model(name, side, list(found.values())[:index]))
    config = record["config"]
    return {
        "made_by": record["made_by"],
        "pipeline": record["pipeline"],
        "status": record["status"],
        "why": record.get("why", ""),
        "backend": record["backend"],
        "model": config["model"]["name"],
        "style": config["evaluation"]["style"],
        "versions": record["versions"],
        "seconds": record["seconds"],
        "models": models,
        "stages": [
            _stage(folder / entry["name"], entry, record["seconds"]) for entry in record["order"]
        ],
        "settings": config,
    }


def verdict(paired: Mapping[str, JSON]) -> str:
    """Say what a paired difference shows: better, worse, or nothing that chance does not explain.

    Args:
        paired: One benchmark of a comparison.
    """
    if paired["mcnemar_p"] >= CHANCE or not paired["difference"]:
        return "even"
    return "better" if paired["difference"] > 0 else "worse"


def told(name: str, paired: Mapping[str, JSON], *, before: str) -> str:
    """Put a difference into a sentence.

    Args:
        name: The model.
        paired: One benchmark of the comparison with `before`.
        before: The model before it.
    """
    points = f"{abs(100 * paired['difference']):.1f} points"
    probability = paired["mcnemar_p"]
    chance = "p < 0.0001" if probability < 0.0001 else f"p = {probability:.4f}"
    counts = (
        f"of {paired['n']} questions {paired['only_b']} won and {paired['only_a']} lost; {chance}"
    )
    found = verdict(paired)
    if found != "even":
        return f"{name} is {found} than {before} by {points} ({counts})"
    if not paired["difference"]:
        return f"{name} is right as often as {before} ({counts})"
    side = "below" if paired["difference"] < 0 else "above"
    return f"{name} is {points} {side} {before}, no more than chance explains ({counts})"


def _model(name: str, side: compare.Side, earlier: Sequence[compare.Side]) -> dict[str, JSON]:
    benchmarks = {
        key: {field: part.get(field) for field in _FIELDS} for key, part in side.benchmarks.items()
    }
    return {
        "name": name,
        "benchmarks": benchmarks,
        "paired": _paired(earlier[-1], side) if earlier else None,
        "against_base": _paired(earlier[0], side) if earlier else None,
    }


def _paired(before: compare.Side, after: compare.Side) -> dict[str, JSON]:
    found: dict[str, JSON] = compare.compare(before, after)["benchmarks"]
    return found


def _stage(folder: Path, entry: Mapping[str, JSON], seconds: Mapping[str, float]) -> JSON:
    record = _json(folder / RUN) if (folder / RUN).is_file() else {}
    result = record.get("result") or {}
    training = (record.get("config") or {}).get("training") or {}
    return {
        **entry,
        "status": record.get("status", "waiting"),
        "start": (record.get("start") or {}).get("from", ""),
        "learning_rate": training.get("learning_rate"),
        "steps": result.get("steps"),
        "seconds": seconds.get(f"train {entry['name']}"),
        "health": result.get("health", []),
        "samples": _newest(folder / "samples"),
        "curves": _curves(folder / METRICS, stage=entry["stage"]),
    }


def _curves(path: Path, *, stage: str) -> dict[str, list[list[float]]]:
    """Read the metrics that tell of learning: name -> (update, value), one for each update."""
    found: dict[str, dict[int, float]] = {name: {} for name in CURVES[stage]}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            numbers = _line(line)
            for name, points in found.items():
                value = numbers.get(name)
                if isinstance(value, int | float) and math.isfinite(value):
                    points[int(numbers["step"])] = float(value)
    return {
        name: [[step, value] for step, value in sorted(points.items())]
        for name, points in found.items()
        if points
    }


def _newest(folder: Path) -> str:
    """Name the last page of sample answers, from the pipeline's folder; "" where there is none."""
    pages = sorted(folder.glob("*.html"))
    return f"{folder.parent.name}/{folder.name}/{pages[-1].name}" if pages else ""


def _line(text: str) -> dict[str, JSON]:
    """A line that a kill cut in two has nothing to say."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "step" in found else {}


def _json(path: Path) -> dict[str, JSON]:
    found: dict[str, JSON] = json.loads(path.read_text(encoding="utf-8"))
    return found
