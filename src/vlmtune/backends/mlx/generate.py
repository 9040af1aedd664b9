"""P prompts times G completions, each prompt computed once, rows decoded side by side.

Prompts that are due at the same time are computed in one pass where the network allows it. Rows of
several prompts share a batch of at most `batch_rows`. A row that ends leaves it, and rows that wait
take its place, so a long answer does not hold up the rest.
"""

# P prompts, G completions per prompt, B rows in the batch

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends.distinct import distinct_prompts
from vlmtune.backends.mlx.cache import Prefix, RowCache
from vlmtune.backends.mlx.model import LoadedModel
from vlmtune.backends.mlx.packs import packs
from vlmtune.backends.mlx.proof import go_together
from vlmtune.backends.mlx.sampling import Drawer, make_drawer
from vlmtune.backends.noise import noise
from vlmtune.types import Completion, Encoded, Finish, ModelInfo, Prompt, Sampling

Progress = Callable[[int], None]
Prefixes = Callable[[Sequence[Prompt]], Iterator[Prefix]]


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


class MLXGenerator:
    """The `Generator` of this backend.

    Attributes:
        model: What was loaded.
        batch_rows: Completions decoded side by side.
    """

    def __init__(self, loaded: LoadedModel, *, batch_rows: int = 64) -> None:
        self.model: ModelInfo = loaded.info
        self.batch_rows = batch_rows
        self._loaded = loaded
        self._together: bool | None = None

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
        run = _Run(sampling, self._loaded, self._prefixes, self.batch_rows)
        for finished in run.decode(_grouped(prompts, rows)):
            if progress is not None:
                progress(finished * copies)
        seconds = (time.perf_counter() - started) / max(1, len(prompts) * sampling.samples)
        completed = [[self._completion(row, seconds) for row in group] for group in rows]
        return [group * copies for group in completed]

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would, without cutting anything."""
        ids_T = self._loaded.reader.read(prompt).ids_T
        return Encoded(
            prompt_ids=tuple(ids_T.tolist()),
            target_ids=self._loaded.reader.target_ids(target),
            image_tokens=int((ids_T == self._loaded.reader.image_token_id).sum()),
        )

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of every target token at temperature 1, [P][T_p].

        Equal prompts are computed once; nothing is suppressed, as in a trainer's forward pass.
        """
        ids = [self._loaded.reader.target_ids(target) for target in targets]
        scores: list[tuple[float, ...]] = [()] * len(ids)
        entries = distinct_prompts(prompts)
        prefixes = self._prefixes([prompt for prompt, _ in entries])
        for (_, places), prefix in zip(entries, prefixes, strict=True):
            for start in range(0, len(places), self.batch_rows):
                part = places[start : start + self.batch_rows]
                found = self._loaded.score(prefix, [ids[place] for place in part])
                for place, score in zip(part, found, strict=True):
                    scores[place] = score
        return scores

    def _prefixes(self, prompts: Sequence[Prompt]) -> Iterator[Prefix]:
        """Compute distinct prompts, in order; at the first several, ask whether they may share."""
        if self._together is None and len(prompts) > 1:
            self._together = go_together(self._loaded)
        inputs = (self._loaded.reader.read(prompt) for prompt in prompts)
        for pack in packs(inputs, together=bool(self._together)):
            yield from self._loaded.prefill_together(pack)

    def _completion(self, row: _Row, seconds: float) -> Completion:
        stopped = row.token_ids[-1] in self._loaded.end_ids
        return Completion(
            text=self._loaded.reader.text(row.token_ids),
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            finish=Finish.STOP if stopped else Finish.LENGTH,
            seconds=seconds,
        )


