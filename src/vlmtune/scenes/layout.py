"""Place things: where they stand is drawn first, what they are is drawn beside it.

A *plot* is a small planned arrangement (two things touching, one in a tray, one between two
others), because relations such as these almost never happen by chance. The rest of a scene is
filled at random. Every thing keeps clear of the others, except where the plot wants contact.
"""

import math
from collections.abc import Sequence

import numpy as np

from vlmtune.scenes.world import (
    COLOURS,
    FLAT,
    PERSPECTIVE,
    SHAPES,
    TRAY,
    SceneOptions,
    Thing,
    World,
)

PLOTS = ("free", "touching", "next_to", "between", "inside")

# Flat scenes: radii as shares of the shorter side.
FLAT_RADIUS = {"small": (0.050, 0.062), "large": (0.085, 0.105)}
# Perspective: the real half-width in metres; the camera sees 1 metre at depth 1 as FOCAL * side.
REAL_RADIUS = {"small": (0.22, 0.26), "large": (0.36, 0.42)}
FOCAL = 0.80
HORIZON = 0.28
CAMERA_HEIGHT = 2.2
NEAR, FAR = 2.35, 5.0
HIDDEN_AT_MOST = 0.25
"""Largest share of a thing's drawn box that nearer things may cover."""

CLEARANCE = 0.03
"""Smallest gap between two drawn things, as a share of the shorter side, unless they touch."""

SIDED = ("cube", "ball", "cylinder", "ring")
"""Shapes as wide at half height as anywhere: two of them that touch are seen to touch."""

TRIES = 60


def sample_world(
    random: np.random.Generator, options: SceneOptions, *, plot: str = "free", mode: str = ""
) -> World:
    """Draw a scene.

    Args:
        random: Source of every draw.
        options: Image size, modes and number of things.
        plot: One of PLOTS, placed first.
        mode: FLAT or PERSPECTIVE; "" lets `options.mode` decide.

    Returns:
        A World with at least one thing. It can have fewer than drawn when the floor is full.
    """
    if not mode:
        mode = options.mode
        if mode == "mixed":
            mode = FLAT if random.random() < 0.5 else PERSPECTIVE
    place = _place_flat if mode == FLAT else _place_perspective
    wanted = int(random.integers(options.min_objects, options.max_objects + 1))
    looks = _looks(random, wanted)
    size = (options.width, options.height)
    things: list[Thing] = []
    if plot != "free" and wanted >= 2:
        things = _plotted(random, plot, mode, size, looks)
    for look in looks[len(things) :]:
        for _ in range(TRIES):
            thing = place(random, look, size)
            if _fits(thing, things, mode, min(size)):
                things.append(thing)
                break
    if mode == PERSPECTIVE:
        things.sort(key=lambda thing: -thing.ground[1] if thing.ground else 0.0)
    return World(
        mode=mode,
        width=options.width,
        height=options.height,
        things=tuple(things),
        clutter=float(random.random() * options.max_clutter),
        background=int(random.integers(2**31)),
    )


def _looks(random: np.random.Generator, count: int) -> list[tuple[str, str, str]]:
    """Draw (shape, colour, size) from a small palette, so that scenes have things to count."""
    shapes = random.permutation(SHAPES)[: int(random.integers(2, 5))]
    colours = random.permutation(COLOURS)[: int(random.integers(2, 6))]
    return [
        (
            str(shapes[random.integers(len(shapes))]),
            str(colours[random.integers(len(colours))]),
            "small" if random.random() < 0.5 else "large",
        )
        for _ in range(count)
    ]


def _flat_thing(look: tuple[str, str, str], x: float, y: float, radius: float) -> Thing:
    shape, colour, size = look
    return Thing(shape=shape, colour=colour, size=size, x=x, y=y, foot=y, radius=radius)


