"""vLLM draws as this house draws: the same numbers, the same rule, the same tokens.

vLLM's own sampler has a generator per request, so its draws are its own. Here a logits processor
of ours, which vLLM calls for every step, does what `sampling.Drawer` does elsewhere: it takes the
completion's own stream of `backends.noise`, chooses a token, and leaves vLLM nothing but that
token. So with equal logits a seed gives the same answers in vLLM, transformers and MLX, pixel
tokens are never drawn, and log-probabilities are those of `Completion`, at any temperature.

It needs the engine in this process, because answers come back through a `Ledger` and not through
vLLM's messages.
"""

# B rows, V vocabulary

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vlmtune.backends.pytorch.sampling import Drawer, make_drawer
from vlmtune.types import Sampling

ROW = "vlmtune_row"
"""Key of a request's `extra_args` that says which row of the ledger it is."""


@dataclass(slots=True)
class Ledger:
    """What one call of `generate` draws.

    Attributes:
        suppressed: Ids that are never drawn.
        sampling: How to draw.
        uniform: Each row's numbers in [0, 1), one for every step.
    """

    suppressed: tuple[int, ...]
    sampling: Sampling = field(default_factory=Sampling)
    uniform: Sequence[npt.NDArray[np.float32]] = ()
    _drawer: Drawer | None = None
    _drawn: list[tuple[list[tuple[int, int]], torch.Tensor]] = field(default_factory=list)

    def open(self, sampling: Sampling, uniform: Sequence[npt.NDArray[np.float32]]) -> None:
        """Begin a new call."""
        self.sampling, self.uniform = sampling, uniform
        self._drawer = None
        self._drawn = []

    def draw(self, logits_BV: torch.Tensor, places: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Choose a token for each (row, step), and remember its log-probability.

        Args:
            logits_BV: float32 [B, V].
            places: B rows and their steps.

        Returns:
            Token ids [B].
        """
        device = str(logits_BV.device)
        if self._drawer is None:
            self._drawer = make_drawer(
                self.sampling,
                suppressed=self.suppressed,
                vocabulary=logits_BV.shape[-1],
                device=device,
            )
        numbers_B = np.array([self.uniform[row][step] for row, step in places], dtype=np.float32)
        token_B, logprob_B = self._drawer.draw(logits_BV, torch.from_numpy(numbers_B).to(device))
        # Read at the end: reading every step would make a GPU wait for it.
        self._drawn.append((list(places), logprob_B))
        return token_B

    def logprobs(self, lengths: Sequence[int]) -> list[tuple[float, ...]]:
        """Look up every row's log-probabilities.

        Args:
            lengths: Tokens of each row.
        """
        found = [np.full(length, np.nan) for length in lengths]
        for places, logprob_B in self._drawn:
            for (row, step), value in zip(places, logprob_B.tolist(), strict=True):
                # A step that vLLM computes again, after it put a request aside, comes last.
                if step < lengths[row]:
                    found[row][step] = value
        return [tuple(row_T.tolist()) for row_T in found]


def drawing(ledger: Ledger) -> type[Any]:
    """Make the class that vLLM builds its logits processor from; it draws into `ledger`."""
    from vllm.v1.sample.logits_processor import LogitsProcessor
    from vllm.v1.sample.logits_processor.builtin import process_dict_updates

    class HouseDraw(LogitsProcessor):
        """Draws for requests that ask for it and leaves vLLM one token to choose from."""

        def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
            self._rows: dict[int, tuple[int, list[int]]] = {}

        def is_argmax_invariant(self) -> bool:
            """Say that even a greedy request changes its token here, so vLLM must not skip it."""
            return False

        def update_state(self, batch_update: Any) -> None:
            """Follow which request stands in which row of the next step."""
            process_dict_updates(self._rows, batch_update, _row)

        def apply(self, logits: torch.Tensor) -> torch.Tensor:
            """Leave each row's drawn token at 0 and all others at -inf, [B, V]."""
            if not self._rows:
                return logits
            where = sorted(self._rows)
            # vLLM hands over its own list of a request's tokens, so its length is the step.
            places = [(self._rows[at][0], len(self._rows[at][1])) for at in where]
            token_B = ledger.draw(logits[where].float(), places)
            logits[where] = -torch.inf
            logits[torch.tensor(where, device=logits.device), token_B] = 0.0
            return logits

    return HouseDraw


def _row(params: Any, prompt_ids: Any, answer_ids: list[int]) -> tuple[int, list[int]] | None:
    row = (params.extra_args or {}).get(ROW)
    return None if row is None else (int(row), answer_ids)
