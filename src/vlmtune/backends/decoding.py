"""P prompts times G completions: which row decodes when, alike on every engine of ours.

Each distinct prompt is computed once. Rows of several prompts share a batch of at most
`batch_rows`. A row that ends leaves it, and rows that wait take its place, so a long answer does
not hold up the rest. What computes is an `Engine`: it holds rows side by side and is told which.
"""

# P prompts, G completions per prompt, B rows in the batch, T tokens of a completion

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vlmtune.backends.distinct import distinct_prompts
from vlmtune.backends.noise import noise
from vlmtune.types import Completion, Finish, Prompt, Sampling

Progress = Callable[[int], None]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Prefix(Protocol):
    """A computed prompt."""

    @property
    def next_position(self) -> int:
        """Rotary position of the first answer token."""
        ...


PrefixT = TypeVar("PrefixT", bound=Prefix)
DrawnT = TypeVar("DrawnT")


class Engine(Protocol[PrefixT, DrawnT]):
    """What computes for one call: it holds the rows' keys and values, in the order told."""

    def prefixes(self, prompts: Sequence[Prompt]) -> Iterator[PrefixT]:
        """Compute distinct prompts, in order."""
        ...

    def refill(
        self,
        drawn: DrawnT | None,
        keep: Sequence[int],
        joining: Sequence[tuple[PrefixT, int]],
        uniform_N: Floats,
    ) -> DrawnT:
        """Change which rows decode.

        Args:
            drawn: The rows' last tokens; None before there are rows.
            keep: Rows that stay, by index.
            joining: Computed prompts with the number of rows that each gets, N in all.
            uniform_N: A number in [0, 1) for the first token of each row that joins.

        Returns:
            Last tokens of the rows that stay, then first tokens of those that join.
        """
        ...

    def step(self, drawn: DrawnT, positions_B: Integers, uniform_B: Floats) -> DrawnT:
        """Feed each row its last token and draw its next; the work need not be finished."""
        ...

    def read(self, drawn: DrawnT) -> tuple[Sequence[int], Sequence[float]]:
        """Wait for drawn tokens and their log-probabilities, [B] each."""
        ...


@dataclass(slots=True)
class _Row:
    """One completion in the making."""

    uniform_T: Floats
    next_position: int = 0
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


