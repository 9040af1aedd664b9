"""Keys and values of many rows side by side, right-aligned, so that one step serves them all.

    row 0   . . p p p p a a a      a prompt of 4 tokens and 3 answer tokens
    row 1   p p p p p p a a a      a prompt of 6; `starts` is [2, 0]

A prompt is computed once; its rows get copies of its keys and values. Rows leave and join only in
`rebuild`, which copies what stays.
"""

# B rows, H key heads, T tokens so far, D values per head

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as functional
import transformers

Layers: TypeAlias = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, [B, H, T, D]."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A computed prompt.

    Attributes:
        layers: Its keys and values, one row.
        logits_V: Logits of the first answer token, float32 [vocabulary].
        next_position: Rotary position of the first answer token.
    """

    layers: Layers
    logits_V: torch.Tensor
    next_position: int

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return int(self.layers[0][0].shape[2])


def expanded(layers: Layers, count: int) -> Layers:
    """Show a single row `count` times, without copying it."""
    return [
        (keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1))
        for keys, values in layers
    ]


def to_cache(layers: Layers) -> Any:
    """Put keys and values in the form that transformers' attention calls."""
    return transformers.DynamicCache(layers)


class RowCache:
    """All layers' caches for a changing set of rows.

    Attributes:
        cache: What the network appends to.
        starts_B: First token of each row that is not padding, int64 [B].
    """

    def __init__(self) -> None:
        self.cache: Any = None
        self.starts_B = torch.zeros(0, dtype=torch.int64)

    @property
    def length(self) -> int:
        """Tokens held, padding included."""
        return 0 if self.cache is None else int(self.cache.get_seq_length())

    def mask(self, device: str) -> torch.Tensor | None:
        """Mark what the next token may see, int64 [B, T + 1]; None when nothing is padding."""
        if not self.starts_B.any():
            return None
        places_T = torch.arange(self.length + 1)
        return (places_T[None, :] >= self.starts_B[:, None]).to(torch.int64).to(device)

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
        starts += [
            torch.full((count,), target - prefix.length, dtype=torch.int64)
            for prefix, count in joining
        ]
        layer_count = len(joining[0][0].layers) if joining else len(self.cache.layers)
        self.cache = to_cache(
            [
                self._rebuilt(index, list(keep), unused, joining, target)
                for index in range(layer_count)
            ]
        )
        self.starts_B = torch.cat(starts)

    def _rebuilt(
        self,
        index: int,
        keep: list[int],
        unused: int,
        joining: Sequence[tuple[Prefix, int]],
        target: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        parts: Layers = []
        if keep:
            old = self.cache.layers[index]
            parts.append((old.keys[keep, :, unused:], old.values[keep, :, unused:]))
        for prefix, count in joining:
            parts += expanded(prefix.layers[index : index + 1], count)
        keys, values = zip(*parts, strict=True)
        return _aligned(keys, target), _aligned(values, target)


def _aligned(parts: Sequence[torch.Tensor], target: int) -> torch.Tensor:
    return torch.cat([functional.pad(part, (0, 0, target - part.shape[2], 0)) for part in parts])