def _place_flat(
    random: np.random.Generator, look: tuple[str, str, str], size: tuple[int, int]
) -> Thing:
    radius = float(random.uniform(*FLAT_RADIUS[look[2]])) * min(size)
    edge = radius + 0.02 * min(size)
    x = float(random.uniform(edge, size[0] - edge))
    y = float(random.uniform(edge, size[1] - edge))
    return _flat_thing(look, x, y, radius)


def floor_thing(
    look: tuple[str, str, str], ground: tuple[float, float], real: float, size: tuple[int, int]
) -> Thing:
    """Project a thing of real half-width `real` metres that stands at `ground`."""
    shape, colour, label = look
    span = min(size)
    scale = FOCAL * span / ground[1]
    radius = real * scale
    foot = HORIZON * size[1] + CAMERA_HEIGHT * scale * (size[1] / span) * 0.85
    return Thing(
        shape=shape,
        colour=colour,
        size=label,
        x=size[0] / 2 + ground[0] * scale * (size[0] / span),
        y=foot - radius * 0.85,
        foot=foot,
        radius=radius,
        ground=ground,
    )


def _place_perspective(
    random: np.random.Generator, look: tuple[str, str, str], size: tuple[int, int]
) -> Thing:
    real = float(random.uniform(*REAL_RADIUS[look[2]]))
    # Uniform in 1/Z spreads the feet evenly over the picture instead of crowding the horizon.
    depth = 1.0 / float(random.uniform(1 / FAR, 1 / NEAR))
    reach = 0.5 / FOCAL * depth - real - 0.03 * depth
    return floor_thing(look, (float(random.uniform(-reach, reach)), depth), real, size)


def _fits(thing: Thing, others: Sequence[Thing], mode: str, span: float) -> bool:
    """Say whether a thing can join the others without touching or hiding one of them."""
    if mode == FLAT:
        return all(
            math.hypot(thing.x - other.x, thing.y - other.y)
            >= thing.radius + other.radius + CLEARANCE * span
            for other in others
        )
    for other in others:
        assert thing.ground is not None and other.ground is not None
        apart = math.dist(thing.ground, other.ground)
        scale = FOCAL * span / min(thing.ground[1], other.ground[1])
        if apart * scale < thing.radius + other.radius:
            return False
    everyone = [*others, thing]
    return all(hidden_share(one, everyone) <= HIDDEN_AT_MOST for one in everyone)


def hidden_share(thing: Thing, everyone: Sequence[Thing]) -> float:
    """Bound from above the share of a thing's drawn box that nearer things cover, 0..1."""
    if thing.ground is None:
        return 0.0
    covered = 0.0
    for other in everyone:
        if other is thing or other.ground is None or other.ground[1] >= thing.ground[1]:
            continue
        if TRAY in (other.shape, thing.shape):
            continue
        reach = thing.radius + other.radius
        wide = min(reach - abs(thing.x - other.x), 2 * min(thing.radius, other.radius))
        tall = min(reach - abs(thing.y - other.y), 2 * min(thing.radius, other.radius))
        covered += max(0.0, wide) * max(0.0, tall)
    return covered / (4 * thing.radius * thing.radius)


def _plotted(
    random: np.random.Generator,
    plot: str,
    mode: str,
    size: tuple[int, int],
    looks: list[tuple[str, str, str]],
) -> list[Thing]:
    """Place a plot's things; an empty list if it found no room."""
    if plot == "between" and len(looks) < 3:
        return []
    if plot == "inside":
        shades = [colour for colour in COLOURS if colour != looks[0][1]]
        looks[1] = (TRAY, str(shades[random.integers(len(shades))]), "large")
    if plot == "touching":
        for index in range(2):
            looks[index] = (str(SIDED[random.integers(4)]), looks[index][1], looks[0][2])
    _tell_apart(random, looks, 3 if plot == "between" else 2)
    builder = _plot_flat if mode == FLAT else _plot_perspective
    for _ in range(TRIES):
        things = builder(random, plot, size, looks)
        if things and all(_inside_picture(thing, size) for thing in things):
            return things
    return []


