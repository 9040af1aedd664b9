"""The scripted `Generator`: draws whole answers from the script and cuts them at `max_tokens`."""

import hashlib
import time
from collections.abc import Callable, Sequence

from vlmtune.backends.scripted.script import (
    END,
    IMAGE_TOKEN,
    candidates,
    heated,
    logprobs,
    pieces,
    token_id,
    token_ids,
)
from vlmtune.types import Completion, Encoded, Finish, ModelInfo, Prompt, Sampling

IMAGE_TOKENS = 16
"""Placeholders that stand for one picture."""


class ScriptedGenerator:
    """A `Generator` without weights."""

    def __init__(self) -> None:
        self.model = ModelInfo(name="scripted", path="", parameters=0, architecture="scripted")

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Completion]]:
        """Draw completions, [P][samples], in the order of `prompts`.

        A draw depends on the seed, the example and the sample's index. Top-p and top-k act on whole
        answers. Log-probabilities are those of the script's tree of words at the temperature.

        Raises:
            DataError: If an image cannot be opened.
        """
        started = time.perf_counter()
        drawn = []
        for prompt in prompts:
            for image in prompt.images:
                image.open()
            script = candidates(prompt)
            weights = heated(script, sampling.temperature)
            kept = _truncated(weights, sampling)
            # Greedy answers are recorded at temperature 1, where their probability says something.
            record = weights if sampling.temperature else heated(script, 1.0)
            group = []
            for sample in range(sampling.samples):
                uniform = _uniform(f"{sampling.seed}\0{prompt.example_id}\0{sample}")
                text = script[_first_above(kept, uniform)].text
                tokens = token_ids(text)[: sampling.max_tokens]
                group.append((text, tokens, logprobs(script, record, tokens)))
            drawn.append(group)
            if progress is not None:
                progress(sampling.samples)
        seconds = (time.perf_counter() - started) / max(1, len(prompts) * sampling.samples)
        return [[_completion(*parts, seconds=seconds) for parts in group] for group in drawn]

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Number the words of a prompt and a target; each picture takes `IMAGE_TOKENS`."""
        ids: list[int] = []
        for message in prompt.messages:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            ids.append(token_id(str(message["role"])))
            for part in parts:
                if part["type"] == "image":
                    ids += [IMAGE_TOKEN] * IMAGE_TOKENS
                else:
                    ids += [token_id(piece) for piece in pieces(part["text"])]
        return Encoded(
            prompt_ids=tuple(ids),
            target_ids=token_ids(target),
            image_tokens=IMAGE_TOKENS * len(prompt.images),
        )

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of every word of each target under the script at temperature 1."""
        scores = []
        for prompt, target in zip(prompts, targets, strict=True):
            script = candidates(prompt)
            scores.append(logprobs(script, heated(script, 1.0), token_ids(target)))
        return scores


def _completion(
    text: str, tokens: tuple[int, ...], logs: tuple[float, ...], *, seconds: float
) -> Completion:
    stopped = tokens[-1] == END
    said = text if stopped else "".join(pieces(text)[: len(tokens)])
    return Completion(
        text=said,
        token_ids=tokens,
        logprobs=logs,
        finish=Finish.STOP if stopped else Finish.LENGTH,
        seconds=seconds,
    )


def _truncated(weights: Sequence[float], sampling: Sampling) -> list[float]:
    order = sorted(range(len(weights)), key=lambda index: -weights[index])
    order = order[: sampling.top_k] if sampling.top_k else order
    total = sum(weights[index] for index in order)
    kept = [0.0] * len(weights)
    mass = 0.0
    for index in order:
        if mass >= sampling.top_p * total:
            break
        kept[index] = weights[index]
        mass += weights[index]
    return kept


def _uniform(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48


def _first_above(weights: Sequence[float], uniform: float) -> int:
    target, total = uniform * sum(weights), 0.0
    for index, weight in enumerate(weights):
        total += weight
        if weight > 0 and total > target:
            return index
    return max(range(len(weights)), key=lambda index: weights[index])
