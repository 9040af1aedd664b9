"""Completions and scores with transformers; which row decodes when: `backends/decoding.py`.

The network is left as it was found: in training mode if it was in training mode.
"""

# P prompts, G completions per prompt, B rows in the batch

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from vlmtune.backends import decoding
from vlmtune.backends.decoding import Floats, Integers, Progress
from vlmtune.backends.packs import packs
from vlmtune.backends.pytorch.cache import Prefix, RowCache
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.proof import go_together
from vlmtune.backends.pytorch.sampling import Drawer, make_drawer
from vlmtune.types import Completion, Encoded, ModelInfo, Prompt, Sampling

Prefixes = Callable[[Sequence[Prompt]], Iterator[Prefix]]
Drawn = tuple[torch.Tensor, torch.Tensor]
"""Token ids and their log-probabilities, [B] each."""


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
        with inference(self._loaded):
            return decoder.generate(prompts, sampling, progress=progress)

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would, without cutting anything."""
        return self._loaded.reader.encode(prompt, target)

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of every target token at temperature 1, [P][T_p].

        Equal prompts are computed once; nothing is suppressed, as in a trainer's forward pass.
        """
        with inference(self._loaded):
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


class _Engine:
    """`decoding.Engine`: the rows' cache in PyTorch, for one call."""

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
            kept = list(keep)
            parts.append((drawn[0][kept], drawn[1][kept]))
        if joining:
            parts.append(self._first(joining, uniform_N))
        token_B, logprob_B = (torch.cat([part[side] for part in parts]) for side in (0, 1))
        return token_B, logprob_B

    def _first(self, joining: Sequence[tuple[Prefix, int]], uniform_N: Floats) -> Drawn:
        device = self._loaded.device
        if self._drawer is None:
            self._drawer = make_drawer(
                self._sampling,
                suppressed=self._loaded.suppressed,
                vocabulary=len(joining[0][0].logits_V),
                device=device,
            )
        logits_NV = torch.cat([prefix.logits_V.expand(count, -1) for prefix, count in joining])
        return self._drawer.draw(logits_NV, torch.from_numpy(uniform_N).to(device))

    def step(self, drawn: Drawn, positions_B: Integers, uniform_B: Floats) -> Drawn:
        """Compute the next token of every row; a GPU works on it while others are read."""
        assert self._drawer is not None
        device = self._loaded.device
        logits_BV = self._loaded.step(
            drawn[0],
            torch.from_numpy(positions_B).to(device),
            self._cache.cache,
            self._cache.mask(device),
        )
        return self._drawer.draw(logits_BV, torch.from_numpy(uniform_B).to(device))

    def read(self, drawn: Drawn) -> tuple[list[int], list[float]]:
        """Wait for tokens and log-probabilities."""
        return drawn[0].tolist(), drawn[1].tolist()
