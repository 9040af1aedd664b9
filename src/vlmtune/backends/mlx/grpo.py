"""Group relative policy optimisation; what each loss means stands in `objectives.policy_loss`.

    update 0    draws 2 prompts x 4 answers, grades them, learns from them
    update 1    learns from the same answers again, where grpo.num_iterations is 2
    update 2    draws anew

Drawing and grading are `backends/rollouts.py`, as on every backend. The reference is the policy as
the run found it, computed with the weights put back for a moment. Answers are scored behind one
computed prompt, at the temperature that drew them.
"""

# P prompts, G completions per prompt, B answers of a batch, C tokens of the longest of them

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends import policy
from vlmtune.backends.groups import refuse_too_few
from vlmtune.backends.job import Job
from vlmtune.backends.mlx import grpo_settings, prompt_once
from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.policy_loss import SHARED_LOSSES, policy_loss
from vlmtune.backends.mlx.trainer import Work, train
from vlmtune.backends.order import pass_order
from vlmtune.backends.rollouts import Grade, Observe, Rollout, advantages, roll_out
from vlmtune.protocols import Generator
from vlmtune.types import JSON, Finish, TrainResult

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Answers that are computed at once.

    Attributes:
        rows_B: Place of each answer's prompt.
        answers_B: Token ids; an answer of which nothing is learned is empty.
        packed: The same behind their prompts.
        advantages_B: How much better than its group each was, float32 [B].
        share: One over the update's batches.
        tokens: Tokens of the whole update from which something is learned.
        old_BC: Log-probabilities when they were drawn, float32 [B, C]; None is today's.
        reference_BC: Those of the reference; None without one.
    """

    rows_B: tuple[int, ...]
    answers_B: tuple[tuple[int, ...], ...]
    packed: prompt_once.Packed
    advantages_B: Floats
    share: float
    tokens: int
    old_BC: Floats | None = None
    reference_BC: Floats | None = None

    @property
    def mask_BC(self) -> Floats:
        """1 where a token counts; one column at least."""
        lengths_B = np.array([len(ids) for ids in self.answers_B])
        return (np.arange(max(1, lengths_B.max())) < lengths_B[:, None]).astype(np.float32)


class GrpoTask:
    """The `Task` of this stage.

    Attributes:
        drops: Whether dropout is on while a loss is computed.
        prompts: All prompts, those to train on first.

    Without a `generator` the model that trains draws itself.
    """

    def __init__(
        self,
        learner: Learner,
        job: Job,
        *,
        grade: Grade,
        observe: Observe,
        generator: Generator | None = None,
    ) -> None:
        config = job.config
        self.drops = not config.grpo.disable_dropout
        self.prompts = [lesson.prompt for lesson in job.rows]
        self._learner = learner
        self._config = config
        self._trained = len(job.lessons)
        self._grade = grade
        self._observe = observe
        self._objective = policy.objective(config)
        self._sampling = policy.sampling(config)
        self._batches = grpo_settings.batches(config)
        self._generator = generator or MLXGenerator(
            learner.loaded, batch_rows=config.hardware.generation_batch_size
        )
        self._update = 0
        self._inside: tuple[int, list[Batch]] | None = None

    @property
    def updates_per_pass(self) -> int:
        """Updates that one walk over the rows makes; rows that fill no update are left out."""
        return self._trained // self._batches.prompts * self._config.grpo.num_iterations

    def passed(self, updates: int) -> float:
        """Say how many walks over the rows a number of updates makes."""
        return updates / self.updates_per_pass

    def work(self, update: int) -> Work:
        """Draw and grade the groups of an update, or take those of the update before."""
        self._update = update
        number = update // self._config.grpo.num_iterations
        if self._inside is not None and self._inside[0] == number:
            return Work(batches=self._inside[1], tokens=0)
        rollout = roll_out(
            self._generator,
            self._rows(number),
            self.prompts[: self._trained],
            grade=self._grade,
            sampling=self._sampling,
            number=number,
            resample=self._config.grpo.resample_flat_groups,
        )
        self._observe(rollout, update, True)
        batches = self.batches(rollout)
        self._inside = (number, batches)
        return Work(
            batches=batches,
            numbers=rollout.metrics() | _lengths(rollout),
            tokens=sum(batch.packed.prompt_tokens for batch in batches) + _drawn(rollout),
        )

    def _rows(self, number: int) -> list[int]:
        """Say which prompts a drawing asks."""
        prompts = self._batches.prompts
        walk, inside = divmod(number, self._trained // prompts)
        order: list[int] = pass_order(self._trained, seed=self._config.seed, number=walk).tolist()
        return order[inside * prompts : (inside + 1) * prompts]

    def batches(self, rollout: Rollout) -> list[Batch]:
        """Cut a rollout into batches, and ask the policy and the reference what is kept of them."""
        gained_PG = advantages(rollout.rewards_PG, scale=self._config.grpo.scale_rewards)
        cut = self._config.grpo.mask_truncated_completions
        answers = [
            () if cut and one.finish is not Finish.STOP else one.token_ids
            for group in rollout.groups
            for one in group.completions
        ]
        rows = [group.row for group in rollout.groups for _ in group.completions]
        gained = gained_PG.reshape(-1).astype(np.float32)
        size = self._batches.batch_size
        parts = [slice(start, start + size) for start in range(0, len(rows), size)]
        tokens = sum(map(len, answers))
        plain = [
            self._batch(
                rows[part], answers[part], gained[part], share=1 / len(parts), tokens=tokens
            )
            for part in parts
        ]
        return [self._scored(batch) for batch in plain]

    def _batch(
        self,
        rows: Sequence[int],
        answers: Sequence[Sequence[int]],
        gained_B: Floats,
        *,
        share: float,
        tokens: int,
    ) -> Batch:
        loaded = self._learner.loaded
        inputs = {row: loaded.reader.read(self.prompts[row]) for row in dict.fromkeys(rows)}
        return Batch(
            rows_B=tuple(rows),
            answers_B=tuple(map(tuple, answers)),
            packed=prompt_once.pack(loaded, inputs, rows, answers),
            advantages_B=gained_B,
            share=share,
            tokens=tokens,
        )

    def _scored(self, batch: Batch) -> Batch:
        """Add what does not move with the weights."""
        grpo = self._config.grpo
        if grpo.num_iterations > 1:
            batch = replace(batch, old_BC=np.array(self._logps(batch)))
        if grpo.beta:
            with self._learner.as_started():
                batch = replace(batch, reference_BC=np.array(self._logps(batch)))
        return batch

    def _logps(self, batch: Batch) -> mx.array:
        return prompt_once.score(
            self._learner.loaded, batch.packed, temperature=self._sampling.temperature
        )

    def loss(self, batch: Batch) -> tuple[mx.array, Mapping[str, mx.array]]:
        """Compute a batch's share of the loss, its divergence, and how much was clipped."""
        shared = self._objective.loss_type in SHARED_LOSSES
        found = prompt_once.watch(
            self._learner.loaded, batch.packed, temperature=self._sampling.temperature
        )
        loss, numbers = policy_loss(
            found.logps_BC,
            advantages_B=mx.array(batch.advantages_B),
            mask_BT=mx.array(batch.mask_BC),
            objective=self._objective,
            old_BT=None if batch.old_BC is None else mx.array(batch.old_BC),
            reference_BT=None if batch.reference_BC is None else mx.array(batch.reference_BC),
            tokens=float(batch.tokens) if shared else None,
        )
        numbers["entropy"] = found.mean(found.entropies_BC)
        return loss if shared else loss * batch.share, numbers

    def names(self, batch: Batch) -> list[str]:
        """Name the rows of a batch."""
        return [self.prompts[row].example_id for row in dict.fromkeys(batch.rows_B)]

    def evaluate(self) -> dict[str, float]:
        """Draw and grade the held-out prompts, alike every time."""
        at_once = self._batches.evaluation // self._batches.generations
        rows = range(self._trained, len(self.prompts))
        sums: dict[str, float] = {}
        for start in range(0, len(rows), at_once):
            rollout = roll_out(
                self._generator,
                rows[start : start + at_once],
                self.prompts,
                grade=self._grade,
                sampling=self._sampling,
                number=0,
            )
            self._observe(rollout, self._update + 1, False)
            for name, value in (rollout.metrics() | _lengths(rollout)).items():
                sums[name] = sums.get(name, 0.0) + value * len(rollout.groups)
        return {f"eval_{name}": total / len(rows) for name, total in sums.items()}

    def saved(self) -> JSON:
        """Keep the answers from which the next update learns too; without any, nothing."""
        if self._inside is None or (self._update + 1) % self._config.grpo.num_iterations == 0:
            return None
        number, batches = self._inside
        return {"number": number, "batches": [_written(batch) for batch in batches]}

    def restore(self, saved: JSON) -> None:
        """Take them back."""
        if saved is None:
            return
        batches = []
        for one in saved["batches"]:
            batch = self._batch(
                one["rows"],
                one["answers"],
                np.array(one["advantages"], np.float32),
                share=1 / len(saved["batches"]),
                tokens=int(one["tokens"]),
            )
            old, reference = (_read(one[name], batch) for name in ("old_BC", "reference_BC"))
            batches.append(replace(batch, old_BC=old, reference_BC=reference))
        self._inside = (int(saved["number"]), batches)


