"""May this network compute several prompts in one pass? Tried on three small ones, not looked up.

Filling up shorter prompts is right where every token sees the earlier ones only, where pictures are
encoded apart from each other, and where the pass leaves nothing behind. Families exist that break
each of these, so the network itself is asked: the same prompts alone and together must give the
same numbers.
"""

import logging
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
import PIL.Image

from vlmtune.backends.mlx.cache import Prefix
from vlmtune.backends.mlx.model import LoadedModel
from vlmtune.types import JSON, Prompt

TOLERANCE = {mx.float32: 1e-4, mx.float16: 0.02, mx.bfloat16: 0.1}
"""Largest error, as a share of the numbers' length. Rounding alone stays a tenth of it or less."""


@dataclass(frozen=True, slots=True)
class _Gradient:
    """A picture that needs no file; no two of its patches are alike."""

    size: tuple[int, int]

    @property
    def name(self) -> str:
        """What an error message would call it."""
        return f"probe {self.size[0]} x {self.size[1]}"

    def open(self) -> PIL.Image.Image:
        """Draw it, mode RGB."""
        width, height = self.size
        rows, columns = np.mgrid[:height, :width]
        bands = np.stack([rows * 3, columns * 2, (rows + columns) * 5], axis=-1)
        return PIL.Image.fromarray((bands % 256).astype(np.uint8))


def go_together(loaded: LoadedModel) -> bool:
    """Compute three unlike prompts alone and together, and compare.

    Args:
        loaded: The network.

    Returns:
        Whether logits, keys and values agree up to rounding; if not, a warning says so.
    """
    inputs = [loaded.reader.read(prompt) for prompt in _probes()]
    alone = [loaded.prefill(one) for one in inputs]
    try:
        errors = [
            _error(one, other)
            for one, other in zip(alone, loaded.prefill_together(inputs), strict=True)
        ]
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        _warn(loaded, f"it stops with {type(error).__name__}: {error}")
        return False
    worst, allowed = max(errors), TOLERANCE[_state(alone[0]).dtype]
    if worst <= allowed:
        return True
    _warn(loaded, f"numbers differ by {worst:.1e} of their size, {allowed:.0e} is rounding")
    return False


def _warn(loaded: LoadedModel, reason: str) -> None:
    logging.getLogger("vlmtune").warning(
        f"{loaded.info.architecture} cannot compute prompts side by side ({reason}); "
        "they are computed one by one, which is slower and gives the same answers"
    )


def _probes() -> list[Prompt]:
    wide, tall = _Gradient((140, 70)), _Gradient((60, 120))
    return [
        _prompt("Which is more, two or five?", ()),
        _prompt("What is on the left side of this picture, and what is on the right?", (wide,)),
        _prompt("How many?", (tall,)),
    ]


def _prompt(question: str, images: tuple[_Gradient, ...]) -> Prompt:
    parts: list[JSON] = [{"type": "image"} for _ in images]
    messages: tuple[dict[str, JSON], ...] = (
        # Long enough that the common beginning is computed apart, as it is for real questions.
        {
            "role": "system",
            "content": [{"type": "text", "text": "Look first, then answer briefly."}],
        },
        {"role": "user", "content": [*parts, {"type": "text", "text": question}]},
    )
    return Prompt(example_id="probe", messages=messages, images=images, style="raw")


def _state(prefix: Prefix) -> mx.array:
    keys = prefix.layers[0].keys
    assert keys is not None
    return keys


def _error(one: Prefix, other: Prefix) -> float:
    """Relative distance of two computed prompts: the largest of logits, keys and values."""
    if one.length != other.length or one.next_position != other.next_position:
        return float("inf")
    pairs = [(one.logits_V, other.logits_V)]
    for mine, theirs in zip(one.layers, other.layers, strict=True):
        assert mine.keys is not None and mine.values is not None
        assert theirs.keys is not None and theirs.values is not None
        pairs += [(mine.keys, theirs.keys), (mine.values, theirs.values)]
    return max(_distance(mine, theirs) for mine, theirs in pairs)


def _distance(one: mx.array, other: mx.array) -> float:
    """||one - other|| / ||one||; infinite where a number is none."""
    one, other = one.astype(mx.float32), other.astype(mx.float32)
    share = float(mx.sqrt(mx.square(one - other).sum() / mx.square(one).sum()))
    return share if np.isfinite(share) else float("inf")
