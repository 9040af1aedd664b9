"""Direct preference optimisation; what each loss means stands in `objectives.preference_loss`.

The reference is the policy as the run found it. Its log-probabilities are computed with the weights
put back for a moment, so no second model is in memory; where rows come again they are remembered.
Chosen and rejected answers lie behind one computed prompt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends.job import Job
from vlmtune.backends.mlx import prompt_once
from vlmtune.backends.mlx.held_out import measured
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.settings import passes
from vlmtune.backends.mlx.trainer import Work, train
from vlmtune.backends.order import Passes, total_updates
from vlmtune.config import DpoConfig
from vlmtune.types import JSON, Lesson, TrainResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pairs that are computed at once.

    Attributes:
        rows: Their places.
        packed: Prompts with both answers; all chosen ones come first.
        lengths_CB: Tokens of each answer, [2, B].
        reference_CB: Log-probability of each answer under the reference, float32 [2, B].
        share: One over the update's batches.
    """

    rows: tuple[int, ...]
    packed: prompt_once.Packed
    lengths_CB: npt.NDArray[np.float32]
    reference_CB: npt.NDArray[np.float32]
    share: float


class DpoTask:
    """The `Task` of this stage.

    Attributes:
        drops: Dropout is off, as the policy is compared with itself.
    """

    drops = False

    def __init__(self, learner: Learner, job: Job) -> None:
        self._learner = learner
        config = job.config
        self._settings = config.dpo
        self._lessons = job.lessons
        self._evaluation = job.evaluation
        self._evaluated_at_once = config.evaluation.batch_size
        self._passes: Passes = passes(config, rows=len(job.lessons))
        training = config.training
        total = total_updates(
            per_pass=self.updates_per_pass, passes=training.epochs, most=training.max_steps
        )
        self._comes_again = total > self.updates_per_pass
        self._known: dict[int, tuple[float, float]] = {}

    @property
    def updates_per_pass(self) -> int:
        """Updates that one walk over the rows makes."""
        return self._passes.updates_per_pass

    def passed(self, updates: int) -> float:
        """Say how many walks over the rows a number of updates makes."""
        return self._passes.passed(updates)

    def work(self, update: int) -> Work:
        """Read the pairs of an update, and ask the reference."""
        batches = self._passes.batches(update)
        return Work(
            batches=(
                self.batch(
                    self._lessons,
                    rows,
                    share=1 / len(batches),
                    known=self._known if self._comes_again else None,
                )
                for rows in batches
            )
        )

    def batch(
        self,
        lessons: Sequence[Lesson],
        rows: Sequence[int],
        *,
        share: float = 1.0,
        known: dict[int, tuple[float, float]] | None = None,
    ) -> Batch:
        """Put pairs side by side.

        Args:
            lessons: All pairs.
            rows: Places of those that are meant.
            share: One over the update's batches.
            known: What the reference said of pairs before, to be added to; None forgets.
        """
        loaded = self._learner.loaded
        prompts = {row: loaded.reader.read(lessons[row].prompt) for row in rows}
        texts = [lessons[row].answer for row in rows]
        texts += [lessons[row].rejected or "" for row in rows]
        answers = [loaded.reader.target_ids(text) for text in texts]
        packed = prompt_once.pack(loaded, prompts, [*rows, *rows], answers)
        return Batch(
            rows=tuple(rows),
            packed=packed,
            lengths_CB=np.array(list(map(len, answers)), np.float32).reshape(2, -1),
            reference_CB=self._reference(packed, rows, known),
            share=share,
        )

    def _reference(
        self,
        packed: prompt_once.Packed,
        rows: Sequence[int],
        known: dict[int, tuple[float, float]] | None,
    ) -> npt.NDArray[np.float32]:
        if known is not None and all(row in known for row in rows):
            return np.array([known[row] for row in rows], np.float32).T
        network = self._learner.network
        training = network.training
        network.eval()
        with self._learner.as_started():
            found_CB = np.array(_whole(prompt_once.score(self._learner.loaded, packed)))
        network.train(training)
        if known is not None:
            known |= dict(zip(rows, zip(*found_CB.tolist(), strict=True), strict=True))
        return found_CB

    def loss(self, batch: Batch) -> tuple[mx.array, Mapping[str, mx.array]]:
        """Compute the mean over a batch's pairs, and what is watched while training."""
        found = prompt_once.watch(self._learner.loaded, batch.packed)
        policy_CB = _whole(found.logps_BC)
        chosen, rejected = slice(len(batch.rows)), slice(len(batch.rows), None)
        reference_CB = mx.array(batch.reference_CB)
        loss = preference_loss(
            policy_CB, reference_CB, mx.array(batch.lengths_CB), settings=self._settings
        )
        rewards_CB = self._settings.beta * (policy_CB - reference_CB)
        numbers = {
            "rewards/chosen": rewards_CB[0].mean(),
            "rewards/rejected": rewards_CB[1].mean(),
            "rewards/accuracies": (rewards_CB[0] > rewards_CB[1]).astype(mx.float32).mean(),
            "rewards/margins": (rewards_CB[0] - rewards_CB[1]).mean(),
            "logps/chosen": policy_CB[0].mean(),
            "logps/rejected": policy_CB[1].mean(),
            "logits/chosen": found.mean(found.means_BC, answers=chosen),
            "logits/rejected": found.mean(found.means_BC, answers=rejected),
            "entropy": found.mean(found.entropies_BC),
            "mean_token_accuracy": found.mean(found.likeliest_BC, answers=chosen),
        }
        stopped = {name: mx.stop_gradient(value) for name, value in numbers.items()}
        return loss * batch.share, stopped

    def names(self, batch: Batch) -> list[str]:
        """Name the rows of a batch."""
        return [self._lessons[row].prompt.example_id for row in batch.rows]

    def evaluate(self) -> dict[str, float]:
        """Measure held-out pairs, batch by batch, as `held_out.measured` puts them together."""
        return measured(
            len(self._evaluation),
            at_once=self._evaluated_at_once,
            loss=lambda part: self.loss(self.batch(self._evaluation, part)),
        )

    def saved(self) -> JSON:
        """What the reference said; asked again in other company, its last digits would differ."""
        return {str(row): values for row, values in self._known.items()}

    def restore(self, saved: JSON) -> None:
        """Take back what the reference said."""
        self._known = {int(row): (values[0], values[1]) for row, values in (saved or {}).items()}


