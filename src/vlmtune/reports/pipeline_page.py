"""A pipeline as one HTML page and as Markdown: what each stage learned, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from markupsafe import Markup

from vlmtune.reports import pages, pipeline_plots
from vlmtune.reports.evaluation_page import percent, points, probability
from vlmtune.reports.pipeline_plots import Mark, Track
from vlmtune.reports.pipeline_story import CURVES, told, verdict
from vlmtune.reports.plots import Range
from vlmtune.types import JSON

_FOOTNOTE = (
    "Intervals are Wilson's; p is McNemar's exact test on the same questions. Unreadable answers "
    "count as not correct."
)
TEMPLATE, STYLES = "pipeline.html.j2", ("evaluation.css", "pipeline.css")


def pipeline_page(report: Mapping[str, JSON]) -> str:
    """Write the page.

    Args:
        report: What `pipeline_story.collect` gathers.

    Returns:
        One HTML document that needs no network.
    """
    return pages.fill(
        TEMPLATE,
        filters={
            "percent": percent,
            "points": points,
            "probability": probability,
            "minutes": minutes,
        },
        styles=STYLES,
        report=report,
        title=f"{report['model']}: {' → '.join(stage['name'] for stage in report['stages'])}",
        benchmarks=[_benchmark(report, name) for name in benchmarks_of(report)],
        stages=[_stage(stage) for stage in report["stages"]],
        total=sum(report["seconds"].values()),
        settings=yaml.safe_dump(report["settings"], sort_keys=False, allow_unicode=True),
    )


def pipeline_text(report: Mapping[str, JSON]) -> str:
    """Write report.md.

    Args:
        report: What `pipeline_story.collect` gathers.
    """
    lines = [
        f"# {report['model']}: {', '.join(stage['name'] for stage in report['stages'])}",
        "",
        _facts(report),
    ]
    for name in benchmarks_of(report):
        one = _benchmark(report, name)
        lines += ["", f"## {name}", ""]
        header = (
            "model", "n", "accuracy %", "95 % interval", *one["kinds"], "unreadable",
            "to the one before", "p",
        )  # fmt: skip
        lines += [_row(header), _row(["---"] * len(header))]
        lines += [_row(_cells(row, one["kinds"])) for row in one["rows"]]
        lines += ["", *(f"- {row['told']}." for row in one["rows"] if row["told"])]
        if one["against_base"]:
            lines.append(f"- In all, {one['against_base']}.")
    lines += ["", "## Stages", ""]
    header = ("stage", "rows", "updates", "rate", "time", "learned")
    lines += [_row(header), _row(["---"] * len(header))]
    for stage in report["stages"]:
        done = stage["steps"] if stage["steps"] is not None else stage["status"]
        lines.append(
            _row(
                (
                    stage["name"], stage["rows"], done, stage["learning_rate"] or "",
                    minutes(stage["seconds"]), _learned(stage),
                )
            )
        )  # fmt: skip
    lines += [
        "",
        _FOOTNOTE,
    ]
    return "\n".join(lines) + "\n"


def figure(report: Mapping[str, JSON]) -> str:
    """Draw accuracy after each stage and the curve of each, as one SVG file.

    Args:
        report: What `pipeline_story.collect` gathers.
    """
    name = benchmarks_of(report)[0]
    marks = _benchmark(report, name)["marks"]
    count = report["models"][0]["benchmarks"][name]["n"]
    below = {stage["name"]: tracks[0] for stage in report["stages"] if (tracks := _tracks(stage))}
    return pipeline_plots.figure(
        marks, below, title=f"right answers to {count:,} questions that no stage saw"
    )


def benchmarks_of(report: Mapping[str, JSON]) -> list[str]:
    """List what every model was asked."""
    return list(report["models"][0]["benchmarks"]) if report["models"] else []


def minutes(seconds: float | None) -> str:
    """Write a duration: "12.3 min", "8 s"."""
    if seconds is None:
        return "–"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"


def _benchmark(report: Mapping[str, JSON], name: str) -> dict[str, Any]:
    models = report["models"]
    kinds = list(models[0]["benchmarks"][name]["groups"].get("kind", {}))
    # The only kind says what the whole says.
    kinds = kinds if len(kinds) > 1 else []
    rows = []
    for index, model in enumerate(models):
        one, paired = model["benchmarks"][name], (model["paired"] or {}).get(name)
        before = models[index - 1]["name"] if index else ""
        rows.append(
            {
                "name": model["name"],
                **one,
                "kinds": one["groups"].get("kind", {}),
                "paired": paired,
                "verdict": "" if paired is None else verdict(paired),
                "told": "" if paired is None else told(model["name"], paired, before=before),
            }
        )
    last, base = models[-1], models[0]["name"]
    overall = (last["against_base"] or {}).get(name)
    marks = [
        Mark(name=row["name"], range=_range(row), is_worse=row["verdict"] == "worse")
        for row in rows
    ]
    return {
        "name": name,
        "kinds": kinds,
        "rows": rows,
        "marks": marks,
        "plot": pipeline_plots.alone(
            pipeline_plots.ladder(marks, title="right answers", width=pipeline_plots.BROAD),
            title=f"{name}: right answers",
            width=pipeline_plots.BROAD,
        ),
        "kind_plots": _kind_plots(rows, kinds) if kinds else [],
        "overall": overall if len(models) > 2 else None,
        "against_base": (
            told(last["name"], overall, before=base) if overall and len(models) > 2 else ""
        ),
        "gained": verdict(overall) if overall else "",
    }


def _kind_plots(rows: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[Markup]:
    """Draw each kind of question on the same axis."""
    by_kind = {
        kind: [Mark(name=row["name"], range=_range(row["kinds"][kind])) for row in rows]
        for kind in kinds
    }
    span = pipeline_plots.reach(mark for marks in by_kind.values() for mark in marks)
    plots = []
    for kind, marks in by_kind.items():
        title = f"{kind.replace('_', '/')}, n = {rows[0]['kinds'][kind]['n']}"
        width = pipeline_plots.SLIM
        panel = pipeline_plots.ladder(marks, title=title, width=width, span=span)
        plots.append(pipeline_plots.alone(panel, title=title, width=width))
    return plots


def _range(one: Mapping[str, JSON]) -> Range:
    low, high = one["wilson95"]
    return Range(value=one["accuracy"], low=low, high=high)


def _stage(stage: Mapping[str, JSON]) -> dict[str, Any]:
    tracks = _tracks(stage)
    return {
        **stage,
        "plots": [
            pipeline_plots.alone(
                pipeline_plots.course(track, width=pipeline_plots.NARROW),
                title=track.title,
                width=pipeline_plots.NARROW,
            )
            for track in tracks
        ],
    }


def _tracks(stage: Mapping[str, JSON]) -> list[Track]:
    """Give the metrics in the order of what they tell."""
    titles = CURVES[stage["stage"]]
    return [
        Track(title=title, points=tuple((int(step), value) for step, value in found))
        for name, title in titles.items()
        if len(found := stage["curves"].get(name, [])) > 1
    ]


def _learned(stage: Mapping[str, JSON]) -> str:
    tracks = _tracks(stage)
    if not tracks:
        return ""
    smooth = pipeline_plots.moving_mean(tracks[0].points)
    return f"{tracks[0].title} {smooth[0][1]:.3g} to {smooth[-1][1]:.3g}"


def _cells(row: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    paired = row["paired"]
    return [
        row["name"],
        str(row["n"]),
        percent(row["accuracy"]),
        f"{percent(row['wilson95'][0])} to {percent(row['wilson95'][1])}",
        *(percent(row["kinds"][kind]["accuracy"]) for kind in kinds),
        str(row["unreadable"]),
        "" if paired is None else points(paired["difference"]),
        "" if paired is None else probability(paired["mcnemar_p"]),
    ]


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _facts(report: Mapping[str, JSON]) -> str:
    spent = minutes(sum(report["seconds"].values()))
    facts = f"Backend {report['backend']}, style {report['style']}, greedy answers, {spent}."
    if report["status"] == "done":
        return facts
    why = f" ({report['why']})" if report["why"] else ""
    return f"{facts} Not finished: {report['status']}{why}."