def _written(batch: Batch) -> dict[str, JSON]:
    return {
        "rows": list(batch.rows_B),
        "answers": [list(ids) for ids in batch.answers_B],
        "advantages": batch.advantages_B.tolist(),
        "tokens": batch.tokens,
        "old_BC": None if batch.old_BC is None else batch.old_BC.tolist(),
        "reference_BC": None if batch.reference_BC is None else batch.reference_BC.tolist(),
    }


def _read(values: JSON, batch: Batch) -> Floats | None:
    if values is None:
        return None
    return np.array(values, np.float32).reshape(batch.mask_BC.shape)


def _drawn(rollout: Rollout) -> int:
    return sum(len(one.token_ids) for group in rollout.groups for one in group.completions)


def _lengths(rollout: Rollout) -> dict[str, float]:
    lengths = [len(one.token_ids) for group in rollout.groups for one in group.completions]
    return {
        "completions/mean_length": sum(lengths) / len(lengths),
        "completions/min_length": float(min(lengths)),
        "completions/max_length": float(max(lengths)),
    }


def train_grpo(learner: Learner, job: Job, *, grade: Grade, observe: Observe) -> TrainResult:
    """Train on groups of the model's own answers.

    Args:
        learner: A model with weights that train.
        job: Prompts to train on, and those to evaluate on.
        grade: The reward.
        observe: Told of every rollout.

    Raises:
        DataError: If there are fewer prompts than one update takes.
        RunFailed: If the run cannot go on.
    """
    refuse_too_few(len(job.lessons), grpo_settings.batches(job.config))
    task = GrpoTask(learner, job, grade=grade, observe=observe)
    return train(learner, task, job)
