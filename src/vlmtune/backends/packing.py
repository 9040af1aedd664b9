"""Lay the answers of a group behind their prompt, which is written, and computed, once.

    ids         p0 p1 p2 | p3 a0 a1 | p3 b0        prompt p, answers a (a0 a1 a2) and b (b0 b1)
    labels       .  .  . | a0 a1 a2 | b0 b1        what each place predicts
    position     0  1  2 |  3  4  5 |  3  4
    block        0  0  0 |  1  1  1 |  2  2
    sees         its block and what stands before the first bar, never another answer

The last token of the prompt opens every block, because each answer's first token is predicted from
it. Both engines run these rows; what a place sees and where it stands is decided here alone.
"""

# R packed rows, B answers, T packed tokens, A axes of a position, P prompt tokens

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IGNORED = -100
"""Label of a place without a loss."""
PACKED_TOKENS = 8192
"""Most tokens of one packed row; bounds the attention mask, which grows with their square."""
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A prompt as numbers.

    Attributes:
        ids_P: Token ids, int64 [P].
        positions_AP: Rotary positions, int64 [A, P].
        after: Position of the token that follows the prompt.
    """

    ids_P: Integers
    positions_AP: Integers
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Answers behind their prompts, as numbers.

    Attributes:
        ids_RT: Token ids, int64 [R, T].
        labels_RT: The token that each place predicts, or `IGNORED`, int64 [R, T].
        blocks_RT: 0 in a prompt, the answer's number in an answer, -1 in the filling, int64 [R, T].
        positions_ART: Rotary positions, int64 [A, R, T].
        prompts_R: Key of each row's prompt.
        rows_B: Row of each answer.
        starts_B: Place there that predicts the answer's first token.
        lengths_B: Tokens of each answer.
    """

    ids_RT: Integers
    labels_RT: Integers
    blocks_RT: Integers
    positions_ART: Integers
    prompts_R: tuple[int, ...]
    rows_B: tuple[int, ...]
    starts_B: tuple[int, ...]
    lengths_B: tuple[int, ...]

    def sees_RTT(self) -> npt.NDArray[np.bool_]:
        """Say what each place may see: its own block and the prompt, up to itself."""
        width = self.blocks_RT.shape[1]
        before_TT = np.tri(width, dtype=np.bool_)
        own_RTT = self.blocks_RT[:, :, None] == self.blocks_RT[:, None, :]
        seen: npt.NDArray[np.bool_] = before_TT & (own_RTT | (self.blocks_RT == 0)[:, None, :])
        return seen


def pack(
    prompts: Mapping[int, Numbered],
    asked_B: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    filling: int = 0,
    together: bool = True,
) -> Packing:
    """Write answers behind their prompts.

    Args:
        prompts: What was asked, by key.
        asked_B: Key of each answer's prompt.
        answers: Token ids; an empty answer takes part without being scored.
        filling: Id behind a row's end.
        together: Answers to one prompt share a row; else each has its own.
    """
    rows = _rows(prompts, asked_B, answers, together=together)
    written = [_written(prompts[row.prompt], [answers[a] for a in row.answers]) for row in rows]
    shape = (len(rows), max(len(one.ids) for one in written))
    axes = max(len(one.positions_AT) for one in written)
    ids_RT = np.full(shape, filling, dtype=np.int64)
    labels_RT = np.full(shape, IGNORED, dtype=np.int64)
    blocks_RT = np.full(shape, -1, dtype=np.int64)
    positions_ART = np.zeros((axes, *shape), dtype=np.int64)
    places = dict[int, tuple[int, int]]()
    for number, (row, one) in enumerate(zip(rows, written, strict=True)):
        length = len(one.ids)
        ids_RT[number, :length] = one.ids
        labels_RT[number, :length] = one.labels
        blocks_RT[number, :length] = one.blocks
        positions_ART[:, number, :length] = one.positions_AT
        places |= {
            answer: (number, start) for answer, start in zip(row.answers, one.starts, strict=True)
        }
    return Packing(
        ids_RT=ids_RT,
        labels_RT=labels_RT,
        blocks_RT=blocks_RT,
        positions_ART=positions_ART,
        prompts_R=tuple(row.prompt for row in rows),
        rows_B=tuple(places[answer][0] for answer in range(len(answers))),
        starts_B=tuple(places[answer][1] for answer in range(len(answers))),
        lengths_B=tuple(map(len, answers)),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """One packed row: a prompt and places in the list of answers."""

    prompt: int
    answers: list[int]


def _rows(
    prompts: Mapping[int, Numbered],
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
            row, length = _Row(prompt, []), len(prompts[prompt].ids_P)
            rows.append(row)
        row.answers.append(answer)
        open_rows[prompt] = (row, length + len(ids))
    return rows


@dataclass(frozen=True, slots=True)
class _Written:
    """A packed row before it is filled up."""

    ids: list[int]
    labels: list[int]
    blocks: list[int]
    positions_AT: Integers
    starts: list[int]


def _written(prompt: Numbered, answers: Sequence[Sequence[int]]) -> _Written:
    ids: list[int] = prompt.ids_P[:-1].tolist()
    last = int(prompt.ids_P[-1])
    labels, blocks = [IGNORED] * len(ids), [0] * len(ids)
    positions, starts = [prompt.positions_AP[:, :-1]], []
    for block, answer in enumerate(answers, start=1):
        starts.append(len(ids))
        if not answer:
            continue
        ids += [last, *answer[:-1]]
        labels += answer
        blocks += [block] * len(answer)
        steps_T = np.arange(len(answer) - 1) + prompt.after
        axes = len(prompt.positions_AP)
        positions += [prompt.positions_AP[:, -1:], np.broadcast_to(steps_T, (axes, len(steps_T)))]
    if not any(answers):
        # Nothing is scored, and still the weights take part, as gradients over processes need it.
        ids, labels, blocks = [*ids, last], [*labels, IGNORED], [*blocks, 1]
        positions.append(prompt.positions_AP[:, -1:])
    return _Written(ids, labels, blocks, np.concatenate(positions, axis=1), starts)
