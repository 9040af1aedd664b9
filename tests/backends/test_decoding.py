"""Which row decodes when, shown with an engine that counts instead of computing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from vlmtune.backends.decoding import Decoder, score
from vlmtune.types import Finish, Prompt, Sampling

END = 0
START = 100


@dataclass
class Countdown:
    """Counts: after a prompt "n" come n - 1 to 1, then the end."""

    computed: list[str] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    positions: list[list[int]] = field(default_factory=list)
    uniforms: list[float] = field(default_factory=list)

    def prefixes(self, prompts: Sequence[Prompt]) -> Iterator["Counted"]:
        for prompt in prompts:
            self.computed.append(prompt.example_id)
            yield Counted(int(prompt.example_id))

    def refill(self, drawn, keep, joining, uniform_N):
        kept = [drawn[index] for index in keep]
        self.uniforms += uniform_N.tolist()
        assert len(uniform_N) == sum(count for _, count in joining)
        return kept + [prefix.first - 1 for prefix, count in joining for _ in range(count)]

    def step(self, drawn, positions_B, uniform_B):
        assert len(drawn) == len(positions_B) == len(uniform_B)
        self.widths.append(len(drawn))
        self.positions.append(positions_B.tolist())
        return [max(END, token - 1) for token in drawn]

    def read(self, drawn):
        return drawn, [-float(token) for token in drawn]


@dataclass(frozen=True)
class Counted:
    """What is known of a prompt: where its count starts."""

    first: int
    next_position: int = START


def prompt(number: int) -> Prompt:
    message = {"role": "user", "content": str(number)}
    return Prompt(messages=(message,), images=(), example_id=str(number), style="plain")


def decoder(engine: Countdown, *, batch_rows: int) -> Decoder:
    return Decoder(
        engine=engine,
        batch_rows=batch_rows,
        end_ids=frozenset({END}),
        text=lambda ids: " ".join(map(str, ids)),
    )


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 16])
def test_answers_do_not_depend_on_who_sits_beside_them(batch_rows):
    engine = Countdown()
    numbers = [7, 2, 9, 1, 4]
    groups = decoder(engine, batch_rows=batch_rows).generate(
        [prompt(number) for number in numbers], Sampling(samples=2, max_tokens=20)
    )
    for number, group in zip(numbers, groups, strict=True):
        expected = tuple(range(number - 1, -1, -1))
        assert [one.token_ids for one in group] == [expected] * 2
        assert group[0].logprobs == tuple(-float(token) for token in expected)
        assert group[0].finish is Finish.STOP
        assert group[0].text == " ".join(map(str, expected))
    assert engine.computed == ["7", "2", "9", "1", "4"]
    assert max(engine.widths) <= batch_rows


def test_rows_that_wait_take_the_place_of_those_that_ended():
    engine = Countdown()
    decoder(engine, batch_rows=2).generate(
        [prompt(6), prompt(3), prompt(3), prompt(5)], Sampling(samples=1, max_tokens=20)
    )
    # 6 tokens beside 3 and 3 more, then 5: at most one row is idle, and only at the very end.
    assert sum(engine.widths) <= 2 * (6 + 5)
    assert engine.widths[:3] == [2, 2, 2]


def test_a_row_goes_on_where_its_prompt_ends():
    engine = Countdown()
    decoder(engine, batch_rows=4).generate([prompt(4)], Sampling(samples=1, max_tokens=20))
    assert engine.positions[:3] == [[START], [START + 1], [START + 2]]


def test_an_answer_that_does_not_end_is_cut():
    (group,) = decoder(Countdown(), batch_rows=4).generate(
        [prompt(9)], Sampling(samples=1, max_tokens=3)
    )
    assert group[0].token_ids == (8, 7, 6)
    assert group[0].finish is Finish.LENGTH


def test_greedy_answers_are_decoded_once_and_copied():
    engine, told = Countdown(), []
    groups = decoder(engine, batch_rows=8).generate(
        [prompt(3), prompt(3)],
        Sampling(samples=4, max_tokens=9, temperature=0.0),
        progress=told.append,
    )
    assert [len(group) for group in groups] == [4, 4]
    assert max(engine.widths) == 2 and engine.computed == ["3"]
    assert sum(told) == 8


def test_draws_of_two_samples_have_numbers_of_their_own():
    engine = Countdown()
    decoder(engine, batch_rows=8).generate([prompt(3)], Sampling(samples=3, max_tokens=9, seed=5))
    assert len(set(engine.uniforms)) == 3
    assert all(0 <= one < 1 for one in engine.uniforms)


def test_targets_are_scored_in_the_order_they_were_asked():
    engine, widths = Countdown(), []

    def several(prefix, targets):
        widths.append(len(targets))
        return [tuple(prefix.first * float(token) for token in target) for target in targets]

    found = score(
        [prompt(2), prompt(3), prompt(2), prompt(2)],
        [(1,), (1, 2), (5,), (7, 8)],
        prefixes=engine.prefixes,
        several=several,
        batch_rows=2,
    )
    assert found == [(2.0,), (3.0, 6.0), (10.0,), (14.0, 16.0)]
    assert engine.computed == ["2", "3"]
    assert widths == [2, 1, 1]


def test_nothing_asked_is_nothing_answered():
    assert decoder(Countdown(), batch_rows=2).generate([], Sampling()) == []
    assert np.array(score([], [], prefixes=iter, several=lambda *_: [], batch_rows=1)).size == 0
