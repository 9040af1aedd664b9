"""An evaluation as one HTML file: scores with their intervals, charts by group, and the failures.

Everything is inside the file: styles, pictures, the few lines of script that filter the gallery. A
reader needs a browser and nothing else; whatever a model or a dataset wrote is shown, never run.
"""

import base64
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from vlmtune.errors import DataError
from vlmtune.evaluation.score import Graded, Result
from vlmtune.reports import pages
from vlmtune.types import JSON, ImageRef, Verdict

GALLERY = 24
"""Failures shown for each benchmark."""
THUMBNAIL = 360
"""Longest side of a picture, in pixels."""
LONGEST_TEXT = 1600
"""Characters of a completion that are shown."""
FOLDED = 12
"""A chart with more bars than this starts folded."""

_TITLES = {
    "acc_2d": "2D: mean of ADE20K and COCO",
    "acc_3d": "3D: Omni3D",
    "cv_bench": "CV-Bench: mean of 2D and 3D",
}


def evaluation_page(report: Mapping[str, JSON], results: Sequence[Result]) -> str:
    """Write the page.

    Args:
        report: What report.json holds.
        results: The same benchmarks with their graded answers.

    Returns:
        One HTML document.
    """
    benchmarks = [_section(result, number) for number, result in enumerate(results)]
    return render("evaluation.html", report=report, benchmarks=benchmarks)


def comparison_page(comparison: Mapping[str, JSON]) -> str:
    """Write the page of a comparison.

    Args:
        comparison: What compare.json holds.

    Returns:
        One HTML document.
    """
    reach = {name: _reach(part) for name, part in comparison["benchmarks"].items()}
    return render("comparison.html", comparison=comparison, reach=reach)


def render(template: str, **context: Any) -> str:
    """Fill a template with what the pages of evaluations write numbers with."""
    return pages.fill(
        template,
        filters={
            "percent": percent,
            "points": points,
            "probability": probability,
            "first_group": _first_group,
        },
        **context,
    )


def percent(share: float | None) -> str:
    """Write a share in per cent: 0.4567 -> "45.7"."""
    return "–" if share is None else f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def probability(value: float) -> str:
    """Write a p-value; very small ones as a bound."""
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _first_group(groups: Mapping[str, str]) -> str:
    """Name a row's group in the first grouping, by which the gallery is mixed and filtered."""
    return next(iter(groups.values()), "")


def _section(result: Result, number: int) -> dict[str, Any]:
    report = result.report
    n, missing = report["n"], report["missing"]
    total = n + missing
    wrong = n - report["correct"] - report["unreadable"]
    counts = {
        "correct": report["correct"],
        "wrong": wrong,
        "unreadable": report["unreadable"],
        "missing": missing,
    }
    return {
        "name": result.name,
        "anchor": f"benchmark-{number}",
        "report": report,
        "stack": [(name, count, count / total) for name, count in counts.items() if count],
        "charts": [_chart(name, groups) for name, groups in report["groups"].items()],
        "confusion": _confusion(report.get("confusion")),
        "confusion_of": report.get("confusion_of", "answers"),
        "official": _official(report),
        "failures": [_card(one) for one in _failures(result.graded)],
        "failed": n - report["correct"],
    }


def _chart(name: str, groups: Mapping[str, Mapping[str, JSON]]) -> dict[str, Any]:
    return {"name": name, "bars": list(groups.items()), "folded": len(groups) > FOLDED}


def _confusion(table: Mapping[str, Mapping[str, int]] | None) -> dict[str, Any] | None:
    if not table:
        return None
    said = dict.fromkeys(name for row in table.values() for name in row)
    # Gold labels first and in their order, so that what is right stands on the diagonal.
    columns = sorted([*table, *(name for name in said if name not in table)], key=_is_blank)
    rows = []
    for gold, row in table.items():
        total = sum(row.values())
        cells = [(row.get(name, 0), row.get(name, 0) / total, name == gold) for name in columns]
        rows.append({"gold": gold, "cells": cells})
    return {"columns": [name or "unreadable" for name in columns], "rows": rows}


def _is_blank(name: str) -> bool:
    return not name


def _official(report: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Lay out CV-Bench's official scores: a line for each number, a column for each reading."""
    if "official_raw" not in report:
        return None
    readers = {
        "official": report["official_raw"],
        "official on <answer>": report["official_answer_tag"],
        "robust": report["robust"],
    }
    sources = list(report["official_raw"]["sources"])
    lines = [(name, [found["sources"].get(name) for found in readers.values()]) for name in sources]
    lines += [(title, [found[key] for found in readers.values()]) for key, title in _TITLES.items()]
    lines.append(("micro mean over rows", [found["micro"] for found in readers.values()]))
    return {
        "readers": list(readers),
        "lines": lines,
        "refused": report["official_raw"].get("refused", ""),
    }


def _failures(graded: Sequence[Graded]) -> list[Graded]:
    """Choose failures from all groups in turn, so that a large group does not fill the gallery."""
    by_group: dict[tuple[str, str], list[Graded]] = defaultdict(list)
    for one in graded:
        if one.judgement.verdict is not Verdict.CORRECT:
            first = _first_group(one.judgement.groups)
            by_group[one.judgement.verdict.value, first].append(one)
    turns = chain.from_iterable(zip_longest(*by_group.values()))
    return [one for one in turns if one is not None][:GALLERY]


def _card(graded: Graded) -> dict[str, Any]:
    judgement, columns = graded.judgement, graded.answer.saved
    completion = graded.answer.completion or ""
    robust = judgement.details.get("robust")
    return {
        "id": graded.answer.row.id,
        "verdict": judgement.verdict.value,
        "groups": judgement.groups,
        "image": thumbnail(graded.answer.row.image),
        "question": _question(columns),
        "choices": list(columns.get("choices") or ()) if "task" in columns else [],
        "gold": judgement.gold,
        "reading": judgement.reading or "nothing",
        "robust": robust["verdict"] if isinstance(robust, Mapping) else "",
        "completion": completion[:LONGEST_TEXT],
        "cut": max(0, len(completion) - LONGEST_TEXT),
        "finish": columns.get("finish", ""),
    }


def _question(columns: Mapping[str, JSON]) -> str:
    return str(columns.get("question") or columns.get("caption") or "")


def thumbnail(image: ImageRef | None) -> str:
    """Shrink a picture into a data address; "" when there is none or it cannot be opened."""
    if image is None:
        return ""
    try:
        picture = image.open()
    except DataError:
        # The page says "no picture" in its place; the run's report lists the reason.
        return ""
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _reach(part: Mapping[str, JSON]) -> float:
    """Find the half width of a difference chart: the widest interval, rounded up to 5 points."""
    groups = [group for groups in part["groups"].values() for group in groups.values()]
    widest = max(abs(float(bound)) for one in (part, *groups) for bound in one["bootstrap95"])
    return min(1.0, max(0.05, math.ceil(20 * widest) / 20))
