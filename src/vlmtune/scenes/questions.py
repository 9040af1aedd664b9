"""Ask about a scene, with the exact answer, the thinking behind it and a plausible wrong answer.

One question, as it leaves this file:

    question   Where is the red cube relative to the blue ball?
    answer     left of
    rationale  red cube (2,7), blue ball (6,3)
    rejected   right of                      because of  red cube (6,7), blue ball (2,3)

A rationale names every thing that was looked at with its cell, column then row, on a 10 x 10 grid;
row 9 is the bottom, so that in perspective a larger row is nearer to the camera.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlmtune.scenes import truth
from vlmtune.scenes.world import COLOURS, SHAPES, TRAY, Thing, World
from vlmtune.types import JSON, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about one scene.

    Attributes:
        kind: Decides wording and reward.
        text: The question, without choices or formatting instructions.
        answer: Right by construction; "(B)" for a choice.
        rationale: The things looked at and where they are.
        rejected: A wrong answer that someone who misread the picture would give.
        rejected_rationale: What that person would have thought to see.
        choices: Options of a choice question.
        facts: relation, task (CV-Bench's name) and whatever else a reward or report may group by.
    """

    kind: Kind
    text: str
    answer: str
    rationale: str
    rejected: str
    rejected_rationale: str
    choices: tuple[str, ...] = ()
    facts: Mapping[str, JSON] = field(default_factory=dict)


RELATION_TEXTS = (
    "Where is the {a} relative to the {b}?",
    "What is the position of the {a} with respect to the {b}?",
)
PLURAL = {shape: f"{shape}s" for shape in SHAPES}
BETWEEN_TEXT = "Where is the {a} relative to the {b} and the {c}?"
BOTH = 0.35
"""Share of the questions about directions that name two things to be beside of."""
PROXIMITY_TEXT = "Is the {a} touching, next to or far from the {b}?"


def where(world: World, things: Sequence[Thing]) -> str:
    """Write things with their cells: "red cube (2,7), blue ball (6,3)"."""
    return ", ".join("{} ({},{})".format(thing.name, *world.cell(thing)) for thing in things)


def swapped(world: World, one: Thing, other: Thing) -> str:
    """Write two things, each in the other's place."""
    places = (world.cell(other), world.cell(one))
    return "{} ({},{}), {} ({},{})".format(one.name, *places[0], other.name, *places[1])


def pick(random: np.random.Generator, items: Sequence[Thing], count: int) -> list[Thing] | None:
    """Draw `count` different things, or None if there are fewer."""
    if len(items) < count:
        return None
    return [items[index] for index in random.permutation(len(items))[:count]]


def pairs(world: World, random: np.random.Generator) -> list[tuple[Thing, Thing]]:
    """All ordered pairs of things that their names point out, in random order."""
    things = world.unique()
    pairs = [(one, other) for one in things for other in things if one is not other]
    return [pairs[index] for index in random.permutation(len(pairs))]


def ask_relation(world: World, random: np.random.Generator) -> Question | None:
    """Ask where one thing is, or how close: directions, inside, between, proximity."""
    # A relation first, then things: or left and right would crowd out the others.
    relations = (*truth.PAIR_RELATIONS, "between")
    for index in random.permutation(len(relations)):
        asked = ask_for(world, random, relations[index])
        if asked is not None:
            return asked
    return None


def ask_for(world: World, random: np.random.Generator, relation: str) -> Question | None:
    """Ask a relation question whose answer is `relation`, if this scene allows one.

    Drawing the answer before the scene is what keeps rare relations as frequent as common ones.
    """
    if relation == "inside":
        return _ask_inside(world, random)
    if relation == "between":
        return _ask_between(world, random)
    if relation in truth.PROXIMITY:
        return _ask_proximity(world, random, relation)
    return _ask_direction(world, random, relation)


