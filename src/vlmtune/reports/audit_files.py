"""The files that a reward bench leaves behind, each whole or not there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmtune.errors import DataError
from vlmtune.reports import thumbnails
from vlmtune.reports.audit_page import audit_page, shown_images
from vlmtune.reports.files import as_json, write_whole
from vlmtune.types import JSON, ImageRef

FILES = ("report.json", "report.html")


def write_audit(
    folder: Path, report: Mapping[str, JSON], *, images: Sequence[ImageRef] = ()
) -> Path:
    """Write report.json and report.html.

    Args:
        folder: Where; made if it is not there.
        report: The facts of the run, and one record for each reward under "rewards".
        images: Pictures of the rows; those of the answers shown are copied into the page.

    Returns:
        The page.

    Raises:
        RunFailed: If the folder cannot be written.
    """
    texts = {
        "report.json": as_json(report),
        "report.html": audit_page(report, _pictures(report, images)),
    }
    write_whole(folder, texts)
    return folder / "report.html"


def _pictures(
    report: Mapping[str, JSON], images: Sequence[ImageRef]
) -> dict[str, thumbnails.Thumbnail]:
    """Copy the pictures of the answers shown; one that cannot be opened is left to its name."""
    shown = set(shown_images(report))
    wanted = {image.name: image for image in images if image.name in shown}
    return thumbnails.make([image for image in wanted.values() if _opens(image)])


def _opens(image: ImageRef) -> bool:
    # No picture was needed until now, so a missing one must not cost the report.
    try:
        image.open()
    except DataError:
        return False
    return True
