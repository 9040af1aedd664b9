"""What a vLLM server loads so that it draws as this house draws.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve MODEL --enable-lora --max-lora-rank 16 \
        --generation-config vllm --no-async-scheduling \
        --logits-processors vlmtune.backends.pytorch.vllm_served:ServedDraw

As `vllm_draw.py` in the training's own process; here a request brings what its numbers are computed
from, and log-probabilities are vLLM's own, which are those of temperature 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from vlmtune.backends.noise import noise
from vlmtune.backends.pytorch.sampling import Drawer, make_drawer
from vlmtune.backends.pytorch.vllm_server import EXAMPLE, NEVER, NUMBERS, PRESENT, PROBE
from vlmtune.types import Sampling


@dataclass(slots=True)
class _Row:
    sampling: Sampling
    never: tuple[int, ...]
    uniform_T: npt.NDArray[np.float32]
    answer_ids: list[int]


class ServedDraw(LogitsProcessor):
    """Chooses the tokens of requests that bring `arguments`; leaves others to vLLM."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, _Row] = {}
        self._drawers: dict[tuple[Sampling, tuple[int, ...]], Drawer] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Answer the probe."""
        if PROBE in (sampling_params.extra_args or {}):
            raise ValueError(PRESENT)

    def is_argmax_invariant(self) -> bool:
        """It decides which token is likeliest."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow who is in the batch."""
        process_dict_updates(self._rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Leave the drawn token of each row of ours, and no other."""
        kinds: dict[tuple[Sampling, tuple[int, ...]], list[int]] = {}
        for at, row in sorted(self._rows.items()):
            kinds.setdefault((row.sampling, row.never), []).append(at)
        for kind, where in kinds.items():
            rows = [self._rows[at] for at in where]
            numbers_B = np.array([row.uniform_T[len(row.answer_ids)] for row in rows])
            drawer = self._drawer(kind, logits)
            uniform_B = torch.from_numpy(numbers_B).to(logits.device)
            token_B, _ = drawer.draw(logits[where].float(), uniform_B)
            logits[where] = -torch.inf
            logits[torch.tensor(where, device=logits.device), token_B] = 0.0
        return logits

    def _drawer(self, kind: tuple[Sampling, tuple[int, ...]], logits: torch.Tensor) -> Drawer:
        if kind not in self._drawers:
            sampling, never = kind
            self._drawers[kind] = make_drawer(
                sampling, suppressed=never, vocabulary=logits.shape[-1], device=str(logits.device)
            )
        return self._drawers[kind]


def _row(params: Any, prompt_ids: Any, answer_ids: list[int]) -> _Row | None:
    brought = params.extra_args or {}
    if NUMBERS not in brought:
        return None
    seed, sample, length, temperature, top_p, top_k = brought[NUMBERS]
    sampling = Sampling(
        max_tokens=int(length), temperature=temperature, top_p=top_p, top_k=int(top_k)
    )
    uniform_T = noise(
        seed=int(seed),
        example_id=str(brought[EXAMPLE]),
        sample=int(sample),
        count=sampling.max_tokens,
    )
    never = tuple(int(token) for token in brought[NEVER])
    return _Row(sampling, never, uniform_T, answer_ids)