def _ask_direction(world: World, random: np.random.Generator, wanted: str) -> Question | None:
    if random.random() < BOTH:
        asked = _ask_beside_both(world, random, wanted)
        if asked is not None:
            return asked
    # Trays first, where there are any: a question about one must not mean "inside" by itself.
    drawn = sorted(
        pairs(world, random), key=lambda pair: TRAY not in (pair[0].shape, pair[1].shape)
    )
    for one, other in drawn:
        if truth.direction(world, one, other) == wanted:
            text = RELATION_TEXTS[int(random.integers(len(RELATION_TEXTS)))]
            return _relation(world, text, (one, other), wanted, truth.INVERSE[wanted])
    return None


def _ask_beside_both(world: World, random: np.random.Generator, wanted: str) -> Question | None:
    """Ask where a thing is relative to two others when it lies in one direction from both.

    Without these, "relative to the ball and the cone" would give "between" away.
    """
    beside = [pair for pair in pairs(world, random) if truth.direction(world, *pair) == wanted]
    for one, left in beside:
        for other, right in beside:
            if one is not other or left is right:
                continue
            if truth.between(world, one, left, right) is False:
                return _relation(world, BETWEEN_TEXT, (one, left, right), wanted, "between")
    return None


def _ask_inside(world: World, random: np.random.Generator) -> Question | None:
    for one, other in pairs(world, random):
        if truth.holds(world, "inside", one, other):
            return _relation(world, RELATION_TEXTS[0], (one, other), "inside", "left of")
    return None


def _ask_proximity(world: World, random: np.random.Generator, wanted: str) -> Question | None:
    for one, other in pairs(world, random):
        if truth.holds(world, wanted, one, other):
            wrong = "far from" if wanted != "far from" else "next to"
            return _relation(world, PROXIMITY_TEXT, (one, other), wanted, wrong)
    return None


def _ask_between(world: World, random: np.random.Generator) -> Question | None:
    things = [thing for thing in world.unique() if thing.shape != TRAY]
    found = [
        (one, left, right)
        for one in things
        for index, left in enumerate(things)
        for right in things[index + 1 :]
        if one is not left and one is not right and truth.between(world, one, left, right)
    ]
    if not found:
        return None
    chosen = found[int(random.integers(len(found)))]
    wrong = "left of" if random.random() < 0.5 else "right of"
    return _relation(world, BETWEEN_TEXT, chosen, "between", wrong)


def _relation(
    world: World, text: str, things: Sequence[Thing], answer: str, rejected: str
) -> Question:
    names = dict(zip("abc", (thing.name for thing in things), strict=False))
    seen = where(world, things)
    misread = swapped(world, things[0], things[1]) if len(things) == 2 else seen
    return Question(
        kind=Kind.RELATION,
        text=text.format(**names),
        answer=answer,
        rationale=seen,
        rejected=rejected,
        rejected_rationale=misread,
        facts={"relation": answer, "subject": things[0].name, "object": things[1].name},
    )


def ask_yes_no(world: World, random: np.random.Generator) -> Question | None:
    """Ask whether a statement in VSR's wording is true; as often yes as no."""
    wanted = bool(random.random() < 0.5)
    # A relation first, then a pair: or statements of left and right would crowd out the others.
    for index in random.permutation(len(truth.PAIR_RELATIONS)):
        asked = ask_whether(world, random, truth.PAIR_RELATIONS[index], wanted=wanted)
        if asked is not None:
            return asked
    return None


def ask_whether(
    world: World, random: np.random.Generator, relation: str, *, wanted: bool
) -> Question | None:
    """State `relation` of two things of which it is true (`wanted`) or false, if there are any."""
    for one, other in pairs(world, random):
        # Where there is no tray, nobody would ask what is inside it.
        asked = relation != "inside" or other.shape == TRAY
        if asked and truth.holds(world, relation, one, other) is wanted:
            return _statement(world, relation, one, other, wanted)
    return None


def _statement(world: World, relation: str, one: Thing, other: Thing, holds: bool) -> Question:
    caption = f"The {one.name} is {relation} the {other.name}."
    directed = relation in truth.DIRECTIONS
    seen = where(world, (one, other))
    return Question(
        kind=Kind.YES_NO,
        text=f'Is this statement true? "{caption}"',
        answer="yes" if holds else "no",
        rationale=seen,
        rejected="no" if holds else "yes",
        rejected_rationale=swapped(world, one, other) if directed else seen,
        facts={"relation": relation, "caption": caption, "label": int(holds)},
    )


