"""Rows of any dataset as a benchmark: asked once each, and graded by what kind of question it is.

    evaluation: {datasets: [{name: scenes, split: test}], max_samples: 1000, style: think}

Right is what the reward `combined` calls accurate; the share of its format is not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import PIL.Image

from vlmtune.config import DatasetConfig, RunConfig
from vlmtune.data.load import load_examples
from vlmtune.data.training_sets import Track, on_split
from vlmtune.errors import DataError
from vlmtune.rewards import CombinedRewardFunction
from vlmtune.types import (
    JSON,
    BenchmarkRow,
    Example,
    ImageRef,
    Judgement,
    Kind,
    RowSource,
    Stage,
)

PROTOCOL = "generate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """All pictures of a row, where a benchmark expects one; a row of text alone has none."""

    images: tuple[ImageRef, ...]

    @property
    def name(self) -> str:
        """Where they come from."""
        return ", ".join(image.name for image in self.images)

    def open(self) -> PIL.Image.Image:
        """Decode every one, so that a row with a damaged picture is not asked; show the first.

        Raises:
            DataError: If one cannot be opened.
        """
        opened = [image.open() for image in self.images]
        return opened[0] if opened else PIL.Image.new("RGB", (1, 1), "white")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The benchmark over rows that were read before.

    Attributes:
        name: As reports print it: the dataset's name.
        examples: The rows, each with an answer.
        columns: Columns without which an answer cannot be graded.
        key: The column that names a row.
        protocols: The one way to ask.
    """

    name: str
    examples: tuple[Example, ...] = field(repr=False)
    columns: tuple[str, ...] = ("id", "kind", "question", "choices", "answer")
    key: str | None = "id"
    protocols: Mapping[str, str] = field(
        default_factory=lambda: {PROTOCOL: "the model answers in its own words"}
    )
    _by_id: dict[str, Example] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {example.id: example for example in self.examples})

    def rows(self, source: RowSource) -> Iterator[BenchmarkRow]:
        """Yield the rows; the source changes nothing, for they were read with theirs."""
        del source
        for example in self.examples:
            columns = {
                "id": example.id,
                "kind": example.kind.value,
                "question": example.question,
                "choices": list(example.choices),
                "answer": example.answer,
                "facts": dict(example.facts),
            }
            yield BenchmarkRow(
                id=example.id, columns=columns, image=Pictures(images=example.images)
            )

    def example(self, row: BenchmarkRow, *, protocol: str) -> Example:
        """Give the row as it was read."""
        del protocol
        return self._by_id[row.id]

    def candidates(self, protocol: str) -> tuple[str, ...]:
        """No answers are compared: the model writes its own."""
        del protocol
        return ()

    def judge(self, columns: Mapping[str, JSON], completion: str, *, thinking: bool) -> Judgement:
        """Grade one answer; tags are looked into where there are some.

        Raises:
            DataError: If the row has no answer to compare with.
        """
        del thinking
        if columns.get("answer") is None:
            raise DataError(f"{self.name} row {columns.get('id')} has no answer to compare with")
        example = Example(
            id=str(columns["id"]),
            question=str(columns["question"]),
            answer=str(columns["answer"]),
            kind=Kind(columns["kind"]),
            choices=tuple(columns["choices"]),
            facts=columns.get("facts") or {},
        )
        score = CombinedRewardFunction().score(example, completion)
        read = score.reading.value
        return Judgement(
            verdict=score.verdict,
            gold=str(columns["answer"]),
            reading="" if read is None else str(read),
            groups={"kind": example.kind.value},
        )

    def summary(
        self, judged: Sequence[tuple[Mapping[str, JSON], Judgement]], *, thinking: bool
    ) -> Mapping[str, JSON]:
        """There is no official roll-up of a dataset that somebody held out."""
        del judged, thinking
        return {}


def load_held_out(
    config: RunConfig, *, seed: int, count: int | None, track: Track | None = None
) -> tuple[HeldOut, ...]:
    """Read the rows of `evaluation.datasets`.

    Args:
        config: Names the datasets and says how rows are read; an entry without a split of its own
            is read from `data.eval_split`.
        seed: Fixes which rows are drawn.
        count: Rows of each at most; None takes all.
        track: Opens progress bars.

    Returns:
        A benchmark for each entry, under names that differ.

    Raises:
        ConfigError: If a dataset or an option of it is wrong.
        DataError: If no row of one can be asked.
    """
    found: dict[str, HeldOut] = {}
    for source in config.evaluation.datasets:
        name, number = source.name, 1
        while name in found:
            number += 1
            name = f"{source.name} {number}"
        rows = _reading(config, source, seed=seed, count=count)
        if track is None:
            loaded = load_examples(rows, verify_images=False)
        else:
            with track(f"reading {name}", count or 0) as advance:
                loaded = load_examples(rows, verify_images=False, progress=advance)
        found[name] = HeldOut(name=name, examples=loaded.examples)
    return tuple(found.values())


def _reading(
    config: RunConfig, source: DatasetConfig, *, seed: int, count: int | None
) -> RunConfig:
    """A run that would train on these rows: each needs an answer, and nothing else."""
    data = config.data.model_copy(
        update={
            "datasets": [on_split(source, config.data.eval_split)],
            "max_samples": count,
            "max_samples_per_dataset": None,
            "shuffle": False,
        }
    )
    return config.model_copy(update={"data": data, "seed": seed, "stage": Stage.SFT})
