"""Score the answers of a group with their prompt computed once, pictures and all, with gradients.

How answers lie behind their prompt stands in `backends/packing.py`. Values and gradients are those
of one row per answer, up to rounding. Logits are computed where a token is predicted and nowhere
else, and with gradients a part at a time, so that a large vocabulary fits into memory.
"""

# R packed rows, B answers, T packed tokens, C tokens of the longest answer, N scored tokens

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import numpy.typing as npt

from vlmtune.backends import packing
from vlmtune.backends.mlx.inputs import PromptInputs
from vlmtune.backends.mlx.log_softmax import log_probabilities, watched
from vlmtune.backends.mlx.model import SCORED_POSITIONS, LoadedModel

NumbersOf = Callable[[mx.array, mx.array], mx.array]
"""Logits [N, V] and ids [N] -> numbers of each token, [N] or [N, WATCHED]."""
WATCHED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Answers behind their prompts, ready for the network.

    Attributes:
        several: The prompt of each row.
        packing: Which token stands where.
    """

    several: tuple[PromptInputs, ...]
    packing: packing.Packing

    @property
    def tokens(self) -> int:
        """Tokens of all answers, each counted with its prompt."""
        return self.prompt_tokens + sum(self.packing.lengths_B)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompts, as often as they are answered."""
        prompts_R = [len(inputs.ids_T) for inputs in self.several]
        return sum(prompts_R[row] for row in self.packing.rows_B)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Answers' tokens as the network sees them, float32 [B, C] each; 0 behind an answer's end.

    Attributes:
        logps_BC: Log-probabilities, the only ones with derivatives.
        entropies_BC: Entropy over all tokens, nats.
        likeliest_BC: 1 where the token is the likeliest.
        means_BC: Mean logit.
        mask_BC: 1 where there is a token.
    """

    logps_BC: mx.array
    entropies_BC: mx.array
    likeliest_BC: mx.array
    means_BC: mx.array
    mask_BC: mx.array

    def mean(self, values_BC: mx.array, *, answers: slice = slice(None)) -> mx.array:
        """Average numbers over the tokens of some answers; 0 where there are none."""
        return values_BC[answers].sum() / mx.maximum(self.mask_BC[answers].sum(), 1.0)


def pack(
    loaded: LoadedModel,
    prompts: Mapping[int, PromptInputs],
    asked_B: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    together: bool = True,
) -> Packed:
    """Write answers behind their prompts.

    Args:
        loaded: The model.
        prompts: What was asked, by key.
        asked_B: Key of each answer's prompt.
        answers: Token ids; an empty answer is not scored.
        together: Answers to one prompt share a row; else each has its own.
    """
    numbered = {key: loaded.numbered(prompts[key]) for key in dict.fromkeys(asked_B)}
    packed = packing.pack(numbered, asked_B, answers, together=together)
    return Packed(several=tuple(prompts[key] for key in packed.prompts_R), packing=packed)


def score(loaded: LoadedModel, packed: Packed, *, temperature: float = 1.0) -> mx.array:
    """Compute the log-probability of every answer's tokens, as `softmax(logits / temperature)`.

    Differentiable by the network's weights.

    Returns:
        float32 [B, C], C at least 1; 0 behind an answer's end.
    """
    (logps_BC,), _ = _laid_out(loaded, packed, temperature, log_probabilities)
    return logps_BC


def watch(loaded: LoadedModel, packed: Packed, *, temperature: float = 1.0) -> Watched:
    """Compute the same with what is watched while training."""
    found, mask_BC = _laid_out(loaded, packed, temperature, watched)
    logps_BC, entropies_BC, likeliest_BC, means_BC = found
    return Watched(
        logps_BC=logps_BC,
        entropies_BC=entropies_BC,
        likeliest_BC=likeliest_BC,
        means_BC=means_BC,
        mask_BC=mask_BC,
    )


def _laid_out(
    loaded: LoadedModel, packed: Packed, temperature: float, numbers_of: NumbersOf
) -> tuple[list[mx.array], mx.array]:
    """Compute numbers of every answer's tokens, [B, C] each, and where there is a token."""
    rows = packed.packing
    columns = 1 if numbers_of is log_probabilities else WATCHED
    scored_N = _scored(rows)
    if not len(scored_N):
        # Not [B, 0]: MLX 0.32 on a CPU sometimes never ends a sum over nothing.
        nothing_B1 = mx.zeros((len(rows.rows_B), 1))
        return [nothing_B1] * columns, nothing_B1
    labels_N = mx.array(rows.labels_RT.reshape(-1)[scored_N].astype(np.int32))
    found = _in_parts(loaded, states(loaded, packed), labels_N, temperature, numbers_of)
    places_BC, inside_BC = _places(rows, scored_N)
    mask_BC = mx.array(inside_BC.astype(np.float32))
    found_NK = found.reshape(len(scored_N), columns)
    places = mx.array(places_BC)
    return [found_NK[:, k][places] * mask_BC for k in range(columns)], mask_BC


def states(loaded: LoadedModel, packed: Packed) -> mx.array:
    """Compute the hidden states that predict the answers' tokens, [N, H], in the rows' order."""
    rows = packed.packing
    lengths_R = np.array([len(inputs.ids_T) for inputs in packed.several])
    hidden_RTH = loaded.text(
        None,
        inputs_embeds=loaded.embed(packed.several, rows.ids_RT.astype(np.int32), lengths_R),
        mask=mx.array(rows.sees_RTT()[:, None]),
        position_ids=mx.array(rows.positions_ART.astype(np.int32)),
    )
    found_NH: mx.array = hidden_RTH.reshape(-1, hidden_RTH.shape[-1])[mx.array(_scored(rows))]
    return found_NH


def _scored(rows: packing.Packing) -> npt.NDArray[np.int64]:
    """List the places that predict a token."""
    places_N: npt.NDArray[np.int64] = np.flatnonzero(rows.labels_RT != packing.IGNORED)
    return places_N


def _places(rows: packing.Packing, scored_N: Any) -> tuple[Any, Any]:
    """Find each answer's tokens among those that are scored, and mark which exist, [B, C] each."""
    lengths_B = np.array(rows.lengths_B)
    steps_C = np.arange(lengths_B.max())
    inside_BC = steps_C < lengths_B[:, None]
    firsts_B = np.array(rows.rows_B) * rows.labels_RT.shape[1] + np.array(rows.starts_B)
    places_BC = np.searchsorted(scored_N, (firsts_B[:, None] + steps_C) * inside_BC)
    return (places_BC * inside_BC).astype(np.int32), inside_BC


def _in_parts(
    loaded: LoadedModel,
    hidden_NH: mx.array,
    labels_N: mx.array,
    temperature: float,
    numbers_of: NumbersOf,
) -> mx.array:
    def part_of(part_NH: mx.array, ids_N: mx.array) -> mx.array:
        """Compute tokens' numbers from the hidden states before them, float32 [N, ...]."""
        return numbers_of(loaded.logits(part_NH) / temperature, ids_N)

    if len(labels_N) <= SCORED_POSITIONS:
        return part_of(hidden_NH, labels_N)
    # Logits of a part are computed again for its gradient, instead of being held for all parts.
    again = nn.utils.checkpoint(loaded.head, part_of)
    return mx.concatenate(
        [
            again(
                hidden_NH[start : start + SCORED_POSITIONS],
                labels_N[start : start + SCORED_POSITIONS],
            )
            for start in range(0, len(labels_N), SCORED_POSITIONS)
        ]
    )
