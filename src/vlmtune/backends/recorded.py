"""A generator that gives answers which were drawn before: two engines learn from the same ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from vlmtune.protocols import Generator
from vlmtune.types import Completion, Encoded, Finish, ModelInfo, Prompt, Sampling

RECORDED: Mapping[str, str] = {
    "kl": "divergence",
    "clip_ratio/region_mean": "clipped",
    "cispo_clip_ratio": "clipped",
}
"""What trainers tell of a loss, by the names that comparisons use."""


Answers: TypeAlias = Mapping[str, Sequence[tuple[int, ...]]]
"""Example id -> token ids of its answers."""
Arrays: TypeAlias = dict[str, npt.NDArray[np.float32]]
"""Weights, gradients or numbers, by the name that both engines share."""
Weights: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
"""Weights to be put, by that name."""


class Recorded:
    """A `Generator` without a draw of its own.

    Attributes:
        model: What counts tokens and scores.
        answers: Example id -> token ids of its answers.
    """

    def __init__(
        self,
        generator: Generator,
        answers: Answers,
        *,
        end_ids: frozenset[int],
    ) -> None:
        self.model: ModelInfo = generator.model
        self.answers = answers
        self._generator = generator
        self._end_ids = end_ids

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Completion]]:
        """Give the first `sampling.samples` answers of each prompt, without their words."""
        return [
            [
                Completion(
                    text="",
                    token_ids=tuple(ids),
                    logprobs=None,
                    finish=Finish.STOP if ids[-1] in self._end_ids else Finish.LENGTH,
                    seconds=0.0,
                )
                for ids in self.answers[prompt.example_id][: sampling.samples]
            ]
            for prompt in prompts
        ]

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise as the model does."""
        return self._generator.encode(prompt, target)

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Score as the model does."""
        return self._generator.score(prompts, targets)
