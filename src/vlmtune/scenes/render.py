"""Draw a World: shaded sprites on a textured background, with shadows, the far things first.

Drawing uses Pillow and numpy only, and the same World always gives the same pixels.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from vlmtune.scenes.layout import HORIZON
from vlmtune.scenes.sprites import sprite
from vlmtune.scenes.world import PERSPECTIVE, TRAY, Thing, World


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
        drawn = sprite(thing.shape, thing.colour, world.mode == PERSPECTIVE)
        small = drawn.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
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
