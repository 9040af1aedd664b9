"""P prompts times G completions, each prompt computed once, rows decoded side by side.

Rows of several prompts share a batch of at most `batch_rows`. A row that ends leaves it, and rows
that wait take its place, so a long answer does not hold up the rest. The network is left as it was
found: in training mode if it was in training mode.
"""

# P prompts, G completions per prompt, B rows in the batch

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from vlmtune.backends.distinct import distinct_prompts
from vlmtune.backends.noise import noise
from vlmtune.backends.pytorch.cache import Prefix, RowCache
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.sampling import Drawer, make_drawer
from vlmtune.types import Completion, Encoded, Finish, ModelInfo, Prompt, Sampling

Progress = Callable[[int], None]


@dataclass(slots=True)
class _Row:
    """One completion in the making."""

    uniform_T: npt.NDArray[np.float32]
    next_position: int = 0
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


@dataclass(slots=True)
class _Group:
    """A distinct prompt and its rows that wait."""

    prompt: Prompt
    waiting: deque[_Row]
    prefix: Prefix | None = None


class TorchGenerator:
    """The `Generator` of this backend.

    Attributes:
        model: What was loaded.
        batch_rows: Completions decoded side by side.
    """

    def __init__(self, loaded: LoadedModel, *, batch_rows: int = 64) -> None:
        self.model: ModelInfo = loaded.info
        self.batch_rows = batch_rows
        self._loaded = loaded

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        progress: Progress | None = None,
    ) -> list[list[Completion]]:
        """Draw completions, [P][G], in the order of `prompts`.

        Image, video and vision tokens are never drawn. A completion depends on `sampling.seed`, its
        prompt and its index, and not on `batch_rows` or the other prompts, up to rounding.

        Args:
            prompts: P prompts; equal ones are computed once.
            sampling: How to draw; at temperature 0 each prompt is decoded once and copied.
            progress: Called with the number of completions finished since the last call.

        Raises:
            DataError: If an image cannot be opened.
        """
        started = time.perf_counter()
        copies = 1 if sampling.temperature > 0 else sampling.samples
        samples = sampling.samples // copies
        rows = [[_row(prompt, sample, sampling) for sample in range(samples)] for prompt in prompts]
        with inference(self._loaded):
            run = _Run(self._loaded, sampling, self.batch_rows)
            for finished in run.decode(_grouped(prompts, rows)):
                if progress is not None:
                    progress(finished * copies)
        seconds = (time.perf_counter() - started) / max(1, len(prompts) * sampling.samples)
        completed = [[self._completion(row, seconds) for row in group] for group in rows]
        return [group * copies for group in completed]

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would, without cutting anything."""
        return self._loaded.reader.encode(prompt, target)

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of every target token at temperature 1, [P][T_p].

        Equal prompts are computed once; nothing is suppressed, as in a trainer's forward pass.
        """
        ids = [self._loaded.reader.target_ids(target) for target in targets]
        scores: list[tuple[float, ...]] = [()] * len(ids)
        with inference(self._loaded):
            for prompt, places in distinct_prompts(prompts):
                prefix = self._loaded.prefill(self._loaded.reader.read(prompt))
                for start in range(0, len(places), self.batch_rows):
                    part = places[start : start + self.batch_rows]
                    found = self._loaded.score(prefix, [ids[place] for place in part])
                    for place, score in zip(part, found, strict=True):
                        scores[place] = score
        return scores

    def _completion(self, row: _Row, seconds: float) -> Completion:
        stopped = row.token_ids[-1] in self._loaded.end_ids
        return Completion(
            text=self._loaded.reader.text(row.token_ids),
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            finish=Finish.STOP if stopped else Finish.LENGTH,
            seconds=seconds,
        )


@contextmanager
def inference(loaded: LoadedModel) -> Iterator[None]:
    """Compute without gradients and dropout; training mode comes back afterwards."""
    was_training = loaded.network.training
    loaded.network.eval()
    try:
        # Not inference_mode: rotary tables made here are used by later training steps.
        with torch.no_grad():
            yield
    finally:
        loaded.network.train(was_training)


