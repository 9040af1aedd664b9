"""Scenes as an index-addressable table: `Scenes(split="train")[1_999_999_999]` costs one scene.

Row i of a split is computed from (seed, split, i) alone. Splits use different random streams, so a
row of one split is never a row of another, for any seed.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import PIL.Image

from vlmtune.errors import ConfigError
from vlmtune.scenes.layout import PLOTS, sample_world
from vlmtune.scenes.questions import ASKERS, Question
from vlmtune.scenes.render import render
from vlmtune.scenes.world import SceneOptions, World
from vlmtune.types import Example, Kind

LENGTH = 2_000_000_000
"""Rows in a split: as many as SpatialVLM made."""

KINDS = (Kind.RELATION, Kind.YES_NO, Kind.COUNT, Kind.CHOICE)
ATTEMPTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneImage:
    """The picture of one row, drawn when it is opened."""

    name: str
    world: World

    def open(self) -> PIL.Image.Image:
        """Draw it."""
        return render(self.world)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """A split of the synthetic world.

    Attributes:
        split: Any name; "train", "validation" and "test" by custom.
        seed: Another seed gives other rows everywhere.
        kinds: Kinds of question, in turn: row i asks for `kinds[i % len(kinds)]`.
        options: What scenes look like.
    """

    split: str = "train"
    seed: int = 0
    kinds: Sequence[Kind] = KINDS
    options: SceneOptions = field(default_factory=SceneOptions)

    def __len__(self) -> int:
        """Rows in the split."""
        return LENGTH

    def __iter__(self) -> Iterator[Example]:
        """All rows in order."""
        return (self[index] for index in range(LENGTH))

    def __getitem__(self, index: int) -> Example:
        """Compute one row.

        Raises:
            IndexError: If index is not in 0..LENGTH-1.
            ConfigError: If the options leave no scene about which this kind can be asked.
        """
        kind = self.kinds[index % len(self.kinds)]
        world, question = self.draw(index, kind)
        name = f"scenes/{self.split}/{index:06d}"
        return Example(
            id=name,
            images=(SceneImage(name=name, world=world),),
            question=question.text,
            answer=question.answer,
            rationale=question.rationale,
            rejected=question.rejected,
            rejected_rationale=question.rejected_rationale,
            kind=kind,
            choices=question.choices,
            source="scenes",
            facts=dict(question.facts, mode=world.mode, seed=self.seed),
        )

    def draw(self, index: int, kind: Kind) -> tuple[World, Question]:
        """Draw the scene of a row and a question of `kind` about it.

        Raises:
            IndexError: If index is not in 0..LENGTH-1.
            ConfigError: If no scene allows such a question.
        """
        if not 0 <= index < LENGTH:
            raise IndexError(f"scenes has rows 0 to {LENGTH - 1}, not {index}")
        random = self.stream(index)
        # Drawn before the scene: true statements are easier to find and would be too many.
        wanted = ("yes", "no")[int(random.integers(2))]
        for _ in range(ATTEMPTS):
            world = sample_world(random, self.options, plot=_draw_plot(random, kind))
            question = ASKERS[kind](world, random)
            if question is not None and (kind is not Kind.YES_NO or question.answer == wanted):
                return world, question
        raise ConfigError(
            f"scenes found no question of kind '{kind}' in {ATTEMPTS} scenes with "
            f"{self.options.min_objects} to {self.options.max_objects} objects; "
            "raise data.datasets options.max_objects"
        )

    def stream(self, index: int) -> np.random.Generator:
        """The random stream of one row, independent of every other row's."""
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self.seed, _code(self.split), index]))
        )


def _code(split: str) -> int:
    return int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big")


def _draw_plot(random: np.random.Generator, kind: Kind) -> str:
    """Half of the scenes for relations and statements are planned; others are free."""
    if kind in (Kind.RELATION, Kind.YES_NO, Kind.CAPTION) and random.random() < 0.5:
        return PLOTS[int(random.integers(1, len(PLOTS)))]
    return "free"
