"""Which prompts are computed in one pass, on every engine of ours.

prompts of 120, 140, 1900, 100 tokens       passes [120 140], [1900], [100]
"""

from collections.abc import Iterable, Iterator, Sized
from typing import Any, Protocol, TypeVar

PACK_TOKENS = 2048
"""Tokens of one pass, filling included; a longer prompt goes alone. Bounds memory."""


class Inputs(Protocol):
    """A prompt that was read; `ids_T` are its token ids."""

    @property
    def ids_T(self) -> Sized | Any:
        """Token ids, [T]."""
        ...


InputsT = TypeVar("InputsT", bound=Inputs)


def packs(inputs: Iterable[InputsT], *, together: bool) -> Iterator[list[InputsT]]:
    """Cut a stream of prompts, in order, into those that are computed at once.

    Args:
        inputs: Prompts, which are read as they are needed.
        together: Whether the network may compute several at once; if not, each goes alone.

    Yields:
        One or more prompts whose filled-up lengths add up to `PACK_TOKENS` at most.
    """
    pack: list[InputsT] = []
    for one in inputs:
        width = max(len(other.ids_T) for other in [*pack, one])
        if pack and (not together or width * (len(pack) + 1) > PACK_TOKENS):
            yield pack
            pack = []
        pack.append(one)
    if pack:
        yield pack
