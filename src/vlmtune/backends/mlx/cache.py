"""Keys and values of many rows side by side, right-aligned, so that one step serves them all.

    row 0   . . p p p p a a a      a prompt of 4 tokens and 3 answer tokens
    row 1   p p p p p p a a a      a prompt of 6; `starts` is [2, 0]

A prompt is computed once; its rows get copies of its keys and values. Rows leave and join only in
`rebuild`, which copies what stays into fresh buffers.
"""

# B rows, H key heads, T tokens so far, D values per head

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import numpy.typing as npt

GROWTH = 64
"""Tokens by which the buffers grow; a larger step copies less often and wastes more memory."""


class LayerCache:
    """Keys and values of one layer, in the form that mlx-vlm's attention calls."""

    def __init__(
        self, keys: mx.array | None = None, values: mx.array | None = None, *, length: int = 0
    ) -> None:
        self.keys = keys
        self.values = values
        self.length = length

    @property
    def offset(self) -> int:
        """Tokens held, padding included."""
        return self.length

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append new tokens [B, H, n, D] and return everything held, [B, H, T + n, D]."""
        if self.keys is None or self.values is None:
            self.keys, self.values, self.length = keys, values, keys.shape[2]
            return keys, values
        end = self.length + keys.shape[2]
        short = end - self.keys.shape[2]
        if short > 0:
            room = [(0, 0), (0, 0), (0, max(short, GROWTH)), (0, 0)]
            self.keys, self.values = mx.pad(self.keys, room), mx.pad(self.values, room)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def rows(self, count: int) -> "LayerCache":
        """Copy a single row `count` times."""
        assert self.keys is not None and self.values is not None
        return LayerCache(
            mx.repeat(self.keys, count, axis=0),
            mx.repeat(self.values, count, axis=0),
            length=self.length,
        )

    def row(self, index: int, *, length: int) -> "LayerCache":
        """Take the first `length` tokens of one row."""
        assert self.keys is not None and self.values is not None
        part = (slice(index, index + 1), slice(None), slice(length))
        return LayerCache(self.keys[part], self.values[part], length=length)


@dataclass(frozen=True, slots=True)
class Prefix:
    """A computed prompt.

    Attributes:
        layers: Its keys and values, one row.
        logits_V: Logits of the first answer token, float32 [vocabulary].
        next_position: Rotary position of the first answer token.
    """

    layers: list[LayerCache]
    logits_V: mx.array
    next_position: int

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return self.layers[0].length


class RowCache:
    """All layers' caches for a changing set of rows."""

    def __init__(self) -> None:
        self.layers: list[LayerCache] = []
        self.starts_B: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    @property
    def length(self) -> int:
        """Tokens held, padding included."""
        return self.layers[0].length if self.layers else 0

    def mask(self) -> mx.array | None:
        """Mark what the next token may see, bool [B, 1, 1, T + 1]; None when nothing is padding."""
        if not self.starts_B.any():
            return None
        starts_B = mx.array(self.starts_B)[:, None, None, None]
        return mx.arange(self.length + 1)[None, None, None, :] >= starts_B

    def rebuild(self, keep: Sequence[int], joining: Sequence[tuple[Prefix, int]]) -> None:
        """Drop rows and add new ones, in that order, with as little padding as possible.

        Args:
            keep: Rows that stay, by index.
            joining: Computed prompts with the number of rows that each gets.
        """
        kept_B = self.starts_B[list(keep)]
        unused = int(kept_B.min()) if len(kept_B) else self.length
        lengths = [self.length - unused] + [prefix.length for prefix, _ in joining]
        target = max(lengths)
        starts = [kept_B - unused + (target - lengths[0])]
        starts += [np.full(count, target - prefix.length) for prefix, count in joining]
        layer_count = len(self.layers) or len(joining[0][0].layers)
        self.layers = [
            self._rebuilt_layer(index, keep, unused, joining, target)
            for index in range(layer_count)
        ]
        self.starts_B = np.concatenate(starts)

    def _rebuilt_layer(
        self,
        index: int,
        keep: Sequence[int],
        unused: int,
        joining: Sequence[tuple[Prefix, int]],
        target: int,
    ) -> LayerCache:
        parts: list[tuple[mx.array, mx.array]] = []
        if len(keep):
            old, rows = self.layers[index], mx.array(list(keep))
            assert old.keys is not None and old.values is not None
            held = slice(unused, old.length)
            parts.append((old.keys[:, :, held][rows], old.values[:, :, held][rows]))
        for prefix, count in joining:
            new = prefix.layers[index].rows(count)
            assert new.keys is not None and new.values is not None
            parts.append((new.keys, new.values))
        keys, values = (
            mx.concatenate([_aligned(part[side], target) for part in parts]) for side in (0, 1)
        )
        return LayerCache(keys, values, length=target)


def _aligned(states: mx.array, target: int) -> mx.array:
    missing = target - states.shape[2]
    return mx.pad(states, [(0, 0), (0, 0), (missing, GROWTH), (0, 0)])