class _Run:
    """One call of `generate`: the rows that are being decoded and their cache."""

    def __init__(
        self, sampling: Sampling, loaded: LoadedModel, prefixes: Prefixes, batch_rows: int
    ) -> None:
        self._sampling = sampling
        self._loaded = loaded
        self._prefixes = prefixes
        self._batch_rows = batch_rows
        self._drawer: Drawer | None = None
        self._cache = RowCache()
        self._rows: list[_Row] = []
        self._drawn: tuple[mx.array, mx.array] = (mx.array([]), mx.array([]))

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

    def _next(self) -> tuple[mx.array, mx.array]:
        """Start computing the step after the one that is being read, on all rows."""
        assert self._drawer is not None
        tokens_B, _ = self._drawn
        positions_B = [row.next_position + len(row.token_ids) for row in self._rows]
        mask = self._cache.mask()
        logits_BV = self._loaded.step(
            tokens_B, np.asarray(positions_B, dtype=np.int32), self._cache.layers, mask
        )
        drawn = self._drawer.draw(logits_BV, self._uniform())
        mx.async_eval(*drawn)  # type: ignore[no-untyped-call]
        return drawn

    def _uniform(self) -> mx.array:
        last = self._sampling.max_tokens - 1
        steps = [min(len(row.token_ids) + 1, last) for row in self._rows]
        pairs = zip(self._rows, steps, strict=True)
        return mx.array(np.array([row.uniform_T[step] for row, step in pairs]))

    def _record(self, tokens_B: mx.array, logprobs_B: mx.array) -> int:
        """Read one drawn step; returns how many rows it ended."""
        ended = 0
        drawn = zip(np.asarray(tokens_B), np.asarray(logprobs_B), strict=True)
        for row, (token, logprob) in zip(self._rows, drawn, strict=True):
            if row.ended:
                continue
            row.token_ids.append(int(token))
            row.logprobs.append(float(logprob))
            full = len(row.token_ids) == self._sampling.max_tokens
            row.ended = full or row.token_ids[-1] in self._loaded.end_ids
            ended += row.ended
        return ended

    def _refill(self, alive: list[int], groups: deque[_Group]) -> None:
        """Drop rows that ended and let waiting ones join."""
        joining = self._joining(self._batch_rows - len(alive), groups)
        self._rows = [self._rows[index] for index in alive]
        for _, rows in joining:
            self._rows += rows
        if not self._rows:
            return
        self._cache.rebuild(alive, [(prefix, len(rows)) for prefix, rows in joining])
        drawn = [tuple(part[mx.array(alive)] for part in self._drawn)] if alive else []
        if joining:
            drawn.append(self._first_draw(joining))
        tokens_B, logprobs_B = (mx.concatenate([part[side] for part in drawn]) for side in (0, 1))
        self._drawn = (tokens_B, logprobs_B)

    def _joining(self, free: int, groups: deque[_Group]) -> list[tuple[Prefix, list[_Row]]]:
        """Take waiting rows for the free places and compute the prompts that are new."""
        taken: list[tuple[_Group, list[_Row]]] = []
        while groups and free > 0:
            waiting = groups[0].waiting
            rows = [waiting.popleft() for _ in range(min(free, len(waiting)))]
            taken.append((groups[0], rows))
            free -= len(rows)
            if not waiting:
                groups.popleft()
        new = [group for group, _ in taken if group.prefix is None]
        for group, prefix in zip(new, self._prefixes([group.prompt for group in new]), strict=True):
            group.prefix = prefix
        joining = []
        for group, rows in taken:
            assert group.prefix is not None
            for row in rows:
                row.next_position = group.prefix.next_position
            joining.append((group.prefix, rows))
        return joining

    def _first_draw(self, joining: list[tuple[Prefix, list[_Row]]]) -> tuple[mx.array, mx.array]:
        vocabulary = joining[0][0].logits_V.shape[0]
        if self._drawer is None:
            self._drawer = make_drawer(
                self._sampling, suppressed=self._loaded.suppressed, vocabulary=vocabulary
            )
        logits_BV = mx.concatenate(
            [mx.broadcast_to(prefix.logits_V, (len(rows), vocabulary)) for prefix, rows in joining]
        )
        uniform_B = mx.array(np.array([row.uniform_T[0] for _, rows in joining for row in rows]))
        return self._drawer.draw(logits_BV, uniform_B)


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
