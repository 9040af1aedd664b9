"""Plots as SVG text: pure functions of numbers, coloured by the page's own style sheet.

Every plot is `WIDTH` units wide and carries its numbers as text and as titles, so that it can be
read without colours and without a script.
"""

# x and y are SVG units, y grows downwards

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 420
NOTHING = Markup("")
"""No drawing."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 12, 18, 34
_HEIGHT = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A share with its interval, all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a chart of shares.

    Attributes:
        label: Its name.
        note: What stands behind it: "32 answers".
        range: The share.
    """

    label: str
    note: str
    range: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Shares over group sizes.

    Attributes:
        label: Its name.
        main: Drawn strongly, with its band.
        points: (size, share with interval), sizes >= 1 and ascending.
        measured: The point that was counted and not forecast.
    """

    label: str
    main: bool
    points: tuple[tuple[int, Range], ...]
    measured: tuple[int, Range]


def histogram(
    values: Sequence[float], *, title: str, unit: str, bins: int = 20,
    low: float | None = None, high: float | None = None, shaded: bool = False, whole: bool = False,
) -> Markup:  # fmt: skip
    """Count values in equal bins.

    Args:
        values: Finite numbers, at least one.
        title: What a screen reader says.
        unit: Written under the axis.
        bins: Number of bars.
        low: Left end of the axis; the smallest value by default.
        high: Right end; the largest value by default.
        shaded: Colour bars from bad (left) to good (right).
        whole: The values are counts, so the axis has whole numbers.
    """
    start = min(values) if low is None else low
    end = max(values) if high is None else high
    if whole:
        start, end = 0.0, 4.0 * math.ceil(max(end, 1.0) / 4)
    if end <= start:
        start, end = start - 0.5, start + 0.5
    counts = [0] * bins
    for value in values:
        place = int((value - start) / (end - start) * bins)
        counts[min(max(place, 0), bins - 1)] += 1
    most = _round_up(max(counts))
    step = (WIDTH - _LEFT - _RIGHT) / bins
    parts = [_grid(0, most, "{:.0f}")]
    for index, count in enumerate(counts):
        if not count:
            continue
        height = _plot_height() * count / most
        x, y = _LEFT + index * step, _HEIGHT - _BOTTOM - height
        tone = f" t{min(4, index * 5 // bins)}" if shaded else ""
        left, right = (start + (end - start) * (index + more) / bins for more in (0, 1))
        said = f"{_number(left)} to {_number(right)}: {count}"
        parts.append(_rect(x + 1, y, step - 2, height, f"bar{tone}", said=said))
        if sum(map(bool, counts)) <= 8:
            parts.append(_text(x + step / 2, y - 5, str(count), "value middle"))
    parts += _x_labels([(start + (end - start) * i / 4, i / 4) for i in range(5)], unit)
    return _svg(parts, title)


def bars(rows: Sequence[tuple[str, float]], *, title: str) -> Markup:
    """Draw shares in [0, 1] as horizontal bars."""
    parts = []
    left, width = 96, WIDTH - 96 - 52
    for index, (label, value) in enumerate(rows):
        y = 16 + index * 34
        parts.append(_text(left - 10, y + 14, label, "label end"))
        parts.append(_rect(left, y, width, 20, "track", said=label))
        parts.append(
            _rect(left, y, max(0.0, width * value), 20, "bar", said=f"{label}: {value:.3f}")
        )
        parts.append(_text(left + width + 8, y + 15, f"{value:.2f}", "value"))
    return _svg(parts, title, height=24 + 34 * len(rows))


def intervals(rows: Sequence[Row], *, title: str) -> Markup:
    """Draw shares as dots with whiskers."""
    parts = []
    left, width = 96, WIDTH - 96 - 52
    height = 30 + 44 * len(rows)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * tick
        parts.append(_line(x, 6, x, height - 20, "grid"))
        parts.append(_text(x, height - 5, f"{tick:.0%}", "tick middle"))
    for index, row in enumerate(rows):
        y = 24 + index * 44
        low, high, dot = (
            left + width * share for share in (row.range.low, row.range.high, row.range.value)
        )
        said = f"{row.label}: {row.range.value:.0%}, {row.range.low:.0%} to {row.range.high:.0%}"
        parts.append(_text(left - 10, y, row.label, "label end"))
        parts.append(_text(left - 10, y + 14, row.note, "tick end"))
        parts.append(_line(low, y, high, y, "whisker"))
        parts += [_line(x, y - 5, x, y + 5, "whisker") for x in (low, high)]
        parts.append(_circle(dot, y, 5.5, "dot", said))
        parts.append(_text(left + width + 8, y + 5, f"{row.range.value:.0%}", "value"))
    return _svg(parts, title, height=height)


def curves(lines: Sequence[Curve], *, title: str, unit: str) -> Markup:
    """Draw shares over group sizes, on an axis that doubles at equal steps."""
    sizes = sorted({size for line in lines for size, _ in (*line.points, line.measured)})
    first, last = math.log2(sizes[0]), math.log2(sizes[-1])
    span = (last - first) or 1.0

    def across(size: int) -> float:
        """Place of a group's size on a scale of powers of two, in pixels from the left."""
        return _LEFT + (WIDTH - _LEFT - _RIGHT - 44) * (math.log2(size) - first) / span

    def up(share: float) -> float:
        """Height of a share, in pixels from the top."""
        return _HEIGHT - _BOTTOM - _plot_height() * share

    parts = [_grid(0, 1, "{:.0%}")]
    below = _HEIGHT - _BOTTOM + 16
    parts += [_text(across(size), below, str(size), "tick middle") for size in sizes]
    parts.append(_text(WIDTH / 2, _HEIGHT - 3, unit, "tick middle"))
    ends: list[float] = []
    for index, line in enumerate(sorted(lines, key=lambda line: line.main)):
        style = "main" if line.main else f"other o{index}"
        if line.main and line.points:
            upper = [f"{across(s):.1f},{up(r.high):.1f}" for s, r in line.points]
            lower = [f"{across(s):.1f},{up(r.low):.1f}" for s, r in reversed(line.points)]
            parts.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
        path = " ".join(f"{across(s):.1f},{up(r.value):.1f}" for s, r in line.points)
        parts.append(f'<polyline class="curve {style}" points="{path}"/>')
        size, found = line.measured
        # Measured at the same G, their whiskers would hide one another.
        x = across(size) + (0 if line.main else (6, -6)[index % 2] * (index // 2 + 1))
        parts.append(_line(x, up(found.low), x, up(found.high), f"whisker {style}"))
        said = f"{line.label}, measured at G = {size}: {found.value:.0%}"
        parts.append(_circle(x, up(found.value), 5.0 if line.main else 4.0, f"dot {style}", said))
        if line.points:
            end = _free(min(up(line.points[-1][1].value), up(0.04)), ends)
            ends.append(end)
            parts.append(
                _text(across(line.points[-1][0]) + 7, end + 4, line.label, f"tick {style}")
            )
    return _svg(parts, title)


def diverging(rows: Sequence[tuple[str, float]], *, title: str, most: int = 24) -> Markup:
    """Draw signed numbers as bars to the left and the right of zero, in the given order."""
    shown = list(rows[:most])
    largest = max((abs(value) for _, value in shown), default=0.0) or 1.0
    centre, reach = WIDTH / 2, WIDTH / 2 - 58
    height = 18 + 20 * len(shown)
    parts = [_line(centre, 4, centre, height - 8, "axis")]
    for index, (label, value) in enumerate(shown):
        y = 8 + index * 20
        length = reach * abs(value) / largest
        x = centre if value >= 0 else centre - length
        tone = "positive" if value >= 0 else "negative"
        parts.append(
            _rect(x, y, max(length, 0.5), 13, f"bar {tone}", said=f"{label}: {value:+.3f}")
        )
        end = x + length + 5 if value >= 0 else x - 5
        anchor = "value" if value >= 0 else "value end"
        parts.append(_text(end, y + 11, signed(value), anchor))
    return _svg(parts, title, height=height)


def stacked(parts_: Sequence[tuple[str, float, str]], *, title: str) -> Markup:
    """Draw one bar whose pieces add up to all.

    Args:
        parts_: (label, size >= 0, CSS class) of each piece.
        title: What a screen reader says.
    """
    total = sum(size for _, size, _ in parts_) or 1.0
    left, width = 8.0, WIDTH - 16.0
    drawn, x = [], left
    for index, (label, size, style) in enumerate(parts_):
        length = width * size / total
        said = f"{label}: {size:,.0f} ({size / total:.0%})"
        drawn.append(_rect(x, 12, max(0.0, length - 1), 30, f"bar {style}", said=said))
        y = 66 + index * 24
        drawn.append(_rect(left, y - 10, 12, 12, f"bar {style}", said=label))
        drawn.append(_text(left + 20, y, label, "label"))
        drawn.append(_text(left + width, y, f"{size:,.0f}  ·  {size / total:.0%}", "value end"))
        x += length
    return _svg(drawn, title, height=64 + 24 * len(parts_))


def meter(found: Range) -> Markup:
    """Draw a small track from 0 to 1 with the interval and the value on it."""
    x, low, high = (2 + 116 * share for share in (found.value, found.low, found.high))
    parts = [
        _rect(0, 5, 120, 4, "track", said=""),
        _rect(low, 5, max(1.0, high - low), 4, "reach", said=""),
        _circle(x, 7, 4.5, "dot", f"{found.value:.1%}"),
    ]
    body = "".join(parts)
    return Markup(
        '<svg class="meter" viewBox="0 0 120 14" preserveAspectRatio="xMinYMid" '
        f'aria-hidden="true">{body}</svg>'
    )


def advantage(value: float, *, largest: float) -> Markup:
    """Draw one advantage as a bar to the left or the right of zero.

    Args:
        value: The advantage.
        largest: The largest absolute value on the page; it fills half the width.
    """
    length = 44 * min(1.0, abs(value) / (largest or 1.0))
    x = 50.0 if value >= 0 else 50.0 - length
    tone = "positive" if value >= 0 else "negative"
    track = _rect(6, 5.5, 88, 3, "track", said="")
    body = track + _line(50, 0, 50, 14, "axis") + _rect(x, 2, length, 10, f"bar {tone}", said="")
    return Markup(f'<svg class="advantage" viewBox="0 0 100 14" aria-hidden="true">{body}</svg>')


def signed(value: float) -> str:
    """Write a number with its sign and two digits; what rounds to zero has a plus."""
    return f"{round(value, 2) + 0.0:+.2f}"


def _svg(parts: Sequence[str], title: str, *, height: int = _HEIGHT) -> Markup:
    body = "".join(parts)
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{body}</svg>'
    )


def _grid(low: float, high: float, form: str) -> str:
    lines = []
    for step in range(5):
        y = _HEIGHT - _BOTTOM - _plot_height() * step / 4
        value = low + (high - low) * step / 4
        lines.append(_line(_LEFT, y, WIDTH - _RIGHT, y, "axis" if step == 0 else "grid"))
        if value == int(value) or high <= 1:
            lines.append(_text(_LEFT - 6, y + 4, form.format(value), "tick end"))
    return "".join(lines)


def _x_labels(ticks: Sequence[tuple[float, float]], unit: str) -> list[str]:
    span = WIDTH - _LEFT - _RIGHT
    anchors = {0.0: "tick", 1.0: "tick end"}
    parts = [
        _text(_LEFT + span * place, _HEIGHT - _BOTTOM + 16, _number(value),
              anchors.get(place, "tick middle"))
        for value, place in ticks
    ]  # fmt: skip
    return [*parts, _text(_LEFT + span / 2, _HEIGHT - 3, unit, "tick middle")]


def _round_up(count: int) -> int:
    """Find the next number whose quarters are round: 4, 8, 20, 40, 80, 200 and so on."""
    steps = [step * int(10**power) for power in range(12) for step in (1, 2, 5)]
    return 4 * next(step for step in steps if 4 * step >= count)


def _free(y: float, taken: Sequence[float]) -> float:
    """Move a label up until it covers no other."""
    while any(abs(y - other) < 13 for other in taken):
        y -= 3
    return y


def _plot_height() -> float:
    return _HEIGHT - _TOP - _BOTTOM


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _rect(x: float, y: float, width: float, height: float, style: str, *, said: str) -> str:
    title = f"<title>{escape(said)}</title>" if said else ""
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="2">{title}</rect>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _circle(x: float, y: float, radius: float, style: str, said: str) -> str:
    return (
        f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
        f"<title>{escape(said)}</title></circle>"
    )


def _text(x: float, y: float, said: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(said)}</text>'
