"""What is true of a scene, with margins: what a person could not decide is neither true nor false.

Every predicate returns True, False or None. None means "too close to call": a question about it is
never asked, as true or as false. The margins, as shares of the shorter side of the picture:

    left of / right of           centres 0.10 apart sideways and not more than that up or down
    above / below (flat)         the same, upwards
    in front of / behind         feet 0.08 apart and depths 0.45 m apart, sideways less than 0.25
    touching                     gap at most 0, at one depth; not touching from 0.03
    next to                      gap 0.03 to 0.08, at one depth; not next to from 0.20
    far from                     gap from 0.30; not far from below 0.15
    inside                       a tray and what stands in it; nothing else is in a tray
    left, right, above, below    of a tray: as of any thing, if nothing of the one is in the other
    between                      on the line of two things, with room to both
    closer (distance, depth)     1.5 times, 0.45 m
"""

import math
from collections.abc import Callable

from vlmtune.scenes.layout import FOCAL
from vlmtune.scenes.world import FLAT, TRAY, Thing, World

SIDEWAYS = 0.10
CERTAINLY_NOT = 0.04
FEET = 0.08
DEPTH = 0.45
CLOSER = 1.5

INVERSE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
DIRECTIONS = tuple(INVERSE)
PROXIMITY = ("touching", "next to", "far from")
PAIR_RELATIONS = (*DIRECTIONS, *PROXIMITY, "inside")


def holds(world: World, relation: str, one: Thing, other: Thing) -> bool | None:
    """Say whether `one` stands in `relation` to `other`.

    Args:
        world: The scene.
        relation: One of PAIR_RELATIONS.
        one: The subject.
        other: The object.

    Returns:
        True or False beyond the margin, None when too close to call or not decidable in this mode.

    Raises:
        ValueError: If the relation is unknown.
    """
    if relation == "inside":
        return _inside(one, other)
    if relation in ("right of", "below", "behind"):
        return holds(world, INVERSE[relation], other, one)
    if relation not in _JUDGES:
        raise ValueError(f"unknown relation {relation!r}; known: {', '.join(PAIR_RELATIONS)}")
    if TRAY in (one.shape, other.shape) and not _beside_tray(relation, one, other):
        return None
    return _JUDGES[relation](world, one, other)


def direction(world: World, one: Thing, other: Thing) -> str | None:
    """Name the one direction in which `one` lies from `other`, or None if it is not plain."""
    found = [word for word in DIRECTIONS if holds(world, word, one, other)]
    return found[0] if len(found) == 1 else None


def between(world: World, one: Thing, left: Thing, right: Thing) -> bool | None:
    """Say whether `one` lies between two others, which are given in any order."""
    if TRAY in (one.shape, left.shape, right.shape):
        return None
    there = (right.x - left.x, right.foot - left.foot)
    length = math.hypot(*there)
    here = (one.x - left.x, one.foot - left.foot)
    along = (here[0] * there[0] + here[1] * there[1]) / length
    aside = abs(here[0] * there[1] - here[1] * there[0]) / length
    edge = 0.5 * one.radius
    if edge < along - left.radius and along + right.radius + edge < length:
        if aside < 0.06 * world.span:
            return True
        return None if aside < 0.20 * world.span else False
    if along < -0.04 * world.span or along > length + 0.04 * world.span:
        return False
    return None


def gap(world: World, one: Thing, other: Thing) -> float:
    """Free space between two things as a share of the shorter side; negative when they overlap."""
    if one.ground is not None and other.ground is not None:
        scale = FOCAL / ((one.ground[1] + other.ground[1]) / 2)
        mean = math.dist(one.ground, other.ground) * scale
        return mean - (one.radius + other.radius) / world.span
    apart = math.hypot(one.x - other.x, one.y - other.y)
    return (apart - one.radius - other.radius) / world.span


def distance(one: Thing, other: Thing) -> float:
    """Distance of two centres: metres on the floor in perspective, pixels in a flat scene."""
    if one.ground is not None and other.ground is not None:
        return math.dist(one.ground, other.ground)
    return math.hypot(one.x - other.x, one.y - other.y)


def closer_to_camera(one: Thing, other: Thing, world: World) -> bool | None:
    """Say whether `one` is nearer to the camera, by depth and by what the feet show."""
    if one.ground is None or other.ground is None:
        return None
    depth = other.ground[1] - one.ground[1]
    feet = (one.foot - other.foot) / world.span
    if abs(depth) < DEPTH or abs(feet) < FEET:
        return None
    return depth > 0


def closer_to(anchor: Thing, one: Thing, other: Thing) -> bool | None:
    """Say whether `one` is nearer to `anchor` than `other` is."""
    mine, theirs = distance(anchor, one), distance(anchor, other)
    if max(mine, theirs) < CLOSER * min(mine, theirs):
        return None
    return mine < theirs


def _left(world: World, one: Thing, other: Thing) -> bool | None:
    return _lies(world, other.x - one.x, abs(other.foot - one.foot))


def _above(world: World, one: Thing, other: Thing) -> bool | None:
    if world.mode != FLAT:
        return None
    return _lies(world, other.foot - one.foot, abs(other.x - one.x))


def _lies(world: World, ahead: float, aside: float) -> bool | None:
    if ahead >= SIDEWAYS * world.span:
        return True if aside <= ahead else None
    return False if ahead <= -CERTAINLY_NOT * world.span else None


def _in_front(world: World, one: Thing, other: Thing) -> bool | None:
    nearer = closer_to_camera(one, other, world)
    aside = abs(one.x - other.x)
    if nearer is None or aside > 0.25 * world.span:
        return None
    # Sideways wins when it is larger than what the feet show; then neither answer is plain.
    return None if nearer and aside > 1.2 * abs(one.foot - other.foot) else nearer


def _touching(world: World, one: Thing, other: Thing) -> bool | None:
    space = gap(world, one, other)
    if space <= 0.0:
        return True if _side_by_side(one, other) else None
    return None if space < 0.03 else False


def _next_to(world: World, one: Thing, other: Thing) -> bool | None:
    space = gap(world, one, other)
    if 0.03 <= space <= 0.08:
        return True if _side_by_side(one, other) else None
    return False if space >= 0.20 else None


def _side_by_side(one: Thing, other: Thing) -> bool:
    """Say whether a gap on the floor is the gap that the picture shows: depths within 0.2 m."""
    if one.ground is None or other.ground is None:
        return True
    return abs(one.ground[1] - other.ground[1]) <= 0.2


def _far(world: World, one: Thing, other: Thing) -> bool | None:
    space = gap(world, one, other)
    return True if space >= 0.30 else (False if space < 0.15 else None)


def _inside(one: Thing, other: Thing) -> bool | None:
    if other.shape != TRAY or one.shape == TRAY:
        return None
    apart = math.hypot(one.x - other.x, one.foot - other.foot)
    if apart < 0.5 * other.radius and one.radius < other.radius:
        return True
    return False if apart > one.radius + other.radius else None


def _beside_tray(relation: str, one: Thing, other: Thing) -> bool:
    """Say whether a relation to a tray is plain: sideways or upwards, and well outside of it."""
    thing, tray = (one, other) if other.shape == TRAY else (other, one)
    return relation in ("left of", "above") and _inside(thing, tray) is False


_JUDGES: dict[str, Callable[[World, Thing, Thing], bool | None]] = {
    "left of": _left,
    "above": _above,
    "in front of": _in_front,
    "touching": _touching,
    "next to": _next_to,
    "far from": _far,
}
