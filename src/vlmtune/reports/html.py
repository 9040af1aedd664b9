"""Writes report.html from run.json and samples.jsonl: one file, no network, light and dark.

A model's words are hostile until shown otherwise: everything is escaped by the template engine, the
page's policy forbids every connection, and only the page's own script and style, named by their
hashes, may run.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from vlmtune.reports import figures, gallery, summary
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
    # A lone surrogate in a model's text has no UTF-8; the page shows a question mark for it.
    page.write_bytes(render(run, samples, pictures=pictures).encode("utf-8", errors="replace"))
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
    folder = resources.files("vlmtune.reports") / "templates"
    style = (folder / STYLE).read_text(encoding="utf-8")
    script = (folder / SCRIPT).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlmtune.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = gallery.cards(samples, pictures)
    return environment.get_template(TEMPLATE).render(
        run=run,
        title=f"{run['stage'].upper()} rehearsal of {run['model']['name']}",
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
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


def policy(style: str, script: str) -> str:
    """Forbid everything but inline pictures and the two inline blocks with these hashes.

    Args:
        style: What stands inside <style>, to the letter.
        script: What stands inside <script>.
    """
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
