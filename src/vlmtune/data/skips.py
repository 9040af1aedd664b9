"""What was read, kept and left out of each source, and why."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from vlmtune.errors import DataError

LISTED_ROWS = 100
"""Skipped rows that a report names one by one; all others are counted."""

_MOST_REASONS = 50
_OTHER = "other reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRow:
    """A row that was left out.

    Attributes:
        row: "photos.jsonl line 17", or the Example's id.
        reason: What was wrong, what was found, what to do.
    """

    row: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What became of one source's rows.

    Attributes:
        name: The dataset as the config names it.
        kept: Rows in use.
        skipped: Rows that could not be used.
        reasons: How many rows each kind of reason cost, most frequent first.
        first: The first `LISTED_ROWS` skipped rows.
    """

    name: str
    kept: int
    skipped: int
    reasons: Mapping[str, int]
    first: tuple[SkippedRow, ...]

    @property
    def read(self) -> int:
        """Rows looked at; reading stops when enough rows are kept."""
        return self.kept + self.skipped

    def line(self) -> str:
        """Say it in one line: 'vsr.jsonl: 10 of 13 rows kept; skipped: image not found (3)'."""
        text = f"{self.name}: {self.kept} of {self.read} rows kept"
        causes = ", ".join(f"{reason} ({count})" for reason, count in self.reasons.items())
        return f"{text}; skipped: {causes}" if causes else text


@dataclass(slots=True, kw_only=True)
class SkipLog:
    """Collects skipped rows of one source; callable as a `SkipReport`.

    Attributes:
        stop: Raise at the first bad row instead of counting it.
    """

    stop: bool
    count: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[SkippedRow] = field(default_factory=list)

    def __call__(self, row: str, reason: str) -> None:
        """Count a skipped row.

        Raises:
            DataError: If `stop` is set.
        """
        if self.stop:
            raise DataError(f"{row}: {reason}; data.on_bad_row: skip would leave such rows out")
        self.count += 1
        cause = headline(reason)
        # A foreign dataset may put the row's own text first; the table of reasons stays bounded.
        known = cause in self.reasons or len(self.reasons) < _MOST_REASONS
        self.reasons[cause if known else _OTHER] += 1
        if len(self.first) < LISTED_ROWS:
            self.first.append(SkippedRow(row=row, reason=reason))

    def report(self, *, name: str, kept: int) -> SourceReport:
        """Freeze what was collected."""
        return SourceReport(
            name=name,
            kept=kept,
            skipped=self.count,
            reasons=dict(self.reasons.most_common()),
            first=tuple(self.first),
        )


def headline(reason: str) -> str:
    """Cut a reason to the part that is the same for all rows: what stands before the details."""
    return re.split(r": | \(", reason, maxsplit=1)[0].strip()[:80]
