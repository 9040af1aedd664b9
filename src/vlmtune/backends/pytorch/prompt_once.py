"""Score the answers of a group with their prompt computed once, pictures and all.

    ids         p0 p1 p2 | p3 a0 a1 | p3 b0        prompt p, answers a (a0 a1 a2) and b (b0 b1)
    labels       .  .  . | a0 a1 a2 | b0 b1        what each place predicts
    position     0  1  2 |  3  4  5 |  3  4
    sees         its block and what stands before the first bar, never another answer

The last token of the prompt opens every block, because each answer's first token is predicted from
it. Values and gradients are those of one row per answer, up to rounding; a prompt with a picture
costs more than all its answers, so a group of eight is several times faster.
"""

# R packed rows, B answers, T packed tokens, C tokens of the longest answer, P prompt tokens

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlmtune.backends.pytorch.collate import IGNORED, concatenated
from vlmtune.backends.pytorch.inputs import PromptInputs
from vlmtune.backends.pytorch.model import LoadedModel

PACKED_TOKENS = 8192
"""Most tokens of one packed row; bounds the attention mask, which grows with their square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Answers behind their prompts.

    Attributes:
        inputs: Arguments of the network.
        labels_RT: The token that each place predicts, or `IGNORED`.
        rows_B: Packed row of each answer.
        starts_B: Place there that predicts the answer's first token.
    """

    inputs: Mapping[str, Any]
    labels_RT: torch.Tensor
    rows_B: tuple[int, ...]
    starts_B: tuple[int, ...]

    def unpack(self, values_RT: torch.Tensor, lengths_B: Sequence[int], width: int) -> torch.Tensor:
        """Lay values of places out by answer, [B, C]; 0 behind an answer's end."""
        steps_C = torch.arange(width, device=values_RT.device)
        starts_B1 = torch.tensor(self.starts_B, device=values_RT.device)[:, None]
        lengths_B1 = torch.tensor(list(lengths_B), device=values_RT.device)[:, None]
        inside_BC = steps_C < lengths_B1
        rows_B1 = torch.tensor(self.rows_B, device=values_RT.device)[:, None]
        # Multiplied and not filled: even without any answer the result depends on the weights.
        found_BC = values_RT[rows_B1, ((starts_B1 + steps_C) * inside_BC)]
        return found_BC * inside_BC.to(values_RT.dtype)


@dataclass(frozen=True, slots=True)
class _Row:
    """One packed row: a prompt and places in the list of answers."""

    prompt: int
    answers: list[int]