def _countable(world: World) -> list[tuple[str, list[Thing]]]:
    """What can be counted: every noun phrase with the things that it covers."""
    things = [thing for thing in world.things if thing.shape != TRAY]
    phrases: list[tuple[str, list[Thing]]] = [
        (PLURAL[shape], [thing for thing in things if thing.shape == shape]) for shape in SHAPES
    ]
    if len(things) == len(world.things):
        # A tray is red too, and nobody could say whether it is one of "the red objects".
        phrases += [
            (f"{colour} objects", [thing for thing in things if thing.colour == colour])
            for colour in COLOURS
        ]
        phrases.append(("objects", things))
    phrases += [
        (
            f"{colour} {PLURAL[shape]}",
            [thing for thing in things if (thing.colour, thing.shape) == (colour, shape)],
        )
        for colour in COLOURS
        for shape in SHAPES
    ]
    return phrases


def _draw_count(world: World, random: np.random.Generator) -> tuple[str, list[Thing]]:
    """Draw a noun phrase so that zeros are few and large counts are not rare."""
    phrases = _countable(world)
    if random.random() < 0.1:
        absent = [phrase for phrase in phrases if not phrase[1]]
        return absent[int(random.integers(len(absent)))]
    present = [phrase for phrase in phrases if phrase[1]]
    numbers = sorted({len(things) for _, things in present})
    number = numbers[int(random.integers(len(numbers)))]
    matching = [phrase for phrase in present if len(phrase[1]) == number]
    return matching[int(random.integers(len(matching)))]


def ask_count(world: World, random: np.random.Generator) -> Question | None:
    """Ask how many: by shape, by colour, by both, or all; 0 to 12."""
    if all(thing.shape == TRAY for thing in world.things):
        return None
    phrase, things = _draw_count(world, random)
    number = len(things)
    wrong = number + (1 if number == 0 or random.random() < 0.5 else -1)
    return Question(
        kind=Kind.COUNT,
        text=f"How many {phrase} are there?",
        answer=str(number),
        rationale=_listing(world, things),
        rejected=str(wrong),
        rejected_rationale=_listing(world, _miscounted(world, things, wrong)),
        facts={"phrase": phrase},
    )


def _listing(world: World, things: Sequence[Thing]) -> str:
    ordered = sorted(things, key=world.cell)
    return where(world, ordered) if ordered else "none"


def _miscounted(world: World, things: Sequence[Thing], number: int) -> list[Thing]:
    if number <= len(things):
        return list(things[:number])
    rest = [thing for thing in world.things if thing not in things and thing.shape != TRAY]
    return [*things, (rest or list(things))[0]]


def ask_caption(world: World, random: np.random.Generator) -> Question | None:
    """Ask for a description: how many things, each with its size and place, from left to right."""
    ordered = sorted(world.things, key=world.cell)
    wrong = list(ordered)
    index = int(random.integers(len(wrong)))
    mistaken = [colour for colour in COLOURS if colour != wrong[index].colour]
    changed = f"{mistaken[int(random.integers(len(mistaken)))]} {wrong[index].shape}"
    parts = [f"a {thing.size} {thing.name} ({_cell(world, thing)})" for thing in ordered]
    false = list(parts)
    false[index] = f"a {wrong[index].size} {changed} ({_cell(world, wrong[index])})"
    head = f"{len(ordered)} object{'s' if len(ordered) > 1 else ''}: "
    return Question(
        kind=Kind.CAPTION,
        text="Describe the objects in this image and where they are.",
        answer=head + ", ".join(parts) + ".",
        rationale="",
        rejected=head + ", ".join(false) + ".",
        rejected_rationale="",
        facts={"objects": [thing.name for thing in ordered]},
    )


def _cell(world: World, thing: Thing) -> str:
    return "{},{}".format(*world.cell(thing))
