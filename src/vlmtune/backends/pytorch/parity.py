"""What PyTorch computes of a parity assignment; `backends/mlx/parity.py` is the other side.

Losses are those of TRL's trainers as this backend builds and runs them. Weights and gradients go by
the names that both sides share: transformers' name of a layer, with `.lora_A` or `.lora_B` behind.
"""

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vlmtune.backends.job import Job
from vlmtune.backends.packing import IGNORED
from vlmtune.backends.pytorch import dpo, grpo, prompt_once, sft
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import LoadedModel, load
from vlmtune.backends.pytorch.opening import open_model
from vlmtune.backends.pytorch.trainer import REFERENCE, ROWS, train
from vlmtune.backends.recorded import RECORDED, Answers, Arrays, Recorded, Weights
from vlmtune.backends.rollouts import Grade
from vlmtune.config import RunConfig
from vlmtune.models.resolve import fetch, resolve
from vlmtune.protocols import Journal
from vlmtune.types import Prompt, Start

_BEFORE, _BEHIND = "base_model.model.", ".default.weight"


class Reader:
    """A model that is asked and not trained.

    Attributes:
        generator: The door through which it is asked.
    """

    def __init__(self, model: str) -> None:
        resolved = fetch(resolve(model, backend="pytorch"))
        self._loaded: LoadedModel = load(resolved, Loading(device="cpu", dtype="fp32"))
        self.generator = TorchGenerator(self._loaded)

    def pixels(self, prompt: Prompt) -> npt.NDArray[np.float32] | None:
        """Read a prompt's patches, float32 [patches, values]; None without a picture."""
        pictures = self._loaded.reader.read(prompt).pictures
        if "pixel_values" not in pictures:
            return None
        return np.asarray(pictures["pixel_values"], np.float32)

    def logits(self, prompt: Prompt, answer: Sequence[int]) -> npt.NDArray[np.float32]:
        """Compute the logits of an answer's tokens, float32 [T, V]."""
        packed, logits_RTV = self._computed(prompt, [answer])
        return np.asarray(logits_RTV[packed.labels_RT != IGNORED], np.float32)

    def log_probabilities(
        self, prompt: Prompt, answers: Sequence[Sequence[int]], *, temperature: float
    ) -> npt.NDArray[np.float32]:
        """Score answers behind their prompt, float32 [B, C]; 0 behind an answer's end."""
        packed, logits_RTV = self._computed(prompt, answers)
        return np.asarray(self._picked(packed, logits_RTV, answers, temperature), np.float32)

    def exactly(
        self, prompt: Prompt, answers: Sequence[Sequence[int]], *, temperature: float
    ) -> npt.NDArray[np.float64]:
        """Score answers behind their prompt as a network of float64 does, [B, C]."""
        packed, logits_RTV = self._computed(prompt, answers, network=self._double)
        return np.asarray(self._picked(packed, logits_RTV, answers, temperature), np.float64)

    @cached_property
    def _double(self) -> Any:
        return copy.deepcopy(self._loaded.network).double()

    def _computed(
        self, prompt: Prompt, answers: Sequence[Sequence[int]], *, network: Any = None
    ) -> tuple[prompt_once.Packed, torch.Tensor]:
        inputs = {0: self._loaded.reader.read(prompt)}
        packed = prompt_once.pack(self._loaded, inputs, [0] * len(answers), answers)
        with torch.no_grad():
            logits = (network or self._loaded.network)(**packed.inputs, use_cache=False).logits
        return packed, logits

    def _picked(
        self,
        packed: prompt_once.Packed,
        logits_RTV: torch.Tensor,
        answers: Sequence[Sequence[int]],
        temperature: float,
    ) -> torch.Tensor:
        labels_RT1 = packed.labels_RT.clamp(min=0)[..., None]
        logps_RT = (logits_RTV / temperature).log_softmax(-1).gather(-1, labels_RT1)[..., 0]
        lengths = [len(ids) for ids in answers]
        return packed.unpack(logps_RT, lengths, max(lengths))


