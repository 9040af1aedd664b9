"""May this network compute several prompts in one pass? Tried on three small ones, not looked up.

Filling up shorter prompts is right where every token sees the earlier ones only, where pictures are
encoded apart from each other, and where the pass leaves nothing behind. Families exist that break
each of these, so the network itself is asked: the same prompts alone and together must give the
same numbers.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import PIL.Image

from vlmtune.types import JSON, ModelInfo, Prompt

TOLERANCE: Mapping[str, float] = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.1}
"""Largest error, as a share of the numbers' length. Rounding alone stays a tenth of it or less."""
PrefixT = TypeVar("PrefixT")
Numbers = Sequence[npt.NDArray[np.float32]]


class Network(Protocol[PrefixT]):
    """A loaded model that computes prompts."""

    @property
    def info(self) -> ModelInfo:
        """What was loaded."""
        ...

    @property
    def reader(self) -> Any:
        """Reads a Prompt."""
        ...

    def prefill(self, inputs: Any) -> PrefixT:
        """Compute a prompt."""
        ...

    def prefill_together(self, several: Sequence[Any]) -> list[PrefixT]:
        """Compute several in one pass."""
        ...


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


def go_together(
    network: Network[PrefixT], *, numbers: Callable[[PrefixT], Numbers], precision: str
) -> bool:
    """Compute three unlike prompts alone and together, and compare.

    Args:
        network: Who is asked.
        numbers: A computed prompt -> its logits, keys and values, and where it ends.
        precision: What it computes in: float32, float16 or bfloat16.

    Returns:
        Whether the numbers agree up to rounding; if not, a warning says so.
    """
    inputs = [network.reader.read(prompt) for prompt in _probes()]
    alone = [network.prefill(one) for one in inputs]
    try:
        errors = [
            _error(numbers(one), numbers(other))
            for one, other in zip(alone, network.prefill_together(inputs), strict=True)
        ]
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        _warn(network, f"it stops with {type(error).__name__}: {error}")
        return False
    worst, allowed = max(errors), TOLERANCE[precision]
    if worst <= allowed:
        return True
    _warn(network, f"numbers differ by {worst:.1e} of their size, {allowed:.0e} is rounding")
    return False


def _warn(network: Network[Any], reason: str) -> None:
    logging.getLogger("vlmtune").warning(
        f"{network.info.architecture} cannot compute prompts side by side ({reason}); "
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


def _error(one: Numbers, other: Numbers) -> float:
    """Relative distance of two computed prompts: the largest of all their numbers."""
    return max(_distance(mine, theirs) for mine, theirs in zip(one, other, strict=True))


def _distance(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    """||one - other|| / ||one||; infinite where shapes differ or a number is none."""
    if one.shape != other.shape:
        return float("inf")
    share = float(np.linalg.norm(one - other) / np.linalg.norm(one))
    return share if np.isfinite(share) else float("inf")
