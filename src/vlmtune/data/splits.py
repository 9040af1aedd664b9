"""Splits and slices as the Hugging Face hub writes them: `train`, `train[:5%]`, `train[100:-50]`.

A percentage is rounded to the nearest row, as the hub's own library does, so that both cut at the
same row. A slice is taken before any row is looked at: which rows it holds does not depend on which
of them can be used.
"""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vlmtune.errors import ConfigError

_SLICE = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<start>[^\[\]:]*):(?P<stop>[^\[\]:]*)\])?")
_EDGE = re.compile(r"(-?\d+)(%?)")
SAME: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "validation": ("validation", "valid", "val", "dev"),
        "test": ("test", "eval"),
        "train": ("train", "training"),
    }
)
"""Names that different datasets give to the same split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One end of a slice: a row number or a percentage, from the end when negative."""

    value: int
    percent: bool

    def row(self, length: int) -> int:
        """The row number among `length` rows, 0..length."""
        value = round(self.value * length / 100.0) if self.percent else self.value
        return min(length, max(0, value + length if self.value < 0 else value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A split, or a part of one.

    Attributes:
        name: The split.
        start: Where the part starts, or None for the first row.
        stop: Where it ends, or None for the last row.
    """

    name: str
    start: Edge | None = None
    stop: Edge | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off."""
        return self.start is None and self.stop is None

    @property
    def needs_length(self) -> bool:
        """Whether the number of rows must be known before the first can be given."""
        edges = [edge for edge in (self.start, self.stop) if edge is not None]
        return any(edge.percent or edge.value < 0 for edge in edges)

    def bounds(self, length: Callable[[], int]) -> tuple[int, int | None]:
        """Say which rows are meant.

        Args:
            length: Counts the split's rows; called only where the slice needs it.

        Returns:
            First row and the row after the last; None where the end is the split's own.
        """
        if not self.needs_length:
            return (
                self.start.value if self.start else 0,
                self.stop.value if self.stop else None,
            )
        count = length()
        start = self.start.row(count) if self.start else 0
        return start, max(start, self.stop.row(count)) if self.stop else count


def parse(split: str) -> Slice:
    """Read a split as a config writes it.

    Args:
        split: "train", "train[:5%]", "test[100:200]", "train[-10%:]".

    Raises:
        ConfigError: If it is not of that form.
    """
    found = _SLICE.fullmatch(split.strip())
    if found is None:
        raise ConfigError(
            f"split '{split}' cannot be read; write a name, or a part of it such as "
            "train[:5%] or train[100:200]"
        )
    return Slice(
        name=found["name"],
        start=_edge(found["start"], split=split),
        stop=_edge(found["stop"], split=split),
    )


def choose(name: str, available: Collection[str], *, dataset: str) -> str:
    """Find a split by its name or by another name for the same: "dev" for "validation".

    Args:
        name: What the user wrote.
        available: The splits that are there.
        dataset: For the message.

    Raises:
        ConfigError: If there is none.
    """
    if name in available:
        return name
    group = next((names for names in SAME.values() if name in names), ())
    for other in group:
        if other in available:
            return other
    near = difflib.get_close_matches(name, available, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(
        f"dataset {dataset} has no split '{name}'; {hint}Splits: {', '.join(available) or 'none'}"
    )


def _edge(text: str | None, *, split: str) -> Edge | None:
    if not text:
        return None
    found = _EDGE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"split '{split}': '{text}' is neither a row number nor a percentage")
    value, percent = int(found[1]), found[2] == "%"
    if percent and abs(value) > 100:
        raise ConfigError(f"split '{split}': {value}% is beyond the split; use -100% to 100%")
    return Edge(value=value, percent=percent)
