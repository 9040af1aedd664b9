"""Supervised fine-tuning: the loss is on the answer's tokens alone, a mean over those of an update.

update      rows [3 0] [4 1]        answers of 5, 2, 9 and 4 tokens
loss        minus the sum of 20 log-probabilities, over 20
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx

from vlmtune.backends.job import Job
from vlmtune.backends.mlx import prompt_once
from vlmtune.backends.mlx.held_out import measured
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.settings import passes
from vlmtune.backends.mlx.trainer import Work, train
from vlmtune.backends.order import Passes
from vlmtune.types import JSON, Lesson, TrainResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that are computed at once.

    Attributes:
        rows: Their places.
        packed: Prompts with their answers.
        tokens: Answer tokens of the whole update.
    """

    rows: tuple[int, ...]
    packed: prompt_once.Packed
    tokens: int


class SftTask:
    """The `Task` of this stage.

    Attributes:
        drops: Dropout is on.
    """

    drops = True

    def __init__(self, learner: Learner, job: Job) -> None:
        self._learner = learner
        self._lessons = job.lessons
        self._evaluation = job.evaluation
        self._evaluated_at_once = job.config.evaluation.batch_size
        self._passes: Passes = passes(job.config, rows=len(job.lessons))

    @property
    def updates_per_pass(self) -> int:
        """Updates that one walk over the rows makes."""
        return self._passes.updates_per_pass

    def passed(self, updates: int) -> float:
        """Say how many walks over the rows a number of updates makes."""
        return self._passes.passed(updates)

    def work(self, update: int) -> Work:
        """Read the rows of an update."""
        batches = self._passes.batches(update)
        reader = self._learner.loaded.reader
        tokens = sum(
            len(reader.target_ids(self._lessons[row].answer)) for batch in batches for row in batch
        )
        return Work(batches=(self.batch(self._lessons, rows, tokens=tokens) for rows in batches))

    def batch(
        self, lessons: Sequence[Lesson], rows: Sequence[int], *, tokens: int | None = None
    ) -> Batch:
        """Put rows side by side.

        Args:
            lessons: All rows.
            rows: Places of those that are meant.
            tokens: What the loss is divided by; None is their own answer tokens.
        """
        loaded = self._learner.loaded
        prompts = {row: loaded.reader.read(lessons[row].prompt) for row in rows}
        answers = [loaded.reader.target_ids(lessons[row].answer) for row in rows]
        packed = prompt_once.pack(loaded, prompts, rows, answers, together=False)
        own = sum(map(len, answers))
        return Batch(rows=tuple(rows), packed=packed, tokens=own if tokens is None else tokens)

    def loss(self, batch: Batch) -> tuple[mx.array, Mapping[str, mx.array]]:
        """Compute a batch's share of the mean negative log-likelihood of an update's tokens."""
        found = prompt_once.watch(self._learner.loaded, batch.packed)
        numbers = {
            "entropy": found.mean(found.entropies_BC),
            "mean_token_accuracy": found.mean(found.likeliest_BC),
        }
        return -found.logps_BC.sum() / batch.tokens, numbers

    def names(self, batch: Batch) -> list[str]:
        """Name the rows of a batch."""
        return [self._lessons[row].prompt.example_id for row in batch.rows]

    def evaluate(self) -> dict[str, float]:
        """Measure held-out rows, batch by batch, as `held_out.measured` puts them together."""
        return measured(
            len(self._evaluation),
            at_once=self._evaluated_at_once,
            loss=lambda part: self.loss(self.batch(self._evaluation, part)),
        )

    def saved(self) -> JSON:
        """Nothing: rows follow from the update's number."""
        return None

    def restore(self, saved: JSON) -> None:
        """Take back nothing."""


def train_sft(learner: Learner, job: Job) -> TrainResult:
    """Train on prompts and their answers.

    Args:
        learner: A model with weights that train.
        job: Rows with their answers.

    Raises:
        RunFailed: If the run cannot go on.
    """
    return train(learner, SftTask(learner, job), job)
