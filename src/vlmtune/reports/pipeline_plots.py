"""The drawings of a pipeline: how often each model was right, and how each stage learned.

Panels are SVG groups of one size, coloured by classes, so that the page lays them out by itself and
`figure` can join them to one file that stands alone.
"""

# x and y are SVG units, y grows downwards

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from vlmtune.reports.plots import Range

WIDTH, BROAD, NARROW, SLIM, HEIGHT = 420, 370, 330, 260, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 34, 34
_GAP = 16
STYLE = """
.back { fill: #ffffff; stroke: #e3e1da; }
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  fill: #62656d; }
text.head { font-size: 14px; font-weight: 600; fill: #1c1d21; }
text.value { font-weight: 600; fill: #1c1d21; }
text.middle { text-anchor: middle; } text.end { text-anchor: end; }
.grid { stroke: #e3e1da; } .axis { stroke: #9a9ca3; }
.band { fill: #2f5fd0; opacity: 0.09; }
.link { fill: none; stroke: #2f5fd0; stroke-width: 1.5; opacity: 0.45; }
.whisker { stroke: #2f5fd0; stroke-width: 2; }
.dot { fill: #2f5fd0; } .dot.worse { fill: #cf5a3c; } .whisker.worse { stroke: #cf5a3c; }
.raw { fill: none; stroke: #2f5fd0; opacity: 0.25; }
.smooth { fill: none; stroke: #2f5fd0; stroke-width: 2.2; stroke-linejoin: round; }
@media (prefers-color-scheme: dark) {
  .back { fill: #1d2025; stroke: #30343b; }
  text { fill: #a0a3ab; } text.head, text.value { fill: #eceae4; }
  .grid { stroke: #30343b; } .axis { stroke: #6b6f77; }
  .band { fill: #86a8ff; opacity: 0.13; } .dot { fill: #86a8ff; }
  .link, .whisker, .raw, .smooth { stroke: #86a8ff; }
  .dot.worse { fill: #ee8567; } .whisker.worse { stroke: #ee8567; }
}
"""
"""Colours of a figure that stands alone; they follow the reader's light or dark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One model in a panel.

    Attributes:
        name: What it is called.
        range: The share it got right.
        is_worse: Whether it is worse than the model before it, beyond chance.
    """

    name: str
    range: Range
    is_worse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A number over the updates of a stage.

    Attributes:
        title: What it is.
        points: (update, value), finite, updates ascending.
    """

    title: str
    points: tuple[tuple[int, float], ...]


def reach(marks: Iterable[Mark]) -> tuple[float, float]:
    """Find the part of the axis that holds every interval."""
    found = [mark.range for mark in marks]
    low, high = min(one.low for one in found), max(one.high for one in found)
    return max(0.0, low - 0.02), min(1.0, high + 0.02)


def ladder(
    marks: Sequence[Mark],
    *,
    title: str,
    width: int = WIDTH,
    span: tuple[float, float] | None = None,
) -> Markup:
    """Draw shares of models in their order, with whiskers, over the band of the first.

    Args:
        marks: The models, at least one.
        title: The panel's heading.
        width: In units of the drawing.
        span: What the axis has to hold; by default the intervals.
    """
    ticks = _ticks(*(span or reach(marks)))
    step = (width - _LEFT - _RIGHT) / len(marks)

    def up(share: float) -> float:
        """Height of a share, in pixels from the top."""
        return _up(share, ticks)

    parts = [_text(_LEFT - 30, 18, title, "head"), *_grid(ticks, "{:.0%}", width)]
    first = marks[0].range
    parts.append(
        f'<rect class="band" x="{_LEFT}" y="{up(first.high):.1f}" width="{width - _LEFT - _RIGHT}" '
        f'height="{up(first.low) - up(first.high):.1f}"/>'
    )
    places = [(_LEFT + step * (index + 0.5), mark) for index, mark in enumerate(marks)]
    path = " ".join(f"{x:.1f},{up(mark.range.value):.1f}" for x, mark in places)
    parts.append(f'<polyline class="link" points="{path}"/>')
    for x, mark in places:
        style = " worse" if mark.is_worse else ""
        bottom, top = up(mark.range.low), up(mark.range.high)
        said = (
            f"{mark.name}: {mark.range.value:.1%}, 95 % interval {mark.range.low:.1%} to "
            f"{mark.range.high:.1%}"
        )
        parts.append(_line(x, bottom, x, top, f"whisker{style}"))
        parts += [_line(x - 5, y, x + 5, y, f"whisker{style}") for y in (bottom, top)]
        parts.append(
            f'<circle class="dot{style}" cx="{x:.1f}" cy="{up(mark.range.value):.1f}" r="5.5">'
            f"<title>{escape(said)}</title></circle>"
        )
        parts.append(
            _text(x + 10, up(mark.range.value) + 4, f"{100 * mark.range.value:.1f}", "value")
        )
        parts.append(_text(x, HEIGHT - _BOTTOM + 18, mark.name, "middle"))
    return Markup("".join(parts))


def course(track: Track, *, width: int = WIDTH) -> Markup:
    """Draw a number over updates: every record faintly, and their moving mean."""
    values = [value for _, value in track.points]
    ticks = _ticks(min(values), max(values))
    last = max(1, track.points[-1][0])

    def across(step: float) -> float:
        """Place of an update, in pixels from the left."""
        return _LEFT + (width - _LEFT - _RIGHT) * step / last

    def path(points: Sequence[tuple[float, float]]) -> str:
        """Write points as the attribute of a polyline, in pixels."""
        return " ".join(f"{across(x):.1f},{_up(y, ticks):.1f}" for x, y in points)

    smooth = moving_mean(track.points)
    said = f"{track.title}: {_number(smooth[0][1])} at first, {_number(smooth[-1][1])} at the end"
    parts = [
        _text(_LEFT - 30, 18, track.title, "head"),
        _text(width - _RIGHT, 18, _number(smooth[-1][1]), "value end"),
        *_grid(ticks, "", width),
        f'<polyline class="raw" points="{path(track.points)}"/>',
        f'<g><title>{escape(said)}</title><polyline class="smooth" points="{path(smooth)}"/></g>',
    ]
    below = HEIGHT - _BOTTOM + 18
    parts += [_text(across(step), below, f"{step:,}", "middle") for step in _whole_ticks(last)]
    parts.append(_text((_LEFT + width - _RIGHT) / 2, HEIGHT - 2, "update", "middle"))
    return Markup("".join(parts))


def moving_mean(points: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """Average each record with its neighbours: about an eighth of all of them."""
    reach = len(points) // 16
    found = []
    for index in range(len(points)):
        near = points[max(0, index - reach) : index + reach + 1]
        found.append(
            (
                sum(step for step, _ in near) / len(near),
                sum(value for _, value in near) / len(near),
            )
        )
    return found


def alone(panel: Markup, *, title: str, width: int = WIDTH) -> Markup:
    """Make a panel a drawing of its own, coloured by the page around it."""
    return Markup(
        f'<svg class="panel" viewBox="0 0 {width} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{panel}</svg>'
    )


def figure(top: Sequence[Mark], below: Mapping[str, Track], *, title: str) -> str:
    """Join the panels to one SVG file that needs nothing around it.

    Args:
        top: The models.
        below: Stage -> the number that tells how it learned.
        title: The heading of the models' panel.
    """
    count = max(1, len(below))
    width = max(2, count) * WIDTH + (max(2, count) + 1) * _GAP
    parts = [
        _framed(ladder(top, title=title, width=width - 2 * _GAP), _GAP, _GAP, width - 2 * _GAP)
    ]
    row = 2 * _GAP + HEIGHT
    wide = (width - (count + 1) * _GAP) // count
    for index, (stage, track) in enumerate(below.items()):
        panel = course(Track(title=f"{stage}: {track.title}", points=track.points), width=wide)
        parts.append(_framed(panel, _GAP + index * (wide + _GAP), row, wide))
    height = row + (HEIGHT + _GAP if below else 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _framed(panel: Markup, x: float, y: float, width: float) -> str:
    return (
        f'<g transform="translate({x:.0f} {y:.0f})"><rect class="back" width="{width:.0f}" '
        f'height="{HEIGHT}" rx="10"/>{panel}</g>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Find 3 to 7 round numbers around a range."""
    if high - low < 1e-12:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 2.5, 5, 10) if power * size >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _whole_ticks(last: int) -> list[int]:
    step = max(1, round(_ticks(0, last)[1]))
    return list(range(0, last + 1, step))


def _up(value: float, ticks: Sequence[float]) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share


def _grid(ticks: Sequence[float], form: str, width: int) -> list[str]:
    parts = []
    for index, tick in enumerate(ticks):
        y = _up(tick, ticks)
        parts.append(_line(_LEFT, y, width - _RIGHT, y, "axis" if index == 0 else "grid"))
        said = form.format(tick) if form else _number(tick)
        parts.append(_text(_LEFT - 8, y + 4, said, "end"))
    return parts


def _number(value: float) -> str:
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, said: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(said)}</text>'
