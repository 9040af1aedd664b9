"""Processes that train together, as everything that needs no engine sees them.

    team.rank, team.size       0 of 1 where a process trains alone
    agreed(team, work)         all do the same work; what goes wrong in one is raised in all
    in_turn(team, work)        the same, the first of each machine ahead of the others
    led(team, opened)          the first opens something for all, such as the run's folder

An engine that trains with several processes hands out a `Team` of its own; `ALONE` is everybody
else's.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vlmtune.errors import VlmtuneError

T = TypeVar("T")


class Team(Protocol):
    """What a process can say to the others."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    @property
    def first_here(self) -> bool:
        """Whether this is the first process of its machine."""
        ...

    def gather(self, value: T) -> list[T]:
        """Exchange a value for those of all, in the order of their ranks."""
        ...

    def largest(self, number: int) -> int:
        """Exchange a number for the largest of all; quick enough for every update."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """A team of one."""

    rank: int = 0
    size: int = 1
    first_here: bool = True

    def gather(self, value: T) -> list[T]:
        """Hand the value back."""
        return [value]

    def largest(self, number: int) -> int:
        """Hand the number back."""
        return number


ALONE = Alone()


def agreed(team: Team, work: Callable[[], T]) -> T:
    """Do in every process what all of them do, and find out whether all could.

    Args:
        team: Those who do it.
        work: The same in all of them.

    Raises:
        VlmtuneError: What the first process that failed says, in all of them.
    """
    if team.size == 1:
        return work()
    error: VlmtuneError | None = None
    found: T | None = None
    try:
        found = work()
    except VlmtuneError as caught:
        error = caught
    first = next((told for told in team.gather(error) if told is not None), None)
    if first is not None:
        raise first
    return found  # type: ignore[return-value]


def in_turn(team: Team, work: Callable[[], T]) -> T:
    """Let the first process of each machine go ahead, so that the others find its caches filled.

    Raises:
        VlmtuneError: What went wrong in one of them, in all.
    """
    if team.size == 1:
        return work()
    found = agreed(team, lambda: work() if team.first_here else None)
    return agreed(team, lambda: work() if found is None else found)


@contextmanager
def led(team: Team, opened: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """Let the first process open something for all; it is closed when all are done with it.

    Args:
        team: Who shares it.
        opened: Called in the first process; its value can be pickled.

    Raises:
        VlmtuneError: What went wrong there, in all of them.
    """
    with ExitStack() as stack:
        own = agreed(team, lambda: stack.enter_context(opened()) if team.rank == 0 else None)
        shared = team.gather(own)[0]
        assert shared is not None
        yield shared
        team.gather(None)
