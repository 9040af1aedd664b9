"""The small drawings of the reward bench: what an attack earns, on a line from 0 to 1."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from vlmtune.types import JSON

WIDTH, HEIGHT = 200, 20
"""Of a line, in units of its drawing; the ends keep room for a dot."""
_EDGE = 6
_CELL = 16


def track(mean: Mapping[str, JSON], *, floor: float, right: float, status: str) -> Markup:
    """Draw a mean reward with its interval between what wrong and right answers earn.

    Args:
        mean: "value", "low", "high", each a number or None.
        floor: What plain wrong answers earn on average.
        right: What plain right answers earn on average.
        status: "pass", "warn" or "fail": the colour of the dot.
    """
    value = 0.0 if mean["value"] is None else mean["value"]
    low, high = (value if mean[name] is None else mean[name] for name in ("low", "high"))
    said = (
        f"{value:.2f}, 95 % interval {low:.2f} to {high:.2f}; wrong {floor:.2f}, right {right:.2f}"
    )
    middle = HEIGHT / 2
    start, end = sorted((_place(floor), _place(right)))
    parts = [
        _rect(_place(0), middle - 1.5, _place(1) - _place(0), 3, "rail"),
        _rect(start, middle - 1.5, end - start, 3, "reach"),
        _rect(_place(floor) - 1, middle - 5, 2, 10, "floor"),
        _rect(_place(right) - 1, middle - 5, 2, 10, "top"),
        _rect(
            _place(low), middle - 1, max(1.0, _place(high) - _place(low)), 2, f"whisker {status}"
        ),
        f'<circle class="dot {status}" cx="{_place(value):.1f}" cy="{middle}" r="4.5"/>',
    ]
    return _svg(parts, WIDTH, HEIGHT, "track-line", said)


def strip(
    by_kind: Mapping[str, JSON], kinds: Sequence[str], *, floor: float, right: float
) -> Markup:
    """Draw a cell for each kind: empty where the attack does not exist, darker the more it earns.

    Args:
        by_kind: Kind -> mean with "value", or None.
        kinds: Every kind of the dataset, in the order of the cells.
        floor: What plain wrong answers earn on average.
        right: What plain right answers earn on average.
    """
    parts, said = [], []
    for index, kind in enumerate(kinds):
        mean = by_kind.get(kind)
        x = index * _CELL
        if mean is None or mean["value"] is None:
            parts.append(_rect(x + 5, 9, 4, 2, "absent"))
            continue
        value = mean["value"]
        share = (value - floor) / (right - floor) if right - floor > 1e-9 else 0.0
        parts.append(_rect(x, 3, _CELL - 2, 14, "cell"))
        parts.append(
            f'<rect class="heat" x="{x}" y="3" width="{_CELL - 2}" height="14" rx="3" '
            f'fill-opacity="{min(1.0, max(0.0, share)):.2f}"/>'
        )
        said.append(f"{kind.replace('_', '/')} {value:.2f} (n {mean['n']})")
    return _svg(parts, _CELL * max(1, len(kinds)), HEIGHT, "strip", ", ".join(said))


def _place(value: float) -> float:
    return _EDGE + (WIDTH - 2 * _EDGE) * min(1.0, max(0.0, value))


def _rect(x: float, y: float, width: float, height: float, style: str) -> str:
    return (
        f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="1.5"/>'
    )


def _svg(parts: Sequence[str], width: int, height: int, style: str, said: str) -> Markup:
    return Markup(  # Numbers of ours and classes; the words are escaped.
        f'<svg class="{style}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{escape(said)}</title>{"".join(parts)}</svg>'
    )
