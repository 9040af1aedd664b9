"""The training loop of this backend: one update after another, each computed from its number alone.

    train(learner, task, job)

A stage is a `Task`: it says which batches make an update and what their loss is. The loop does the
rest, as transformers' Trainer does on the other side: gradients add up over an update's batches,
are clipped to a norm over all weights, and AdamW moves each weight at its own rate and schedule;
numbers are recorded, held-out rows evaluated and checkpoints kept at the same updates.

Rows, dropout and drawings follow from the seed and the update's number. So a checkpoint needs no
random state, and a run that was killed goes on to the same weights.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
from mlx.utils import tree_unflatten

from vlmtune.backends.job import Job
from vlmtune.backends.mlx import failures, memory, trackers
from vlmtune.backends.mlx.export import export
from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.optimizer import AdamW, Weights, clipped
from vlmtune.backends.mlx.progress import Progress, load, save
from vlmtune.backends.order import total_updates
from vlmtune.backends.schedule import Schedule
from vlmtune.types import JSON, TrainResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one update learns from.

    Attributes:
        batches: Its batches, made when they are asked for; at least one.
        numbers: What is known of them beforehand, to be recorded as means over updates.
        tokens: Tokens that are seen for the first time, each answer's with its prompt's; None are
            those of all its batches.
    """

    batches: Iterable[Any]
    numbers: Mapping[str, float] = field(default_factory=dict)
    tokens: int | None = None


class Task(Protocol):
    """What a stage adds to the loop.

    Attributes:
        drops: Whether dropout is on while a loss is computed.
    """

    drops: bool

    @property
    def updates_per_pass(self) -> int:
        """Updates that one walk over the rows makes."""
        ...

    def passed(self, updates: int) -> float:
        """Say how many walks over the rows a number of updates makes."""
        ...

    def work(self, update: int) -> Work:
        """Prepare an update, by the number of updates before it.

        The network is in evaluation mode and may be asked for completions.
        """
        ...

    def loss(self, batch: Any) -> tuple[mx.array, Mapping[str, mx.array]]:
        """Compute a batch's share of the update's loss, and numbers of which means are recorded.

        The update's loss is the sum of its batches' shares. It is differentiated by the weights
        that train.
        """
        ...

    def names(self, batch: Any) -> Sequence[str]:
        """Name the rows of a batch, for messages."""
        ...

    def evaluate(self) -> Mapping[str, float]:
        """Measure held-out rows; empty where there are none. Names begin with `eval_`."""
        ...

    def saved(self) -> JSON:
        """Give what a run needs to go on besides the update's number, as JSON; None is nothing."""
        ...

    def restore(self, saved: JSON) -> None:
        """Take it back."""
        ...


def train(learner: Learner, task: Task, job: Job) -> TrainResult:
    """Run a task to its end, or until the journal wants to stop, and write the finished model.

    Args:
        learner: A model with weights that train.
        task: The stage.
        job: Settings, and the run.

    Raises:
        RunFailed: If a loss or gradient is not finite, or memory or disk space runs out.
        CheckpointError: If the checkpoint to go on from does not fit.
    """
    config, journal = job.config, job.journal
    with trackers.opened(config, folder=journal.model_folder) as told:
        loop = _Loop(learner, task, job, told)
        with failures.explained(lambda: loop.progress.step + 1):
            loop.run()
            if not journal.stopping:
                export(learner, config, journal.model_folder)
    step = loop.progress.step
    return TrainResult(steps=step, metrics=journal.last, model=journal.model_folder)


