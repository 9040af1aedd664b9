"""The files that a reward bench leaves behind, each whole or not there."""

import json
from collections.abc import Mapping
from pathlib import Path

from vlmtune.errors import RunFailed
from vlmtune.reports.audit_page import audit_page
from vlmtune.types import JSON

FILES = ("report.json", "report.html")


def write_audit(folder: Path, report: Mapping[str, JSON]) -> Path:
    """Write report.json and report.html.

    Args:
        folder: Where; made if it is not there.
        report: The facts of the run, and one record for each reward under "rewards".

    Returns:
        The page.

    Raises:
        RunFailed: If the folder cannot be written.
    """
    texts = {
        "report.json": json.dumps(report, indent=1, allow_nan=False) + "\n",
        "report.html": audit_page(report),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            part = folder / f"{name}.part"
            part.write_text(texts[name], encoding="utf-8", errors="replace")
            part.replace(folder / name)
    except OSError as error:
        raise RunFailed(
            f"{folder} cannot be written ({error.strerror}); free some space"
        ) from error
    return folder / "report.html"
