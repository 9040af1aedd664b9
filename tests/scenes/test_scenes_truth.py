"""Every answer is worked out again here, from the drawn things alone, by other means."""

import math
from dataclasses import replace

import numpy as np
import pytest

from vlmtune.scenes import truth
from vlmtune.scenes.dataset import Scenes
from vlmtune.scenes.layout import HIDDEN_AT_MOST, PLOTS, hidden_share, sample_world
from vlmtune.scenes.world import FLAT, PERSPECTIVE, SHAPES, TRAY, SceneOptions, Thing, World
from vlmtune.types import Kind


def thing(shape: str, colour: str, x: float, y: float, radius: float = 10.0) -> Thing:
    return Thing(shape=shape, colour=colour, size="small", x=x, y=y, foot=y, radius=radius)


def flat(*things: Thing) -> World:
    return World(mode=FLAT, width=200, height=200, things=things, clutter=0.0, background=0)


def find(world: World, name: str) -> Thing:
    matching = [one for one in world.things if one.name == name]
    assert len(matching) == 1, f"{name} points at {len(matching)} things"
    return matching[0]


def test_left_is_left_and_right_is_not() -> None:
    world = flat(thing("cube", "red", 40, 100), thing("ball", "blue", 160, 100))
    cube, ball = world.things
    assert truth.holds(world, "left of", cube, ball) is True
    assert truth.holds(world, "right of", cube, ball) is False
    assert truth.holds(world, "right of", ball, cube) is True
    assert truth.direction(world, cube, ball) == "left of"


def test_a_difference_within_the_margin_is_never_called() -> None:
    # 18 pixels of 200 are 9 %, and 10 % are asked for.
    world = flat(thing("cube", "red", 100, 100), thing("ball", "blue", 118, 40))
    cube, ball = world.things
    assert truth.holds(world, "left of", cube, ball) is None


def test_a_diagonal_has_no_plain_direction_of_the_smaller_side() -> None:
    world = flat(thing("cube", "red", 40, 40), thing("ball", "blue", 80, 160))
    cube, ball = world.things
    assert truth.holds(world, "left of", cube, ball) is None
    assert truth.direction(world, cube, ball) == "above"


def test_depth_words_mean_nothing_in_a_flat_scene() -> None:
    world = flat(thing("cube", "red", 100, 40), thing("ball", "blue", 100, 160))
    assert truth.holds(world, "behind", *world.things) is None
    assert truth.closer_to_camera(*world.things, world) is None


def test_touching_next_to_and_far_exclude_each_other() -> None:
    for gap, expected in ((0, "touching"), (10, "next to"), (80, "far from")):
        world = flat(thing("cube", "red", 40, 100), thing("ball", "blue", 60 + gap, 100))
        held = {word: truth.holds(world, word, *world.things) for word in truth.PROXIMITY}
        assert [word for word, value in held.items() if value] == [expected]


def test_between_needs_both_sides() -> None:
    world = flat(
        thing("cube", "red", 100, 100),
        thing("ball", "blue", 30, 100),
        thing("cone", "red", 170, 100),
    )
    cube, ball, cone = world.things
    assert truth.between(world, cube, ball, cone) is True
    assert truth.between(world, ball, cube, cone) is False


def test_inside_is_true_only_of_a_tray_and_its_content() -> None:
    tray = replace(thing(TRAY, "blue", 100, 100), radius=20.0)
    world = flat(tray, thing("ball", "red", 102, 100, 9), thing("cube", "green", 30, 30))
    assert truth.holds(world, "inside", world.things[1], tray) is True
    assert truth.holds(world, "inside", world.things[2], tray) is False
    assert truth.holds(world, "inside", world.things[1], world.things[2]) is None


def test_a_tray_has_sides_for_what_stands_clear_of_it() -> None:
    tray = replace(thing(TRAY, "blue", 100, 100), radius=30.0)
    clear, within, astride = (thing("ball", "red", x, 100, 9) for x in (40, 90, 65))
    world = flat(tray, clear, within, astride)
    assert truth.direction(world, clear, tray) == "left of"
    assert truth.direction(world, tray, clear) == "right of"
    # 35 pixels from the middle with radii 9 and 30: over the rim, so neither in it nor beside it.
    assert truth.holds(world, "left of", astride, tray) is None
    assert truth.holds(world, "left of", within, tray) is None
    assert truth.holds(world, "far from", clear, tray) is None