def can_pack(loaded: LoadedModel) -> bool:
    """Tell whether the network takes a mask of ours: full attention, by a kernel that reads masks.

    Where it does not, every answer gets a row of its own, which needs no mask.
    """
    text = loaded.base.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    reads_masks = loaded.base.config._attn_implementation in ("sdpa", "eager")
    return reads_masks and kinds == {"full_attention"}


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
        answers: Token ids; an empty answer takes part without being scored.
        together: Answers to one prompt share a row; else each has its own.
    """
    rows = _rows(prompts, asked_B, answers, together=together)
    read = [
        _packed_row(loaded, prompts[row.prompt], [answers[a] for a in row.answers]) for row in rows
    ]
    count, width = len(rows), max(len(one.ids) for one in read)
    axes = max(one.positions_AT.shape[0] for one in read)
    ids_RT = torch.full((count, width), loaded.reader.pad_id, dtype=torch.int64)
    labels_RT = torch.full((count, width), IGNORED, dtype=torch.int64)
    blocks_RT = torch.full((count, width), -1, dtype=torch.int64)
    positions_ART = torch.zeros((axes, count, width), dtype=torch.int64)
    places = dict[int, tuple[int, int]]()
    for number, (row, one) in enumerate(zip(rows, read, strict=True)):
        length = len(one.ids)
        ids_RT[number, :length] = torch.tensor(one.ids)
        labels_RT[number, :length] = torch.tensor(one.labels)
        blocks_RT[number, :length] = torch.tensor(one.blocks)
        positions_ART[:, number, :length] = one.positions_AT
        places |= {
            answer: (number, start) for answer, start in zip(row.answers, one.starts, strict=True)
        }
    pictures = concatenated([prompts[row.prompt] for row in rows])
    inputs = {
        "input_ids": ids_RT.to(loaded.device),
        "attention_mask": _mask(blocks_RT, loaded, packed=together).to(loaded.device),
        "position_ids": (positions_ART if axes > 1 else positions_ART[0]).to(loaded.device),
        **{name: value.to(loaded.device) for name, value in pictures.items()},
    }
    return Packed(
        inputs=inputs,
        labels_RT=labels_RT.to(loaded.device),
        rows_B=tuple(places[answer][0] for answer in range(len(answers))),
        starts_B=tuple(places[answer][1] for answer in range(len(answers))),
    )


def _rows(
    prompts: Mapping[int, PromptInputs],
    asked_B: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    together: bool,
) -> list[_Row]:
    rows: list[_Row] = []
    open_rows: dict[int, tuple[_Row, int]] = {}
    for answer, (prompt, ids) in enumerate(zip(asked_B, answers, strict=True)):
        row, length = open_rows.get(prompt, (None, 0))
        if row is None or not together or length + len(ids) > PACKED_TOKENS:
            row, length = _Row(prompt, []), len(prompts[prompt].ids_T)
            rows.append(row)
        row.answers.append(answer)
        open_rows[prompt] = (row, length + len(ids))
    return rows


@dataclass(frozen=True, slots=True)
class _Read:
    """A packed row before it is padded."""

    ids: list[int]
    labels: list[int]
    blocks: list[int]
    positions_AT: torch.Tensor
    starts: list[int]


def _packed_row(
    loaded: LoadedModel, prompt: PromptInputs, answers: Sequence[Sequence[int]]
) -> _Read:
    positions_A1P, after = loaded.positions(prompt)
    positions_AP = positions_A1P.reshape(-1, len(prompt.ids_T)).cpu()
    first = prompt.ids_T[:-1].tolist()
    last = int(prompt.ids_T[-1])
    ids, labels, blocks = list(first), [IGNORED] * len(first), [0] * len(first)
    positions, starts = [positions_AP[:, :-1]], []
    for block, answer in enumerate(answers, start=1):
        starts.append(len(ids))
        if not answer:
            continue
        ids += [last, *answer[:-1]]
        labels += answer
        blocks += [block] * len(answer)
        steps_T = torch.arange(len(answer) - 1) + after
        positions += [positions_AP[:, -1:], steps_T.expand(len(positions_AP), -1)]
    if not any(answers):
        # Nothing is scored, and still the weights take part, as gradients over processes need it.
        ids, labels, blocks = [*ids, last], [*labels, IGNORED], [*blocks, 1]
        positions.append(positions_AP[:, -1:])
    return _Read(ids, labels, blocks, torch.cat(positions, dim=1), starts)


def _mask(blocks_RT: torch.Tensor, loaded: LoadedModel, *, packed: bool) -> torch.Tensor:
    """Say what each place may see: its own block and the prompt, up to itself."""
    if not packed:
        return (blocks_RT >= 0).to(torch.int64)
    width = blocks_RT.shape[1]
    before_TT = torch.ones((width, width), dtype=torch.bool).tril()
    own_RTT = blocks_RT[:, :, None] == blocks_RT[:, None, :]
    sees_R1TT = (before_TT & (own_RTT | (blocks_RT == 0)[:, None, :]))[:, None]
    if loaded.base.config._attn_implementation == "sdpa":
        return sees_R1TT
    dtype = loaded.base.dtype
    hidden_R1TT = torch.zeros(sees_R1TT.shape, dtype=dtype)
    return hidden_R1TT.masked_fill(~sees_R1TT, torch.finfo(dtype).min)
