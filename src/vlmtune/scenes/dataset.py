"""Scenes as an index-addressable table: `Scenes(split="train")[1_999_999_999]` costs one scene.

Row i of a split is computed from (seed, split, i) alone. Splits use different random streams, so a
row of one split is never a row of another, for any seed.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np
import PIL.Image

from vlmtune.errors import ConfigError
from vlmtune.scenes.choices import ASKERS, Asker
from vlmtune.scenes.layout import PLOTS, sample_world
from vlmtune.scenes.questions import Question, ask_for, ask_whether
from vlmtune.scenes.render import render
from vlmtune.scenes.truth import PAIR_RELATIONS
from vlmtune.scenes.world import FLAT, PERSPECTIVE, SceneOptions, World
from vlmtune.types import Example, Kind

LENGTH = 2_000_000_000
"""Rows in a split: as many as SpatialVLM made."""

KINDS = (Kind.RELATION, Kind.YES_NO, Kind.COUNT, Kind.CHOICE)
ATTEMPTS = 400

PLANNED = ("touching", "next to", "between", "inside")
"""Relations that almost never happen by chance; each has a plot of its name."""

MODE_OF: Mapping[str, str] = MappingProxyType(
    {"above": FLAT, "below": FLAT, "in front of": PERSPECTIVE, "behind": PERSPECTIVE}
)
"""Relations that mean something in one mode only."""


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
        ask, plots, mode = self._plan(random, kind)
        for _ in range(ATTEMPTS):
            plot = plots[int(random.integers(len(plots)))]
            world = sample_world(random, self.options, plot=plot, mode=mode)
            question = ask(world, random)
            if question is not None:
                return world, question
        raise ConfigError(
            f"scenes found no question of kind '{kind}' in {ATTEMPTS} scenes with "
            f"{self.options.min_objects} to {self.options.max_objects} objects; "
            "raise data.datasets options.max_objects"
        )

    def _plan(self, random: np.random.Generator, kind: Kind) -> tuple[Asker, Sequence[str], str]:
        """Decide what to ask, with which plots and in which mode, before any scene is drawn.

        A relation and its answer come first: left and right are easy to find in any scene, true
        statements easier than false ones, and both would crowd out the rest.
        """
        if kind not in (Kind.RELATION, Kind.YES_NO):
            return ASKERS[kind], ("free",), ""
        relations = [
            word
            for word in (*PAIR_RELATIONS, *(("between",) if kind is Kind.RELATION else ()))
            if self.options.mode in (MODE_OF.get(word, self.options.mode), "mixed")
        ]
        relation = relations[int(random.integers(len(relations)))]
        wanted = bool(random.integers(2))
        planned = wanted or kind is Kind.RELATION or relation == "inside"
        plots = (relation.replace(" ", "_"),) if relation in PLANNED and planned else PLOTS
        mode = MODE_OF.get(relation, "")
        if kind is Kind.RELATION:
            return partial(ask_for, relation=relation), plots, mode
        return partial(ask_whether, relation=relation, wanted=wanted), plots, mode

    def stream(self, index: int) -> np.random.Generator:
        """The random stream of one row, independent of every other row's."""
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([self.seed, _code(self.split), index]))
        )


def _code(split: str) -> int:
    return int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big")