class Trainee:
    """A model with an adapter that trains.

    Attributes:
        loaded: The model.
    """

    def __init__(self, config: RunConfig, model: str, journal: Journal) -> None:
        self.loaded: LoadedModel = open_model(config, Start(model=model), journal)
        self._start = self.weights()

    def _moving(self) -> dict[str, torch.Tensor]:
        named = self.loaded.network.named_parameters()
        return {
            name.removeprefix(_BEFORE).removesuffix(_BEHIND): weight
            for name, weight in named
            if name.endswith(_BEHIND) and "lora_" in name
        }

    def weights(self) -> Arrays:
        """The adapter as it is now, by shared name."""
        return {name: weight.detach().numpy().copy() for name, weight in self._moving().items()}

    def put(self, weights: Weights) -> None:
        """Give the adapter other values."""
        with torch.no_grad():
            for name, weight in self._moving().items():
                weight.copy_(torch.from_numpy(weights[name].copy()))

    def sft(self, job: Job) -> tuple[float, Arrays]:
        """Compute the loss of one batch of all rows, and its gradient by the adapter."""
        trainer = sft.build(self.loaded, job)
        return self._graded(trainer, next(iter(trainer.get_train_dataloader())))

    def dpo(self, job: Job, *, now: Weights) -> tuple[float, Arrays]:
        """Compute the loss of one batch of all pairs at `now`; the reference is the start."""
        self._begin_anew()
        trainer = dpo.build(self.loaded, job, continued=False)
        self.put(now)
        return self._graded(trainer, next(iter(trainer.get_train_dataloader())))

    def grpo(
        self, job: Job, *, answers: Answers, grade: Grade, old: Weights, now: Weights
    ) -> tuple[float, Arrays, Arrays]:
        """Compute the loss at `now` of answers that were drawn at `old`.

        Returns:
            The loss, its gradient, and by name the advantages, the divergence and how much of the
            tokens was clipped, where the loss has these.
        """
        trainer = self._grpo_trainer(job, answers=answers, grade=grade)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        self.put(old)
        prompts, samples = len(job.lessons), job.config.grpo.num_generations
        asked = [row for row in range(prompts) for _ in range(samples)]
        batch = trainer._generate_and_score_completions(
            [{ROWS: row, "prompt": str(row)} for row in asked]
        )
        self.put(now)
        loss, gradient = self._graded(trainer, batch)
        found = {"advantages": batch["advantages"].numpy().reshape(prompts, -1)}
        for name, values in trainer._metrics["train"].items():
            if name in RECORDED:
                found[RECORDED[name]] = np.array(values[-1], np.float32)
        return loss, gradient, found

    def train(self, job: Job, *, answers: Answers, grade: Grade) -> None:
        """Run the trainer of the config's stage."""
        self._begin_anew()
        if job.config.stage == "sft":
            sft.train_sft(self.loaded, job)
        elif job.config.stage == "dpo":
            dpo.train_dpo(self.loaded, job, continued=False)
        else:
            trainer = self._grpo_trainer(job, answers=answers, grade=grade)
            train(trainer, self.loaded, job.config, job.journal)

    def _begin_anew(self) -> None:
        """Forget what a trainer before this one left: the adapter's values and TRL's copy of it."""
        if REFERENCE in self.loaded.network.peft_config:
            self.loaded.network.delete_adapter(REFERENCE)
        self.put(self._start)

    def _grpo_trainer(self, job: Job, *, answers: Answers, grade: Grade) -> Any:
        self._begin_anew()
        trainer = grpo.build(self.loaded, job, grade=grade, observe=lambda *_: None)
        trainer.desk._generator = Recorded(
            TorchGenerator(self.loaded), answers, end_ids=self.loaded.end_ids
        )
        return trainer

    def _graded(self, trainer: Any, batch: dict[str, Any]) -> tuple[float, Arrays]:
        trainer.model.train()
        counted = (batch["labels"] != IGNORED).sum() if "labels" in batch else None
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counted)
        loss.backward()
        gradient = {}
        for name, weight in self._moving().items():
            assert weight.grad is not None
            gradient[name], weight.grad = weight.grad.numpy().copy(), None
        return float(loss.detach()), gradient
