"""The order of rows: shuffled, permuted by number, or drawn from several sources by weight.

Everything here depends on its seed alone, so that an order is the same on every machine.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Row = TypeVar("Row")

SHUFFLE_BUFFER = 10_000
"""Rows held while shuffling."""
SHUFFLE_BYTES = 256 * 1024 * 1024
"""Bytes of pictures held while shuffling: rows that bring theirs along get a smaller window."""

_ROUNDS = 4


def shuffled(
    rows: Iterator[Row],
    *,
    seed: str,
    buffer: int = SHUFFLE_BUFFER,
    weigh: Callable[[Row], int] | None = None,
    most_bytes: int = SHUFFLE_BYTES,
) -> Iterator[Row]:
    """Shuffle rows through a buffer; even for a source that fits it, windowed beyond.

    Args:
        rows: The rows.
        seed: Fixes the order, on every machine and Python version.
        buffer: Rows held, >= 1.
        weigh: Bytes that a row keeps in memory besides its texts; without it none.
        most_bytes: The buffer is full as well when its rows weigh more.
    """
    # Only random() is promised to stay the same across Python versions; randrange() is not.
    draw = random.Random(seed)
    held: list[Row] = []
    weight = 0
    for row in rows:
        held.append(row)
        weight += weigh(row) if weigh else 0
        while len(held) > buffer or (weight > most_bytes and len(held) > 1):
            leaving = _draw(held, draw)
            weight -= weigh(leaving) if weigh else 0
            yield leaving
    while held:
        yield _draw(held, draw)


def permuted(place: int, *, length: int, seed: str) -> int:
    """Give the row that stands at `place` when `length` rows are shuffled, without shuffling them.

    Args:
        place: 0..length-1.
        length: Rows, >= 1; two billion cost no more than two.
        seed: Fixes the order.

    Returns:
        A row's number; different places give different rows.

    Raises:
        IndexError: If place is not in 0..length-1.

    Source: Luby and Rackoff 1988, "How to construct pseudorandom permutations from pseudorandom
    functions": four rounds. Numbers beyond `length` are permuted again until they are inside.
    """
    if not 0 <= place < length:
        raise IndexError(f"place {place} is not in 0..{length - 1}")
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    number = place
    while True:
        left, right = number >> half, number & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_code(f"{seed} {turn} {right}") & mask)
        number = (left << half) | right
        if number < length:
            return number


def in_random_order(table: Sequence[Row], *, seed: str) -> Iterator[Row]:
    """Yield the rows of an index-addressable table in a shuffled order, computing each when asked.

    Args:
        table: Anything with a length and rows by number.
        seed: Fixes the order.
    """
    length = len(table)
    return (table[permuted(place, length=length, seed=seed)] for place in range(length))


def next_source(taken: Sequence[int], weights: Sequence[float]) -> int:
    """Choose the source whose turn it is: the one that has had the least for its weight.

    Args:
        taken: Rows taken from each source that still has some.
        weights: Their weights, > 0. Equal weights give strict turns.

    Returns:
        The place in `taken`; of several, the first.
    """
    return min(range(len(taken)), key=lambda place: (taken[place] / weights[place], place))


def spread(count: int, *, seed: str) -> list[int]:
    """Shuffle the numbers 0..count-1 evenly."""
    return list(itertools.islice(shuffled(iter(range(count)), seed=seed, buffer=count or 1), count))


def _draw(held: list[Row], draw: random.Random) -> Row:
    place = int(draw.random() * len(held))
    held[place], held[-1] = held[-1], held[place]
    return held.pop()


def _code(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
