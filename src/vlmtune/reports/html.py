"""Writes report.html from run.json and samples.jsonl: one file, no network, light and dark."""

import json
from collections.abc import Mapping
from pathlib import Path

from vlmtune.reports import figures, gallery, pages, summary
from vlmtune.reports.thumbnails import Thumbnail
from vlmtune.types import JSON

TEMPLATE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"


def write_report(directory: Path, *, pictures: Mapping[str, Thumbnail]) -> Path:
    """Render a run's page.

    Args:
        directory: Holds run.json and samples.jsonl; report.html is written beside them.
        pictures: Picture name -> copy; a picture without one is shown by its name.

    Returns:
        The path of the page.
    """
    run = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    lines = (directory / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    samples = [json.loads(line) for line in lines if line]
    page = directory / "report.html"
    page.write_bytes(render(run, samples, pictures=pictures).encode("utf-8"))
    return page


def render(
    run: Mapping[str, JSON],
    samples: list[dict[str, JSON]],
    *,
    pictures: Mapping[str, Thumbnail],
) -> str:
    """Render the page as text.

    Args:
        run: The content of run.json.
        samples: The lines of samples.jsonl.
        pictures: Picture name -> copy.
    """
    shown = gallery.cards(samples, pictures)
    return pages.fill(
        TEMPLATE,
        styles=(STYLE,),
        script=SCRIPT,
        run=run,
        title=f"{run['stage'].upper()} rehearsal of {run['model']['name']}",
        stage_title=summary.stage_title(run),
        verdict=summary.verdict(run),
        facts=summary.facts(run),
        cards=summary.cards(run),
        checks=summary.checks(run),
        figures=figures.figures(run, samples),
        gallery=shown,
        extremes=summary.extremes(run, samples),
        hidden=len(samples) - len(shown),
        kinds=list(dict.fromkeys(sample["kind"] for sample in samples)),
        settings=json.dumps(run["config"], indent=2, ensure_ascii=False),
        numbers=run["metrics"],
    )
