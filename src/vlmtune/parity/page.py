"""docs/parity.md and its picture, from the results of a comparison and nothing else.

results.json  ->  text(results), picture(results)
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape

from vlmtune.parity.assignment import ROLLOUT
from vlmtune.parity.lines import Curves, Line
from vlmtune.types import JSON

LIBRARIES = ("torch", "transformers", "trl", "peft", "mlx", "mlx-vlm")
_PAGE = """\
<!-- Written by scripts/write_parity.py (`make parity`); edit the code, not this page. -->

# Parity

MLX and PyTorch compute the same. Each engine did one assignment in a process of its own, in
float32, through the doors that training uses: the loop of `backends/mlx`, and TRL's trainers as
`backends/pytorch` builds them. Then their findings were compared, number by number.

{count} comparisons, {held}. {machine}; {versions}.

| compared | how much | must be | measured | holds |
|---|---|---|---|---|
{rows}

A gradient's distance is a share of its length, over all weights of the adapter, after one mapping
of names. Before the comparison the adapter was moved at random; GRPO's answers count as drawn at
another adapter, so that ratios lie on both sides of the clip. Beside a loss stands its value.

A log-probability should be within 1e-5. The random model's are; of pico's a few are not, because
float32 itself goes that far. The largest distance from PyTorch in float64, over the answers drawn
at temperature {temperature:g}: {rounding}. So two engines that compute the same can be apart by
the sum.

## Updates

From one adapter, on the same batches, each engine with its own optimizer. PyTorch's losses are the
wide pale line, MLX's the thin one above it. GRPO learns from one set of answers all the time.

![Losses of SFT, DPO and GRPO on both engines](parity.svg)

## Not measured here

- Metal: MLX ran on its CPU build. On a Mac, `make parity` compares Metal with PyTorch's CPU.
- CUDA, and bf16 or fp16 anywhere, which round far more than these engines differ.
- Weights in 4 or 8 bits: bitsandbytes and MLX pack them in unlike formats, so the models already
  differ before an engine does.
- FlashAttention, DeepSpeed, FSDP and several GPUs.
- Models of billions of weights: pico has 3.4 million, the random model fewer.
- Dropout, of which each engine draws its own.

The two sides may be computed on two machines: `scripts/write_parity.py --side pytorch --folder F`,
the same with `--side mlx` where F was copied to, then `--compare --folder F`.
"""
_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 190, 46, 30
_INK, _BACK = "#1f4e9c", "#f2b66d"


def results(
    lines: Sequence[Line], curves: Curves, rounding: Mapping[str, float]
) -> dict[str, JSON]:
    """Put what was measured, and with what, into one JSON value."""
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "lines": [asdict(line) for line in lines],
        "rounding": dict(rounding),
        "curves": curves,
    }


def text(found: Mapping[str, JSON]) -> str:
    """Write the page."""
    lines = [Line(**line) for line in found["lines"]]
    failed = sum(not line.holds for line in lines)
    return _PAGE.format(
        count=len(lines),
        held=f"all but {failed} hold" if failed else "all hold",
        machine=found["machine"],
        versions=", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        rows="\n".join(map(_row, lines)),
        temperature=ROLLOUT.temperature,
        rounding=", ".join(f"{name} {far:.1e}" for name, far in found["rounding"].items()),
    )


def _row(line: Line) -> str:
    held = "yes" if line.holds else "**no**"
    return f"| {line.what} | {line.count} | {line.bound} | {line.measured} | {held} |"


def picture(found: Mapping[str, JSON]) -> str:
    """Draw the losses of each stage, one engine's over the other's, as SVG."""
    curves: Curves = found["curves"]
    return drawn({f"loss of {stage.upper()}": engines for stage, engines in curves.items()})


def drawn(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Draw two lines a panel, one over the other, as SVG.

    Args:
        curves: Title of a panel -> name of a line -> its values, update by update. Two lines each.
    """
    width = _WIDTH * len(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT + 34}">',
        "<style>text { font: 11px sans-serif }</style>",
        f'<rect width="{width}" height="{_HEIGHT + 34}" fill="#ffffff"/>',
    ]
    for place, (title, lines) in enumerate(curves.items()):
        parts.append(f'<g transform="translate({place * _WIDTH} 0)">')
        parts += _panel(title, lines)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, engines: Mapping[str, Sequence[float]]) -> list[str]:
    values = [value for line in engines.values() for value in line]
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or 0.5
    low, high = low - room, high + room
    count = max(len(line) for line in engines.values())

    def at(update: int, value: float) -> str:
        """Place a loss in the plot, as "x,y" in pixels."""
        x = _LEFT + (_WIDTH - _LEFT - 14) * update / max(1, count - 1)
        return f"{x:.1f},{_TOP + (_HEIGHT - _TOP) * (high - value) / (high - low):.1f}"

    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    for value in (low + room, high - room):
        y = at(0, value).split(",")[1]
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - 14}" y1="{y}" y2="{y}" stroke="#dddddd"/>',
            f'<text x="{_LEFT - 4}" y="{y}" text-anchor="end" dy="4">{value:.3g}</text>',
        ]
    styles = ((_BACK, 7.0), (_INK, 1.5))
    for (name, line), (colour, thick) in zip(engines.items(), styles, strict=True):
        points = " ".join(at(update, value) for update, value in enumerate(line))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}" '
            f'stroke-linejoin="round"><title>{escape(name)}</title></polyline>'
        )
    for name, (colour, _), x in zip(engines, styles, (_LEFT, 150), strict=True):
        parts += [
            f'<rect x="{x}" y="{_HEIGHT + 16}" width="18" height="5" fill="{colour}"/>',
            f'<text x="{x + 24}" y="{_HEIGHT + 22}">{escape(name)}</text>',
        ]
    return parts
