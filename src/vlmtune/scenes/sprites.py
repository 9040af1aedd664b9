"""The shaded pictures of single things.

A sprite is shaded once, at 192 pixels, and then scaled to each place where it stands: fast, and
free of jagged edges. A shape is a function from coordinates in [-1, 1] to where the thing is and
how bright it is there.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from vlmtune.scenes.world import TRAY

RGB: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "green": (38, 150, 58),
    "blue": (40, 90, 210),
    "yellow": (244, 208, 30),
    "purple": (136, 62, 176),
    "orange": (246, 132, 24),
    "white": (246, 246, 246),
    "black": (34, 34, 38),
}
SPRITE = 192
"""Side of an unscaled sprite, pixels."""


@lru_cache(maxsize=256)
def sprite(shape: str, colour: str, standing: bool) -> Image.Image:
    """Shade one shape in one colour: RGBA, SPRITE x SPRITE, drawn at twice that size."""
    side = 2 * SPRITE
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    alpha, light = _trace(shape, x, y, standing=standing)
    base = np.array(RGB[colour], dtype=np.float64)
    # Black would swallow its own shading: lift it before the light falls on it.
    tone = base[None, None, :] * light[..., None] + 255 * np.clip(light - 1.12, 0, 1)[..., None]
    pixels = np.dstack([np.clip(tone, 0, 255), 255 * alpha.astype(np.float64)])
    image = Image.fromarray(pixels.astype(np.uint8), "RGBA")
    rim = image.getchannel("A").filter(ImageFilter.MinFilter(9))
    edge = Image.new("RGBA", image.size, (*(int(tone * 0.45) for tone in RGB[colour]), 255))
    edge.putalpha(image.getchannel("A"))
    edge.paste(image, (0, 0), rim)
    return edge.resize((SPRITE, SPRITE), Image.Resampling.BOX)


Field = NDArray[np.float64]
Trace = tuple[NDArray[np.bool_], Field]


def _ball(x: Field, y: Field) -> Trace:
    inside = np.hypot(x, y) < 0.98
    glow = np.hypot(x + 0.35, y + 0.40)
    return inside, 1.28 - 0.52 * glow


def _ring(x: Field, y: Field) -> Trace:
    radius = np.hypot(x, y)
    tube = np.abs(radius - 0.74) / 0.24
    return tube < 1.0, 1.18 - 0.42 * tube**2 - 0.12 * y


def _tile(x: Field, y: Field) -> Trace:
    inside = (np.abs(x) < 0.93) & (np.abs(y) < 0.93)
    bevel = np.maximum(np.abs(x), np.abs(y)) > 0.74
    return inside, np.where(bevel, 0.86, 1.06) - 0.08 * y


def _cube(x: Field, y: Field) -> Trace:
    front = (x > -0.97) & (x < 0.55) & (y > -0.52) & (y < 0.97)
    depth = 0.42
    slide = (-0.52 - y) / 0.45
    top = (slide >= 0) & (slide < 1) & (x > -0.97 + depth * slide) & (x < 0.55 + depth * slide)
    turn = (x - 0.55) / depth
    lift = 0.45 * turn
    flank = (turn >= 0) & (turn < 1) & (y > -0.52 - lift) & (y < 0.97 - lift)
    light = np.where(top, 1.24, np.where(flank & ~front, 0.66, 1.0))
    return front | top | flank, light


def _cone(x: Field, y: Field) -> Trace:
    rise = (y + 0.97) / 1.72
    body = (rise > 0) & (rise <= 1) & (np.abs(x) < 0.93 * rise)
    bottom = (x / 0.93) ** 2 + ((y - 0.75) / 0.22) ** 2 < 1
    across = x / np.maximum(0.93 * np.clip(rise, 0.05, 1), 0.05)
    return body | bottom, 1.16 - 0.34 * np.abs(across + 0.35) - 0.10 * rise


def _cylinder(x: Field, y: Field) -> Trace:
    body = (np.abs(x) < 0.93) & (y > -0.70) & (y < 0.72)
    bottom = (x / 0.93) ** 2 + ((y - 0.72) / 0.25) ** 2 < 1
    lid = (x / 0.93) ** 2 + ((y + 0.70) / 0.26) ** 2 < 1
    light = np.where(lid, 1.26, 1.10 - 0.36 * np.abs(x + 0.3))
    return body | bottom | lid, light


def _star(x: Field, y: Field) -> Trace:
    angle = np.arctan2(x, -(y - 0.06))
    wedge = np.abs((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    # The edge of a five-pointed star between a tip (radius 1) and a notch (radius 0.45).
    tip, notch = 1.02, 0.47
    turn = math.pi / 5
    edge = tip * notch * math.sin(turn) / (tip * np.sin(wedge) + notch * np.sin(turn - wedge))
    radius = np.hypot(x, y - 0.06)
    return radius < edge, 1.14 - 0.22 * (radius / edge) - 0.10 * y


def _tray(x: Field, y: Field) -> Trace:
    outer = np.maximum(np.abs(x), np.abs(y))
    frame = (outer < 0.97) & (outer > 0.80)
    floor = outer <= 0.80
    light = np.where(floor, 0.80, 1.10 - 0.10 * y)
    return frame | floor, light


def _trace(shape: str, x: Field, y: Field, *, standing: bool) -> Trace:
    """Trace a shape as it looks on a floor (`standing`) or from straight above."""
    if shape == "cube" and not standing:
        return _tile(x, y)
    if shape == TRAY and standing:
        return _tray(x, (y - 0.45) / 0.50)
    return _TRACE[shape](x, y)


_TRACE: dict[str, Callable[[Field, Field], Trace]] = {
    "ball": _ball,
    "ring": _ring,
    "cube": _cube,
    "cone": _cone,
    "cylinder": _cylinder,
    "star": _star,
    TRAY: _tray,
}