@dataclass(slots=True)
class _Group(Generic[PrefixT]):
    """A distinct prompt and its rows that wait."""

    prompt: Prompt
    waiting: deque[_Row]
    prefix: PrefixT | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder(Generic[PrefixT, DrawnT]):
    """Draws completions with an engine.

    Attributes:
        engine: What computes; it serves one call.
        batch_rows: Rows decoded side by side.
        end_ids: Tokens that end a completion.
        text: Token ids -> text.
    """

    engine: Engine[PrefixT, DrawnT]
    batch_rows: int
    end_ids: frozenset[int]
    text: Callable[[Sequence[int]], str]

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[list[Completion]]:
        """Draw completions, [P][G], in the order of `prompts`.

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
        groups: deque[_Group[PrefixT]] = deque(
            _Group(prompt, deque(row for place in places for row in rows[place]))
            for prompt, places in distinct_prompts(prompts)
        )
        run = _Run(self.engine, self.batch_rows, self.end_ids, sampling.max_tokens)
        for finished in run.decode(groups):
            if progress is not None:
                progress(finished * copies)
        seconds = (time.perf_counter() - started) / max(1, len(prompts) * sampling.samples)
        completed = [[self._completion(row, seconds) for row in group] for group in rows]
        return [group * copies for group in completed]

    def _completion(self, row: _Row, seconds: float) -> Completion:
        stopped = row.token_ids[-1] in self.end_ids
        return Completion(
            text=self.text(row.token_ids),
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            finish=Finish.STOP if stopped else Finish.LENGTH,
            seconds=seconds,
        )


def score(
    prompts: Sequence[Prompt],
    targets: Sequence[Sequence[int]],
    *,
    prefixes: Callable[[Sequence[Prompt]], Iterator[PrefixT]],
    several: Callable[[PrefixT, Sequence[Sequence[int]]], list[tuple[float, ...]]],
    batch_rows: int,
) -> list[tuple[float, ...]]:
    """Score one target for each prompt; equal prompts are computed once.

    Args:
        prompts: P prompts.
        targets: Token ids, [P][T_p].
        prefixes: Computes distinct prompts, in order.
        several: Log-probabilities of several answers to one prompt.
        batch_rows: Answers scored side by side.

    Returns:
        Log-probability of every target token, [P][T_p].
    """
    scores: list[tuple[float, ...]] = [()] * len(targets)
    entries = distinct_prompts(prompts)
    computed = prefixes([prompt for prompt, _ in entries])
    for (_, places), prefix in zip(entries, computed, strict=True):
        for start in range(0, len(places), batch_rows):
            part = places[start : start + batch_rows]
            found = several(prefix, [targets[place] for place in part])
            for place, one in zip(part, found, strict=True):
                scores[place] = one
    return scores


class _Run(Generic[PrefixT, DrawnT]):
    """One call of `generate`: the rows that are being decoded."""

    def __init__(
        self,
        engine: Engine[PrefixT, DrawnT],
        batch_rows: int,
        end_ids: frozenset[int],
        max_tokens: int,
    ) -> None:
        self._engine = engine
        self._batch_rows = batch_rows
        self._end_ids = end_ids
        self._max_tokens = max_tokens
        self._rows: list[_Row] = []
        self._drawn: DrawnT | None = None

    def decode(self, groups: deque[_Group[PrefixT]]) -> Iterable[int]:
        """Decode all rows; yields how many ended at each step where some did."""
        self._refill([], groups)
        while self._rows:
            drawn = self._drawn
            assert drawn is not None
            # The next step is begun before this one is read: the processor is never idle.
            if self._any_unfinished():
                self._drawn = self._next(drawn)
            ended = self._record(*self._engine.read(drawn))
            if not ended:
                continue
            yield ended
            alive = [index for index, row in enumerate(self._rows) if not row.ended]
            # Leaving and joining copies the cache, so it waits until an eighth of the rows is idle.
            if not alive or 8 * (len(self._rows) - len(alive)) >= len(self._rows):
                self._refill(alive, groups)

    def _any_unfinished(self) -> bool:
        longest = self._max_tokens - 1
        return any(not row.ended and len(row.token_ids) < longest for row in self._rows)

    def _next(self, drawn: DrawnT) -> DrawnT:
        """Begin the step after the one that is about to be read, on all rows."""
        positions = [row.next_position + len(row.token_ids) for row in self._rows]
        last = self._max_tokens - 1
        steps = [min(len(row.token_ids) + 1, last) for row in self._rows]
        uniforms = [row.uniform_T[step] for row, step in zip(self._rows, steps, strict=True)]
        return self._engine.step(
            drawn, np.array(positions, np.int64), np.array(uniforms, np.float32)
        )

    def _record(self, token_B: Sequence[int], logprob_B: Sequence[float]) -> int:
        """Write one step down; returns how many rows it ended."""
        ended = 0
        for row, token, logprob in zip(self._rows, token_B, logprob_B, strict=True):
            if row.ended:
                continue
            row.token_ids.append(token)
            row.logprobs.append(logprob)
            row.ended = len(row.token_ids) == self._max_tokens or token in self._end_ids
            ended += row.ended
        return ended

    def _refill(self, alive: list[int], groups: deque[_Group[PrefixT]]) -> None:
        """Drop rows that ended and let waiting ones join."""
        joining = self._joining(self._batch_rows - len(alive), groups)
        self._rows = [self._rows[index] for index in alive]
        first = [row.uniform_T[0] for _, rows in joining for row in rows]
        for _, rows in joining:
            self._rows += rows
        if self._rows:
            counts = [(prefix, len(rows)) for prefix, rows in joining]
            self._drawn = self._engine.refill(
                self._drawn, alive, counts, np.array(first, np.float32)
            )

    def _joining(
        self, free: int, groups: deque[_Group[PrefixT]]
    ) -> list[tuple[PrefixT, list[_Row]]]:
        """Take waiting rows for the free places and compute the prompts that are new."""
        taken: list[tuple[_Group[PrefixT], list[_Row]]] = []
        while groups and free > 0:
            waiting = groups[0].waiting
            rows = [waiting.popleft() for _ in range(min(free, len(waiting)))]
            taken.append((groups[0], rows))
            free -= len(rows)
            if not waiting:
                groups.popleft()
        new = [group for group, _ in taken if group.prefix is None]
        computed = self._engine.prefixes([group.prompt for group in new])
        for group, prefix in zip(new, computed, strict=True):
            group.prefix = prefix
        joining = []
        for group, rows in taken:
            assert group.prefix is not None
            for row in rows:
                row.next_position = group.prefix.next_position
            joining.append((group.prefix, rows))
        return joining


def _row(prompt: Prompt, sample: int, sampling: Sampling) -> _Row:
    uniform_T = noise(
        seed=sampling.seed,
        example_id=prompt.example_id,
        sample=sample,
        count=sampling.max_tokens,
    )
    return _Row(uniform_T)
