"""One page of a training's answers: pictures, what was said, what each part earned.

The page is written while training goes on, so it is a file of its own with no script in it.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from vlmtune.reports import gallery
from vlmtune.reports.html import policy
from vlmtune.reports.thumbnails import Thumbnail
from vlmtune.types import JSON

TEMPLATE, STYLE = "samples.html.j2", "report.css"


def write_page(
    path: Path,
    samples: Sequence[Mapping[str, JSON]],
    *,
    pictures: Mapping[str, Thumbnail],
    title: str,
    sentence: str,
) -> None:
    """Render a page.

    Args:
        path: Where it goes; a page that is there already is replaced as a whole.
        samples: Records of prompts with their graded answers, as in samples.jsonl.
        pictures: Picture name -> copy.
        title: "GRPO, after 50 updates".
        sentence: The numbers in one sentence.
    """
    folder = resources.files("vlmtune.reports") / "templates"
    style = (folder / STYLE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vlmtune.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(
        title=title,
        sentence=sentence,
        policy=policy(style, ""),
        style=Markup(style),
        gallery=gallery.cards(samples, pictures),
    )
    building = path.with_name(f".{path.name}.building")
    # A lone surrogate in a model's text has no UTF-8; the page shows a question mark for it.
    building.write_bytes(text.encode("utf-8", errors="replace"))
    building.replace(path)
