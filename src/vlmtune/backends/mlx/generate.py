"""Completions and scores with MLX; which row decodes when stands in `backends/decoding.py`.

Prompts that are due at the same time are computed in one pass where the network allows it.
"""

# P prompts, G completions per prompt, B rows in the batch

from collections.abc import Callable, Iterator, Sequence

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from vlmtune.backends import decoding
from vlmtune.backends.decoding import Floats, Integers, Progress
from vlmtune.backends.mlx.cache import Prefix, RowCache
from vlmtune.backends.mlx.model import LoadedModel
from vlmtune.backends.mlx.proof import go_together
from vlmtune.backends.mlx.sampling import Drawer, make_drawer
from vlmtune.backends.packs import packs
from vlmtune.types import Completion, Encoded, ModelInfo, Prompt, Sampling

Prefixes = Callable[[Sequence[Prompt]], Iterator[Prefix]]
Drawn = tuple[mx.array, mx.array]
"""Token ids and their log-probabilities, [B] each."""


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
        self, prompts: Sequence[Prompt], sampling: Sampling, *, progress: Progress | None = None
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
        decoder = decoding.Decoder(
            engine=_Engine(self._loaded, sampling, self._prefixes),
            batch_rows=self.batch_rows,
            end_ids=frozenset(self._loaded.end_ids),
            text=self._loaded.reader.text,
        )
        return decoder.generate(prompts, sampling, progress=progress)

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
        return decoding.score(
            prompts,
            [self._loaded.reader.target_ids(target) for target in targets],
            prefixes=self._prefixes,
            several=self._loaded.score,
            batch_rows=self.batch_rows,
        )

    def _prefixes(self, prompts: Sequence[Prompt]) -> Iterator[Prefix]:
        """Compute distinct prompts, in order; at the first several, ask whether they may share."""
        if self._together is None and len(prompts) > 1:
            self._together = go_together(self._loaded)
        inputs = (self._loaded.reader.read(prompt) for prompt in prompts)
        for pack in packs(inputs, together=bool(self._together)):
            yield from self._loaded.prefill_together(pack)


class _Engine:
    """`decoding.Engine`: the rows' cache in MLX, for one call."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling, prefixes: Prefixes) -> None:
        self._loaded = loaded
        self._sampling = sampling
        self._drawer: Drawer | None = None
        self._cache = RowCache()
        self.prefixes = prefixes

    def refill(
        self,
        drawn: Drawn | None,
        keep: Sequence[int],
        joining: Sequence[tuple[Prefix, int]],
        uniform_N: Floats,
    ) -> Drawn:
        """Copy the caches that stay and those that join, and draw first tokens."""
        self._cache.rebuild(keep, joining)
        parts = []
        if keep and drawn is not None:
            kept = mx.array(list(keep))
            parts.append((drawn[0][kept], drawn[1][kept]))
        if joining:
            parts.append(self._first(joining, uniform_N))
        token_B, logprob_B = (mx.concatenate([part[side] for part in parts]) for side in (0, 1))
        return token_B, logprob_B

    def _first(self, joining: Sequence[tuple[Prefix, int]], uniform_N: Floats) -> Drawn:
        vocabulary = joining[0][0].logits_V.shape[0]
        if self._drawer is None:
            self._drawer = make_drawer(
                self._sampling, suppressed=self._loaded.suppressed, vocabulary=vocabulary
            )
        logits_NV = mx.concatenate(
            [mx.broadcast_to(prefix.logits_V, (count, vocabulary)) for prefix, count in joining]
        )
        return self._drawer.draw(logits_NV, mx.array(uniform_N))

    def step(self, drawn: Drawn, positions_B: Integers, uniform_B: Floats) -> Drawn:
        """Start computing the next token of every row; it is not waited for."""
        assert self._drawer is not None
        places_B: npt.NDArray[np.int32] = positions_B.astype(np.int32)
        logits_BV = self._loaded.step(drawn[0], places_B, self._cache.layers, self._cache.mask())
        found = self._drawer.draw(logits_BV, mx.array(uniform_B))
        mx.async_eval(*found)  # type: ignore[no-untyped-call]
        return found

    def read(self, drawn: Drawn) -> tuple[list[int], list[float]]:
        """Wait for tokens and log-probabilities."""
        token_B, logprob_B = (np.asarray(part).tolist() for part in drawn)
        return token_B, logprob_B