class _Run:
    """One call of `generate`: the rows that are being decoded and their cache."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling, batch_rows: int) -> None:
        self._loaded = loaded
        self._sampling = sampling
        self._batch_rows = batch_rows
        self._drawer: Drawer | None = None
        self._cache = RowCache()
        self._rows: list[_Row] = []
        self._drawn: tuple[torch.Tensor, torch.Tensor] = (torch.zeros(0), torch.zeros(0))

    def decode(self, groups: deque[_Group]) -> Iterable[int]:
        """Decode all rows; yields how many ended at each step where some did."""
        self._refill([], groups)
        while self._rows:
            drawn = self._drawn
            if self._any_unfinished():
                self._drawn = self._next()
            ended = self._record(*drawn)
            if not ended:
                continue
            yield ended
            alive = [index for index, row in enumerate(self._rows) if not row.ended]
            # Leaving and joining copies the cache, so it waits until an eighth of the rows is idle.
            if not alive or 8 * (len(self._rows) - len(alive)) >= len(self._rows):
                self._refill(alive, groups)

    def _any_unfinished(self) -> bool:
        longest = self._sampling.max_tokens - 1
        return any(not row.ended and len(row.token_ids) < longest for row in self._rows)

    def _next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the step after the one that is about to be read, on all rows.

        A GPU works on it while the tokens of the last one are read.
        """
        assert self._drawer is not None
        tokens_B, _ = self._drawn
        positions_B = torch.tensor([row.next_position + len(row.token_ids) for row in self._rows])
        mask_BT = self._cache.mask(self._loaded.device)
        logits_BV = self._loaded.step(
            tokens_B, positions_B.to(self._loaded.device), self._cache.cache, mask_BT
        )
        return self._drawer.draw(logits_BV, self._uniform())

    def _uniform(self) -> torch.Tensor:
        last = self._sampling.max_tokens - 1
        steps = [min(len(row.token_ids) + 1, last) for row in self._rows]
        pairs = zip(self._rows, steps, strict=True)
        numbers_B = np.array([row.uniform_T[step] for row, step in pairs])
        return torch.from_numpy(numbers_B).to(self._loaded.device)

    def _record(self, tokens_B: torch.Tensor, logprobs_B: torch.Tensor) -> int:
        """Read one drawn step; returns how many rows it ended."""
        ended = 0
        drawn = zip(tokens_B.tolist(), logprobs_B.tolist(), strict=True)
        for row, (token, logprob) in zip(self._rows, drawn, strict=True):
            if row.ended:
                continue
            row.token_ids.append(token)
            row.logprobs.append(logprob)
            full = len(row.token_ids) == self._sampling.max_tokens
            row.ended = full or token in self._loaded.end_ids
            ended += row.ended
        return ended

    def _refill(self, alive: list[int], groups: deque[_Group]) -> None:
        """Drop rows that ended and let waiting ones join."""
        joining: list[tuple[Prefix, list[_Row]]] = []
        free = self._batch_rows - len(alive)
        while groups and free > 0:
            group = groups[0]
            if group.prefix is None:
                group.prefix = self._loaded.prefill(self._loaded.reader.read(group.prompt))
            rows = [group.waiting.popleft() for _ in range(min(free, len(group.waiting)))]
            for row in rows:
                row.next_position = group.prefix.next_position
            joining.append((group.prefix, rows))
            free -= len(rows)
            if not group.waiting:
                groups.popleft()
        first = [self._first_draw(prefix, rows) for prefix, rows in joining]
        self._rows = [self._rows[index] for index in alive]
        for _, rows in joining:
            self._rows += rows
        if not self._rows:
            return
        self._cache.rebuild(alive, [(prefix, len(rows)) for prefix, rows in joining])
        if alive:
            first.insert(0, (self._drawn[0][alive], self._drawn[1][alive]))
        tokens_B, logprobs_B = (torch.cat([part[side] for part in first]) for side in (0, 1))
        self._drawn = (tokens_B, logprobs_B)

    def _first_draw(self, prefix: Prefix, rows: list[_Row]) -> tuple[torch.Tensor, torch.Tensor]:
        vocabulary = len(prefix.logits_V)
        device = self._loaded.device
        if self._drawer is None:
            self._drawer = make_drawer(
                self._sampling,
                suppressed=self._loaded.suppressed,
                vocabulary=vocabulary,
                device=device,
            )
        uniform_B = torch.from_numpy(np.array([row.uniform_T[0] for row in rows])).to(device)
        return self._drawer.draw(prefix.logits_V.expand(len(rows), -1), uniform_B)


def _row(prompt: Prompt, sample: int, sampling: Sampling) -> _Row:
    uniform_T = noise(
        seed=sampling.seed,
        example_id=prompt.example_id,
        sample=sample,
        count=sampling.max_tokens,
    )
    return _Row(uniform_T)


def _grouped(prompts: Sequence[Prompt], rows: list[list[_Row]]) -> deque[_Group]:
    return deque(
        _Group(prompt, deque(row for place in places for row in rows[place]))
        for prompt, places in distinct_prompts(prompts)
    )
