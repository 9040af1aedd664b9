"""What MLX computes of a parity assignment; `backends/pytorch/parity.py` is the other side.

Weights and gradients go by the names that both sides share: transformers' name of a layer, with
`.lora_A` or `.lora_B` behind it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends.job import Job
from vlmtune.backends.mlx import dpo, grpo, prompt_once, sft, trainer
from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.model import LoadedModel, load
from vlmtune.backends.mlx.opening import open_model
from vlmtune.backends.recorded import RECORDED, Answers, Arrays, Recorded, Weights
from vlmtune.backends.rollouts import Grade, Rollout
from vlmtune.config import RunConfig
from vlmtune.models import layer_names
from vlmtune.models.resolve import fetch, resolve
from vlmtune.protocols import Journal
from vlmtune.types import Prompt, Start

_LEAVES = {"lora_a": "lora_A", "lora_b": "lora_B"}


class Reader:
    """A model that is asked and not trained.

    Attributes:
        generator: The door through which it is asked.
    """

    def __init__(self, model: str) -> None:
        self._loaded: LoadedModel = load(fetch(resolve(model, backend="mlx")))
        self.generator = MLXGenerator(self._loaded)

    def pixels(self, prompt: Prompt) -> npt.NDArray[np.float32] | None:
        """Read a prompt's patches, float32 [patches, values]; None without a picture."""
        return self._loaded.reader.read(prompt).pixels

    def logits(self, prompt: Prompt, answer: Sequence[int]) -> npt.NDArray[np.float32]:
        """Compute the logits of an answer's tokens, float32 [T, V]."""
        packed = self._packed([prompt], [0], [answer])
        return np.array(self._loaded.logits(prompt_once.states(self._loaded, packed)))

    def log_probabilities(
        self, prompt: Prompt, answers: Sequence[Sequence[int]], *, temperature: float
    ) -> npt.NDArray[np.float32]:
        """Score answers behind their prompt, float32 [B, C]; 0 behind an answer's end."""
        packed = self._packed([prompt], [0] * len(answers), answers)
        return np.array(prompt_once.score(self._loaded, packed, temperature=temperature))

    def exactly(
        self, prompt: Prompt, answers: Sequence[Sequence[int]], *, temperature: float
    ) -> None:
        """Give nothing: MLX's exponential keeps float32's digits in float64 as well."""

    def _packed(
        self, prompts: Sequence[Prompt], asked: Sequence[int], answers: Sequence[Sequence[int]]
    ) -> prompt_once.Packed:
        inputs = {key: self._loaded.reader.read(prompt) for key, prompt in enumerate(prompts)}
        return prompt_once.pack(self._loaded, inputs, asked, answers)


class Trainee:
    """A model with an adapter that trains.

    Attributes:
        learner: What moves.
    """

    def __init__(self, config: RunConfig, model: str, journal: Journal) -> None:
        self.learner: Learner = open_model(config, Start(model=model), journal)

    def weights(self) -> Arrays:
        """The adapter as it is now, by shared name."""
        return _shared(self.learner.weights())

    def put(self, weights: Weights) -> None:
        """Give the adapter other values."""
        own = {_shared_name(name): name for name in self.learner.weights()}
        self.learner.put({own[name]: mx.array(value) for name, value in weights.items()})

    def sft(self, job: Job) -> tuple[float, Arrays]:
        """Compute the loss of one batch of all rows, and its gradient by the adapter."""
        task = sft.SftTask(self.learner, job)
        return self._graded(task, [task.batch(job.lessons, range(len(job.lessons)))])

    def dpo(self, job: Job, *, now: Weights) -> tuple[float, Arrays]:
        """Compute the loss of one batch of all pairs at `now`; the reference is the start."""
        task = dpo.DpoTask(self.learner, job)
        self.put(now)
        return self._graded(task, [task.batch(job.lessons, range(len(job.lessons)))])

    def grpo(
        self, job: Job, *, answers: Answers, grade: Grade, old: Weights, now: Weights
    ) -> tuple[float, Arrays, Arrays]:
        """Compute the loss at `now` of answers that were drawn at `old`.

        Returns:
            The loss, its gradient, and by name the advantages, the divergence and how much of the
            tokens was clipped, where the loss has these.
        """
        seen: list[Rollout] = []
        task = grpo.GrpoTask(
            self.learner,
            job,
            grade=grade,
            observe=lambda rollout, *_: seen.append(rollout),
            generator=self._recorded(answers),
        )
        self.put(old)
        batches: list[grpo.Batch] = list(task.work(0).batches)
        self.put(now)
        loss, gradient = self._graded(task, batches)
        order = np.argsort([group.row for group in seen[0].groups], kind="stable")
        gained = np.concatenate([batch.advantages_B for batch in batches])
        found = {"advantages": gained.reshape(len(order), -1)[order]}
        for name, value in task.loss(batches[0])[1].items():
            if name in RECORDED:
                found[RECORDED[name]] = np.array(value)
        return loss, gradient, found

    def train(self, job: Job, *, answers: Answers, grade: Grade) -> None:
        """Run the trainer of the config's stage."""
        if job.config.stage == "sft":
            sft.train_sft(self.learner, job)
        elif job.config.stage == "dpo":
            dpo.train_dpo(self.learner, job)
        else:
            task = grpo.GrpoTask(
                self.learner,
                job,
                grade=grade,
                observe=lambda *_: None,
                generator=self._recorded(answers),
            )
            trainer.train(self.learner, task, job)

    def _recorded(self, answers: Answers) -> Recorded:
        loaded = self.learner.loaded
        return Recorded(MLXGenerator(loaded), answers, end_ids=loaded.end_ids)

    def _graded(self, task: Any, batches: Sequence[Any]) -> tuple[float, Arrays]:
        loss, total = 0.0, dict[str, mx.array]()
        for batch in batches:
            share, _, gradient = trainer.graded(self.learner, task)(batch)
            loss += share
            total = {name: total.get(name, 0.0) + value for name, value in gradient.items()}
        return loss, _shared(total)


def _shared_name(name: str) -> str:
    layer, _, leaf = name.rpartition(".")
    return f"{layer_names.canonical(layer)}.{_LEAVES[leaf]}"


def _shared(weights: Mapping[str, mx.array]) -> Arrays:
    return {_shared_name(name): np.array(value, np.float32) for name, value in weights.items()}