class _Loop:
    """A run in the making."""

    def __init__(self, learner: Learner, task: Task, job: Job, told: trackers.Tell) -> None:
        config, journal = job.config, job.journal
        self.learner = learner
        self.task = task
        self.config = config
        self.journal = journal
        self.exhibit = job.exhibit
        rows = config.hardware.generation_batch_size
        self.generator = MLXGenerator(learner.loaded, batch_rows=rows)
        self.limit = memory.limit_gib()
        self._told = told
        training = config.training
        self.total = total_updates(
            per_pass=task.updates_per_pass, passes=training.epochs, most=training.max_steps
        )
        self.schedule = Schedule.of(training, total=self.total)
        self.optimizer = AdamW(
            paces=learner.paces(config),
            beta1=training.adam_beta1,
            beta2=training.adam_beta2,
            epsilon=training.adam_epsilon,
        )
        self.progress = Progress()
        self._graded = graded(learner, task)
        if journal.resume_from is not None:
            self.progress, saved = load(journal.resume_from, learner, self.optimizer)
            task.restore(saved)

    def run(self) -> None:
        """Make the updates that are left."""
        started = time.perf_counter()
        self.journal.begin(step=self.progress.step, total=self.total)
        while self.progress.step < self.total and not self.journal.stopping:
            rate, norm = self._update()
            self.journal.advance(step=self.progress.step)
            self._record(rate, norm)
            if self.exhibit is not None:
                self.exhibit.show(self.generator, step=self.progress.step)
            if self._evaluates():
                self._evaluate()
            if self._saves():
                self._save()
        runtime = round(time.perf_counter() - started, 3)
        self._tell({"train_runtime": runtime, "train_loss": self.progress.mean_loss})

    def _update(self) -> tuple[float, float]:
        """Make one; returns its rate and the norm of its gradient."""
        number = self.progress.step
        self.learner.network.eval()
        work = self.task.work(number)
        loss, gradients = 0.0, dict[str, mx.array]()
        names: list[str] = []
        tokens = 0
        for place, batch in enumerate(work.batches):
            self.learner.network.train(self.task.drops)
            mx.random.seed(_seed(self.config.seed, number, place))
            share, numbers, found = self._graded(batch)
            names += self.task.names(batch)
            tokens += batch.packed.tokens
            if not np.isfinite(share):
                raise failures.not_finite(
                    f"the loss is {share}", number + 1, self.task.names(batch)
                )
            loss += share
            self.progress.add(numbers)
            gradients = (
                {name: gradients[name] + value for name, value in found.items()}
                if gradients
                else found
            )
            mx.eval(gradients)
        self.learner.network.eval()
        gradients, norm = clipped(gradients, most=self.config.training.max_grad_norm)
        if not np.isfinite(float(norm)):
            raise failures.not_finite(f"the gradient's norm is {float(norm)}", number + 1, names)
        factor = self.schedule.factor(number)
        moved = self.optimizer.moved(self.learner.weights(), gradients, factor=factor)
        self.learner.put(moved)
        mx.eval(moved, self.optimizer.arrays())
        memory.watch(number + 1, limit=self.limit)
        self.progress.add(work.numbers)
        self.progress.count(loss, tokens=tokens if work.tokens is None else work.tokens)
        return self.learner.leading_rate(self.config) * factor, float(norm)

    def _record(self, rate: float, norm: float) -> None:
        step = self.progress.step
        if step != 1 and step % self.config.tracking.log_steps:
            return
        numbers = self.progress.drained() | {"num_tokens": float(self.progress.tokens)}
        self._tell(numbers | {"grad_norm": norm, "learning_rate": rate})

    def _tell(self, numbers: Mapping[str, float]) -> None:
        step = self.progress.step
        found = {**numbers, "epoch": self.task.passed(step)}
        self.journal.record(found, step=step)
        self._told(found, step)

    def _evaluates(self) -> bool:
        evaluation, step = self.config.evaluation, self.progress.step
        if evaluation.strategy == "no":
            return False
        ends = step == self.total
        if evaluation.strategy == "epoch":
            return ends or step % self.task.updates_per_pass == 0
        return ends or step % evaluation.steps == 0

    def _evaluate(self) -> None:
        self.learner.network.eval()
        if found := self.task.evaluate():
            self._tell(found)

    def _saves(self) -> bool:
        step = self.progress.step
        ends = step == self.total or self.journal.stopping
        return ends or step % self.config.save.steps == 0

    def _save(self) -> None:
        step = self.progress.step
        if lost := failures.lost_weight(self.learner.weights()):
            raise failures.not_finite(f"{lost} is not finite", step, ())
        folder = self.journal.scratch / f"checkpoint-{step}"
        save(folder, self.learner, self.optimizer, self.progress, self.task.saved())
        self.journal.keep(step=step)


Graded = Callable[[Any], tuple[float, dict[str, float], Weights]]
"""A batch -> its share of the loss, its numbers, and the loss's derivatives by weight."""


def graded(learner: Learner, task: Task) -> Graded:
    """Build the function that differentiates a task's loss by the weights that train."""

    def loss_of(weights: Weights, batch: Any) -> tuple[mx.array, Mapping[str, mx.array]]:
        """Compute a batch's loss as a function of the weights, which MLX differentiates by."""
        learner.network.update(tree_unflatten(list(weights.items())))
        return task.loss(batch)

    differentiated = mx.value_and_grad(loss_of)

    def computed(batch: Any) -> tuple[float, dict[str, float], Weights]:
        """Compute a batch's loss, numbers and gradient; the weights stay as they were."""
        weights = learner.weights()
        try:
            (loss, numbers), gradients = differentiated(weights, batch)
            mx.eval(loss, numbers, gradients)
        finally:
            # What the network holds while it is differentiated belongs to that graph.
            learner.put(weights)
        return float(loss), {name: float(value) for name, value in numbers.items()}, gradients

    return computed


def _seed(seed: int, update: int, batch: int) -> int:
    return int(np.random.SeedSequence([seed, update, batch]).generate_state(1)[0])
