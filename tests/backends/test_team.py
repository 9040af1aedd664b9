"""What the processes of a team agree on; here they are threads, which exchange by a list."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from vlmtune.backends.rollouts import Rollout, gathered, roll_out
from vlmtune.backends.team import ALONE, Team, agreed, in_turn, led
from vlmtune.errors import ConfigError, DataError
from vlmtune.language.prompts import build
from vlmtune.types import Completion, Example, Finish, How, Reading, Sampling, Score

PROMPTS = [
    build(Example(id=f"row/{row}", question=f"Question {row}?"), style="direct-v1")
    for row in range(8)
]


class Thread:
    """One of a team of threads."""

    def __init__(self, rank: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.first_here = rank, len(board), rank == 0
        self._board, self._barrier = board, barrier

    def gather(self, value):
        self._board[self.rank] = value
        self._barrier.wait(10)
        found = list(self._board)
        self._barrier.wait(10)
        return found

    def largest(self, number):
        return max(self.gather(number))


def side_by_side(work: Callable[[Team], Any], count: int = 2) -> list[Any]:
    """Run work as every member of a team; what it raises is its result."""
    board: list[Any] = [None] * count
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(rank: int) -> None:
        try:
            results[rank] = work(Thread(rank, board, barrier))
        except (ConfigError, DataError) as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_what_goes_wrong_in_one_is_raised_in_all():
    def work(team: Team) -> str:
        def read() -> str:
            if team.rank == 1:
                raise DataError("row 7 has no answer")
            return "rows"

        return agreed(team, read)

    assert [str(error) for error in side_by_side(work, 3)] == ["row 7 has no answer"] * 3


def test_of_several_errors_all_hear_the_first_process():
    def work(team: Team) -> None:
        def fail() -> None:
            raise ConfigError(f"process {team.rank}")

        agreed(team, fail)

    assert [str(error) for error in side_by_side(work)] == ["process 0"] * 2


def test_the_first_of_a_machine_reads_before_the_others():
    order: list[int] = []

    def work(team: Team) -> int:
        def read() -> int:
            order.append(team.rank)
            return team.rank

        return in_turn(team, read)

    assert side_by_side(work) == [0, 1]
    assert order == [0, 1]


def test_the_first_process_opens_for_all_and_closes_when_all_are_done():
    told: list[str] = []

    @contextmanager
    def folder() -> Iterator[str]:
        told.append("opened")
        yield "outputs/sft"
        told.append("closed")

    def work(team: Team) -> str:
        with led(team, folder) as place:
            told.append(f"{team.rank} in {place}")
        return place

    assert side_by_side(work) == ["outputs/sft"] * 2
    assert (told[0], told[-1]) == ("opened", "closed")
    assert sorted(told[1:-1]) == ["0 in outputs/sft", "1 in outputs/sft"]


def test_a_folder_that_the_first_process_may_not_use_is_nobodys():
    @contextmanager
    def folder() -> Iterator[str]:
        raise ConfigError("output_dir holds something else")
        yield ""

    def work(team: Team) -> None:
        with led(team, folder):
            pytest.fail("nobody may enter")

    assert [str(error) for error in side_by_side(work)] == ["output_dir holds something else"] * 2


def test_one_process_alone_asks_nobody():
    assert agreed(ALONE, lambda: 3) == in_turn(ALONE, lambda: 3) == 3
    assert ALONE.gather("a") == ["a"]
    assert ALONE.largest(2) == 2


class Numbers:
    """A generator whose answers depend on the prompt, the place in the group and the seed."""

    def generate(self, prompts, sampling, *, progress=None):
        return [
            [
                Completion(
                    text=f"{prompt.example_id} {place} {sampling.seed}",
                    token_ids=(7,),
                    logprobs=None,
                    finish=Finish.STOP,
                    seconds=0.0,
                )
                for place in range(sampling.samples)
            ]
            for prompt in prompts
        ]


def grade(prompts, completions):
    """Pay by the place in the group; rows 0, 2, 3 and 5 get the same for everything."""
    return [
        [
            Score(
                value=0.5 if int(prompt.example_id[-1]) in (0, 2, 3, 5) else place / 4,
                parts={"place": place / 4},
                reading=Reading(value=answer.text, how=How.PHRASE),
                why="",
            )
            for place, answer in enumerate(group)
        ]
        for prompt, group in zip(prompts, completions, strict=True)
    ]


def drawn(rows: list[int], team: Team) -> Rollout:
    own = roll_out(
        Numbers(),
        rows,
        PROMPTS,
        grade=grade,
        sampling=Sampling(samples=4, seed=3),
        number=5,
        resample=2,
        team=team,
    )
    return gathered(own, PROMPTS, team=team)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_draw_and_replace_what_one_process_would(count):
    rows = [0, 1, 2, 3]
    alone = drawn(rows, ALONE)
    assert alone.drawn > len(rows)  # flat groups were replaced
    each = len(rows) // count
    shares = side_by_side(
        lambda team: drawn(rows[team.rank * each : (team.rank + 1) * each], team), count
    )
    assert shares == [alone] * count
    assert shares[0].metrics() == alone.metrics()
