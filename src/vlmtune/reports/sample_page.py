"""One page of a training's answers: pictures, what was said, what each part earned.

The page is written while training goes on, so it is a file of its own with no script in it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmtune.reports import gallery, pages
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
    text = pages.fill(
        TEMPLATE,
        styles=(STYLE,),
        title=title,
        sentence=sentence,
        gallery=gallery.cards(samples, pictures),
    )
    building = path.with_name(f".{path.name}.building")
    building.write_bytes(text.encode("utf-8"))
    building.replace(path)
