"""Draw a World: shaded sprites on a textured background, with shadows, the far things first.

Drawing uses Pillow and numpy only, and the same World always gives the same pixels. A sprite is
shaded once at 192 pixels and then scaled, which is both fast and free of jagged edges.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vlmtune.scenes.layout import HORIZON
from vlmtune.scenes.world import PERSPECTIVE, TRAY, Thing, World

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


def render(world: World) -> Image.Image:
    """Draw a scene.

    Returns:
        An RGB image of `world.width` x `world.height`.
    """
    picture = _background(world)
    for thing in world.things:
        _shadow(picture, thing, world)
    for thing in world.things:
        side = max(2, round(2 * thing.radius))
        sprite = _sprite(thing.shape, thing.colour, world.mode == PERSPECTIVE)
        small = sprite.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
        corner = (round(thing.x - side / 2), round(thing.y - side / 2))
        picture.paste(small, corner, small)
    return picture


def _background(world: World) -> Image.Image:
    """Draw the floor (and the wall behind it), then clutter that no one takes for a thing.

    Clutter is grey, faint and see-through: spots, lines and planks. Things are saturated, solid,
    or plainly white or black, so that neither is taken for the other.
    """
    random = np.random.default_rng(world.background)
    width, height = world.width, world.height
    floor = random.integers(118, 190) + random.integers(-10, 11, size=3)
    shade = np.linspace(0.90, 1.06, height)[:, None, None]
    canvas = np.broadcast_to(floor[None, None, :] * shade, (height, width, 3)).copy()
    if world.mode == PERSPECTIVE:
        wall = int(HORIZON * height)
        tint = random.integers(150, 215) + random.integers(-12, 13, size=3)
        canvas[:wall] = tint * np.linspace(0.94, 1.02, max(wall, 1))[:, None, None]
    coarse = random.normal(128.0, 40.0, size=(math.ceil(height / 3), math.ceil(width / 3)))
    patches = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8), "L")
    grain = np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC))[..., None]
    canvas += (grain.astype(np.float64) - 128.0) * (0.05 + 0.15 * world.clutter)
    picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8), "RGB")
    if world.clutter > 0.1:
        _clutter(picture, random, world)
    return picture


def _clutter(picture: Image.Image, random: np.random.Generator, world: World) -> None:
    veil = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(veil)
    span = world.span
    for _ in range(int(3 + 14 * world.clutter)):
        grey = int(random.integers(70, 215))
        ink = (grey, grey, grey, int(random.integers(22, 60)))
        x, y = float(random.uniform(0, world.width)), float(random.uniform(0, world.height))
        reach = float(random.uniform(0.03, 0.20)) * span
        kind = int(random.integers(3))
        if kind == 0:
            draw.ellipse((x - reach, y - reach * 0.6, x + reach, y + reach * 0.6), fill=ink)
        elif kind == 1:
            angle = float(random.uniform(0, math.pi))
            far = (x + math.cos(angle) * reach * 4, y + math.sin(angle) * reach * 4)
            draw.line((x, y, *far), fill=ink, width=max(1, round(span / 80)))
        else:
            draw.rectangle((x - reach, y - reach * 0.25, x + reach, y + reach * 0.25), fill=ink)
    picture.paste(veil, (0, 0), veil)


def _shadow(picture: Image.Image, thing: Thing, world: World) -> None:
    wide = round(thing.radius * 2.1)
    if thing.shape == TRAY or wide < 4:
        return
    if world.mode == PERSPECTIVE:
        tall = max(3, round(thing.radius * 0.62))
        corner = (round(thing.x - wide * 0.44), round(thing.foot - tall * 0.62))
    else:
        tall = wide
        offset = thing.radius * 0.14
        corner = (round(thing.x - wide / 2 + offset), round(thing.y - tall / 2 + offset))
    mask = _soft_disc().resize((wide, tall), Image.Resampling.BILINEAR)
    picture.paste(Image.new("RGB", (wide, tall), (28, 28, 34)), corner, mask)


@lru_cache(maxsize=1)
def _soft_disc() -> Image.Image:
    disc = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(disc).ellipse((8, 8, 56, 56), fill=96)
    return disc.filter(ImageFilter.GaussianBlur(4))


@lru_cache(maxsize=256)
def _sprite(shape: str, colour: str, standing: bool) -> Image.Image:
    """Shade one shape in one colour: RGBA, SPRITE x SPRITE, drawn at twice that size."""
    side = 2 * SPRITE
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    alpha, light = _TRACE[shape](x, y, standing)
    base = np.array(RGB[colour], dtype=np.float64)
    # Black would swallow its own shading: lift it before the light falls on it.
    tone = base[None, None, :] * light[..., None] + 255 * np.clip(light - 1.12, 0, 1)[..., None]
    pixels = np.dstack([np.clip(tone, 0, 255), 255 * alpha.astype(np.float64)])
    image = Image.fromarray(pixels.astype(np.uint8), "RGBA")
    rim = image.getchannel("A").filter(ImageFilter.MinFilter(9))
    edge = Image.new("RGBA", image.size, tuple(int(c * 0.45) for c in base) + (255,))
    edge.putalpha(image.getchannel("A"))
    edge.paste(image, (0, 0), rim)
    return edge.resize((SPRITE, SPRITE), Image.Resampling.BOX)


Field = NDArray[np.float64]
Trace = tuple[NDArray[np.bool_], Field]


def _ball(x: Field, y: Field, standing: bool) -> Trace:
    inside = np.hypot(x, y) < 0.98
    glow = np.hypot(x + 0.35, y + 0.40)
    return inside, 1.28 - 0.52 * glow


def _ring(x: Field, y: Field, standing: bool) -> Trace:
    radius = np.hypot(x, y)
    tube = np.abs(radius - 0.74) / 0.24
    return tube < 1.0, 1.18 - 0.42 * tube**2 - 0.12 * y


def _cube(x: Field, y: Field, standing: bool) -> Trace:
    if not standing:
        inside = (np.abs(x) < 0.93) & (np.abs(y) < 0.93)
        bevel = np.maximum(np.abs(x), np.abs(y)) > 0.74
        return inside, np.where(bevel, 0.86, 1.06) - 0.08 * y
    front = (x > -0.97) & (x < 0.55) & (y > -0.52) & (y < 0.97)
    depth = 0.42
    slide = (-0.52 - y) / 0.45
    top = (slide >= 0) & (slide < 1) & (x > -0.97 + depth * slide) & (x < 0.55 + depth * slide)
    turn = (x - 0.55) / depth
    lift = 0.45 * turn
    flank = (turn >= 0) & (turn < 1) & (y > -0.52 - lift) & (y < 0.97 - lift)
    light = np.where(top, 1.24, np.where(flank & ~front, 0.66, 1.0))
    return front | top | flank, light


def _cone(x: Field, y: Field, standing: bool) -> Trace:
    rise = (y + 0.97) / 1.72
    body = (rise > 0) & (rise <= 1) & (np.abs(x) < 0.93 * rise)
    bottom = (x / 0.93) ** 2 + ((y - 0.75) / 0.22) ** 2 < 1
    across = x / np.maximum(0.93 * np.clip(rise, 0.05, 1), 0.05)
    return body | bottom, 1.16 - 0.34 * np.abs(across + 0.35) - 0.10 * rise


def _cylinder(x: Field, y: Field, standing: bool) -> Trace:
    body = (np.abs(x) < 0.93) & (y > -0.70) & (y < 0.72)
    bottom = (x / 0.93) ** 2 + ((y - 0.72) / 0.25) ** 2 < 1
    lid = (x / 0.93) ** 2 + ((y + 0.70) / 0.26) ** 2 < 1
    light = np.where(lid, 1.26, 1.10 - 0.36 * np.abs(x + 0.3))
    return body | bottom | lid, light


def _star(x: Field, y: Field, standing: bool) -> Trace:
    angle = np.arctan2(x, -(y - 0.06))
    wedge = np.abs((angle + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    # The edge of a five-pointed star between a tip (radius 1) and a notch (radius 0.45).
    tip, notch = 1.02, 0.47
    turn = math.pi / 5
    edge = tip * notch * math.sin(turn) / (
        tip * np.sin(wedge) + notch * np.sin(turn - wedge)
    )
    radius = np.hypot(x, y - 0.06)
    return radius < edge, 1.14 - 0.22 * (radius / edge) - 0.10 * y


def _tray(x: Field, y: Field, standing: bool) -> Trace:
    if standing:
        y = (y - 0.45) / 0.50
    outer = np.maximum(np.abs(x), np.abs(y))
    frame = (outer < 0.97) & (outer > 0.80)
    floor = outer <= 0.80
    light = np.where(floor, 0.80, 1.10 - 0.10 * y)
    return frame | floor, light


_TRACE = {
    "ball": _ball,
    "ring": _ring,
    "cube": _cube,
    "cone": _cone,
    "cylinder": _cylinder,
    "star": _star,
    TRAY: _tray,
}