def test_an_unknown_relation_is_a_bug_of_ours() -> None:
    world = flat(thing("cube", "red", 40, 100), thing("ball", "blue", 160, 100))
    with pytest.raises(ValueError, match="unknown relation 'under'"):
        truth.holds(world, "under", *world.things)


def test_counts_are_the_things_that_fit_the_phrase() -> None:
    for index in range(400):
        world, question = Scenes(split="check").draw(index, Kind.COUNT)
        phrase = question.facts["phrase"]
        words = phrase.split()
        colour = words[0] if len(words) == 2 else None
        shape = None if words[-1] == "objects" else words[-1][:-1]
        number = sum(
            (colour is None or one.colour == colour) and (shape is None or one.shape == shape)
            for one in world.things
            if one.shape in SHAPES
        )
        assert question.answer == str(number) and 0 <= number <= 12
        assert question.rejected != question.answer and int(question.rejected) >= 0
        # The thinking lists as many things as the answer says.
        listed = 0 if question.rationale == "none" else question.rationale.count("(")
        assert listed == number


def test_directions_agree_with_the_coordinates() -> None:
    for index in range(400):
        world, question = Scenes(split="check").draw(index, Kind.RELATION)
        one = find(world, question.facts["subject"])
        other = find(world, question.facts["object"])
        checks = {
            "left of": one.x < other.x,
            "right of": one.x > other.x,
            "above": one.y < other.y and world.mode == FLAT,
            "below": one.y > other.y and world.mode == FLAT,
            "in front of": one.foot > other.foot and world.mode == PERSPECTIVE,
            "behind": one.foot < other.foot and world.mode == PERSPECTIVE,
            "inside": other.shape == TRAY
            and math.hypot(one.x - other.x, one.foot - other.foot) < 20,
            "touching": math.hypot(one.x - other.x, one.y - other.y)
            <= one.radius + other.radius + 1,
            "next to": math.hypot(one.x - other.x, one.y - other.y) > one.radius + other.radius,
            "far from": math.hypot(one.x - other.x, one.y - other.y)
            > one.radius + other.radius + 20,
            "between": " and the " in question.text,
        }
        assert checks[question.answer]
        if " and the " in question.text and question.answer != "between":
            third = find(world, question.text.rstrip("?").rsplit(" and the ", 1)[1])
            assert truth.direction(world, one, third) == question.answer
            assert truth.between(world, one, other, third) is False
        assert question.rejected != question.answer
        assert f"{one.name} (" in question.rationale and f"{other.name} (" in question.rationale


@pytest.mark.parametrize(("words", "answer"), [(" and the ", "between"), ("tray", "inside")])
def test_no_wording_of_a_relation_gives_its_answer_away(words: str, answer: str) -> None:
    rows = [Scenes(split="check", kinds=(Kind.RELATION,))[index] for index in range(600)]
    told = [row.answer == answer for row in rows if words in row.question]
    assert len(told) >= 60 and 0.3 <= sum(told) / len(told) <= 0.7


def test_statements_are_true_as_often_as_false() -> None:
    labels = [Scenes().draw(index, Kind.YES_NO)[1].facts["label"] for index in range(1000)]
    # Binomial(1000, 1/2): a fair coin stays within 4 standard deviations (63) of 500.
    assert abs(sum(labels) - 500) <= 63


def test_choices_hold_the_answer_once_and_the_wrong_answer_is_another() -> None:
    for index in range(200):
        world, question = Scenes(split="check").draw(index, Kind.CHOICE)
        letters = [f"({chr(65 + i)})" for i in range(len(question.choices))]
        assert len(set(question.choices)) == len(question.choices) <= 6
        assert question.answer in letters and question.rejected in letters
        assert question.answer != question.rejected
        chosen = question.choices[letters.index(question.answer)]
        if question.facts["task"] == "Depth":
            other = next(option for option in question.choices if option != chosen)
            assert find(world, chosen).foot > find(world, other).foot


@pytest.mark.parametrize("plot", PLOTS)
def test_nothing_that_is_counted_is_hidden(plot: str) -> None:
    for seed in range(150):
        world = sample_world(np.random.default_rng(seed), SceneOptions(), plot=plot)
        assert 1 <= len(world.things) <= 12
        assert all(hidden_share(one, world.things) <= HIDDEN_AT_MOST for one in world.things)
        for one in world.things:
            assert one.radius <= one.x <= world.width - one.radius
