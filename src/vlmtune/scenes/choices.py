"""The four tasks of CV-Bench about a scene: Depth, Distance, Count, Relation, with letters."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from vlmtune.scenes import truth
from vlmtune.scenes.questions import (
    Question,
    ask_caption,
    ask_count,
    ask_relation,
    ask_yes_no,
    pairs,
    pick,
    swapped,
    where,
)
from vlmtune.scenes.world import PERSPECTIVE, TRAY, World
from vlmtune.types import Kind

Asker = Callable[[World, np.random.Generator], Question | None]

OPTION = {"left of": "left", "right of": "right"}
"""How CV-Bench writes two of the directions as options."""


def ask_choice(world: World, random: np.random.Generator) -> Question | None:
    """Ask one of CV-Bench's four tasks with lettered choices."""
    tasks = (_choice_depth, _choice_distance, _choice_count, _choice_relation)
    for index in random.permutation(len(tasks)):
        asked = tasks[index](world, random)
        if asked is not None:
            return asked
    return None


def _choice_depth(world: World, random: np.random.Generator) -> Question | None:
    if world.mode != PERSPECTIVE:
        return None
    for one, other in pairs(world, random):
        nearer = truth.closer_to_camera(one, other, world)
        if nearer is None or TRAY in (one.shape, other.shape):
            continue
        text = (
            f"Which object is closer to the camera taking this photo, the {one.name} or "
            f"the {other.name}?"
        )
        right = one if nearer else other
        return _choice(
            text, (one.name, other.name), right.name, task="Depth",
            seen=where(world, (one, other)), misread=swapped(world, one, other),
        )  # fmt: skip
    return None


def _choice_distance(world: World, random: np.random.Generator) -> Question | None:
    things = [thing for thing in world.unique() if thing.shape != TRAY]
    for _ in range(6):
        drawn = pick(random, things, 3)
        if drawn is None:
            return None
        anchor, one, other = drawn
        nearer = truth.closer_to(anchor, one, other)
        if nearer is None:
            continue
        text = (
            "Estimate the real-world distances between objects in this image. Which object is "
            f"closer to the {anchor.name}, the {one.name} or the {other.name}?"
        )
        return _choice(
            text, (one.name, other.name), (one if nearer else other).name, task="Distance",
            seen=where(world, drawn),
            misread=f"{where(world, (anchor,))}, {swapped(world, one, other)}",
        )  # fmt: skip
    return None


def _choice_count(world: World, random: np.random.Generator) -> Question | None:
    asked = ask_count(world, random)
    if asked is None:
        return None
    number = int(asked.answer)
    low = max(0, number - int(random.integers(0, 4)))
    options = [str(low + step) for step in random.permutation(4)]
    text = f"How many {asked.facts['phrase']} are in the image?"
    return _choice(
        text, options, asked.answer, task="Count", seen=asked.rationale,
        misread=asked.rejected_rationale, wrong=asked.rejected,
    )  # fmt: skip


def _choice_relation(world: World, random: np.random.Generator) -> Question | None:
    for one, other in pairs(world, random):
        if TRAY in (one.shape, other.shape):
            continue
        relation = truth.direction(world, one, other)
        if relation is None:
            continue
        text = (
            f"Considering the relative positions of the {one.name} and the {other.name} in the "
            f"image provided, where is the {one.name} located with respect to the {other.name}?"
        )
        options = [relation, truth.INVERSE[relation]]
        if random.random() < 0.5:
            options.reverse()
        return _choice(
            text, [OPTION.get(option, option) for option in options],
            OPTION.get(relation, relation), task="Relation",
            seen=where(world, (one, other)), misread=swapped(world, one, other),
        )  # fmt: skip
    return None


def _choice(
    text: str, options: Sequence[str], right: str, *, task: str, seen: str, misread: str,
    wrong: str = "",
) -> Question:  # fmt: skip
    letters = [f"({chr(ord('A') + index)})" for index in range(len(options))]
    others = [letter for letter, option in zip(letters, options, strict=True) if option != right]
    if wrong in options:
        others = [letters[options.index(wrong)]]
    return Question(
        kind=Kind.CHOICE,
        text=text,
        answer=letters[list(options).index(right)],
        rationale=seen,
        rejected=others[0],
        rejected_rationale=misread,
        choices=tuple(options),
        facts={"task": task},
    )


ASKERS: Mapping[Kind, Asker] = MappingProxyType(
    {
        Kind.RELATION: ask_relation,
        Kind.YES_NO: ask_yes_no,
        Kind.COUNT: ask_count,
        Kind.CHOICE: ask_choice,
        Kind.CAPTION: ask_caption,
    }
)
"""Who asks which kind."""