def _whole(logps_BC: mx.array) -> mx.array:
    """Add up each answer's tokens, [2, B]."""
    return logps_BC.sum(axis=-1).reshape(2, -1)


def preference_loss(
    policy_CB: mx.array, reference_CB: mx.array, lengths_CB: mx.array, *, settings: DpoConfig
) -> mx.array:
    """Compute `objectives.preference_loss` with gradients.

    Args:
        policy_CB: Log-probability of each whole answer under the policy, float32 [2, B].
        reference_CB: The same under the reference.
        lengths_CB: Tokens of each answer, [2, B].
        settings: Which loss, with which beta and smoothing, and the chosen answers' own.
    """
    loss = _losses(policy_CB - reference_CB, lengths_CB, settings).mean()
    if settings.sft_weight:
        loss = loss - settings.sft_weight * policy_CB[0].sum() / lengths_CB[0].sum()
    return loss


def _losses(ratios_CB: mx.array, lengths_CB: mx.array, settings: DpoConfig) -> mx.array:
    beta, smoothing = settings.beta, settings.label_smoothing
    if settings.loss_type == "ipo":
        mean_CB = ratios_CB / lengths_CB
        return mx.square(mean_CB[0] - mean_CB[1] - 1 / (2 * beta))
    z_B = beta * (ratios_CB[0] - ratios_CB[1])
    if settings.loss_type == "hinge":
        return mx.maximum(1 - z_B, 0.0)
    right_B, wrong_B = mx.logaddexp(-z_B, 0.0), mx.logaddexp(z_B, 0.0)
    if settings.loss_type == "robust":
        return ((1 - smoothing) * right_B - smoothing * wrong_B) / (1 - 2 * smoothing)
    return (1 - smoothing) * right_B + smoothing * wrong_B


def train_dpo(learner: Learner, job: Job) -> TrainResult:
    """Train on chosen against rejected answers; as `sft.train_sft` otherwise."""
    return train(learner, DpoTask(learner, job), job)