def _tell_apart(random: np.random.Generator, looks: list[tuple[str, str, str]], count: int) -> None:
    """Give the first `count` looks distinct names, so that questions can point at them."""
    for index in range(count):
        others = [look[:2] for other, look in enumerate(looks) if other != index]
        while looks[index][:2] in others:
            shape, _, size = looks[index]
            looks[index] = (shape, str(COLOURS[random.integers(len(COLOURS))]), size)


def _inside_picture(thing: Thing, size: tuple[int, int]) -> bool:
    edge = thing.radius + 1
    return edge <= thing.x <= size[0] - edge and edge <= thing.y <= size[1] - edge


def _plot_flat(
    random: np.random.Generator, plot: str, size: tuple[int, int], looks: list[tuple[str, str, str]]
) -> list[Thing]:
    span = min(size)
    first = _place_flat(random, looks[0], size)
    if plot == "inside":
        holder = _flat_thing(looks[1], first.x, first.y, first.radius * 1.75)
        return [holder, first]
    radius = float(random.uniform(*FLAT_RADIUS[looks[1][2]])) * span
    if plot == "touching":
        radius = first.radius
    # Side by side, contact is plain to see; on a diagonal, round things and boxes only nearly meet.
    angle = float(random.integers(2)) * math.pi
    if plot == "between":
        angle = float(random.integers(4)) * math.pi / 2 + float(random.uniform(-0.12, 0.12))
    gap = {"touching": -0.004, "next_to": float(random.uniform(0.04, 0.06))}.get(plot, 0.0) * span
    reach = first.radius + radius + gap
    if plot == "between":
        reach = first.radius + radius + float(random.uniform(0.05, 0.16)) * span
    way = (math.cos(angle), math.sin(angle))
    second = _flat_thing(looks[1], first.x + way[0] * reach, first.y + way[1] * reach, radius)
    if plot != "between":
        return [first, second]
    radius = float(random.uniform(*FLAT_RADIUS[looks[2][2]])) * span
    reach = first.radius + radius + float(random.uniform(0.05, 0.16)) * span
    third = _flat_thing(looks[2], first.x - way[0] * reach, first.y - way[1] * reach, radius)
    return [first, second, third]


def _plot_perspective(
    random: np.random.Generator, plot: str, size: tuple[int, int], looks: list[tuple[str, str, str]]
) -> list[Thing]:
    real = float(random.uniform(*REAL_RADIUS[looks[0][2]]))
    depth = float(random.uniform(NEAR + 0.2, FAR - 0.6))
    reach = 0.5 / FOCAL * depth - real
    across = float(random.uniform(-reach, reach))
    first = floor_thing(looks[0], (across, depth), real, size)
    if plot == "inside":
        holder = floor_thing(looks[1], (across, depth + 0.001), real * 1.75, size)
        return [holder, first]
    real_two = real if plot == "touching" else float(random.uniform(*REAL_RADIUS[looks[1][2]]))
    side = 1.0 if random.random() < 0.5 else -1.0
    pixel = depth / FOCAL
    gap = {"touching": -0.004, "next_to": float(random.uniform(0.04, 0.06))}.get(plot, 0.0) * pixel
    if plot == "between":
        gap = float(random.uniform(0.05, 0.14)) * pixel
    # Side by side at one depth: contact in the picture is then contact on the floor too.
    second = floor_thing(looks[1], (across + side * (real + real_two + gap), depth), real_two, size)
    if plot != "between":
        return [first, second]
    real_three = float(random.uniform(*REAL_RADIUS[looks[2][2]]))
    gap = float(random.uniform(0.05, 0.14)) * pixel
    third = floor_thing(
        looks[2], (across - side * (real + real_three + gap), depth), real_three, size
    )
    return [first, second, third]
