"""The order of rows: even, reproducible, bounded in memory, and free of charge for scenes."""

import time

import pytest

from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data.load import load_examples
from vlmtune.data.order import in_random_order, next_source, permuted, shuffled, spread
from vlmtune.types import Stage


def test_a_shuffle_buffer_is_even_when_all_rows_fit() -> None:
    counts = [0] * 4
    for seed in range(2000):
        counts[next(shuffled(iter(range(4)), seed=str(seed), buffer=4))] += 1
    # 500 expected each; five standard deviations are 97.
    assert all(abs(count - 500) < 97 for count in counts)


def test_a_longer_source_is_shuffled_within_a_window_and_loses_no_row() -> None:
    order = list(shuffled(iter(range(100)), seed="s", buffer=10))
    assert sorted(order) == list(range(100))
    assert order != list(range(100))
    # Row i can come out early by at most the buffer: place p holds no row beyond p + 10.
    assert all(row <= place + 10 for place, row in enumerate(order))


def test_heavy_rows_shrink_the_window() -> None:
    order = list(shuffled(iter(range(50)), seed="s", weigh=lambda _: 40, most_bytes=100))
    assert sorted(order) == list(range(50))
    # Two rows of 40 bytes fit into 100, the third makes one leave.
    assert all(row <= place + 2 for place, row in enumerate(order))
    alone = list(shuffled(iter(range(5)), seed="s", weigh=lambda _: 101, most_bytes=100))
    assert sorted(alone) == list(range(5))


@pytest.mark.parametrize("length", [1, 2, 3, 5, 16, 17, 1000])
def test_a_permutation_has_every_row_once(length: int) -> None:
    order = [permuted(place, length=length, seed="s") for place in range(length)]
    assert sorted(order) == list(range(length))


def test_a_permutation_follows_its_seed_and_is_even() -> None:
    first = [permuted(0, length=4, seed=str(seed)) for seed in range(2000)]
    assert all(abs(first.count(row) - 500) < 97 for row in range(4))
    with pytest.raises(IndexError, match="place 4 is not in"):
        permuted(4, length=4, seed="s")


def test_two_billion_rows_are_permuted_by_number() -> None:
    rows = [next(in_random_order(range(2_000_000_000), seed=str(seed))) for seed in range(20)]
    assert len(set(rows)) == 20
    assert max(rows) > 1_000_000_000


def test_turns_follow_the_weights() -> None:
    taken, order = [0, 0], []
    for _ in range(6):
        place = next_source(taken, [2.0, 1.0])
        taken[place] += 1
        order.append(place)
    # 0/2=0/1 -> first; 1/2 > 0/1 -> second; 1/2 < 1/1 -> first; 2/2 = 1/1 -> first; and so on.
    assert order == [0, 1, 0, 0, 1, 0]


def test_numbers_are_spread_evenly() -> None:
    assert spread(0, seed="s") == []
    assert sorted(spread(50, seed="s")) == list(range(50))
    assert spread(50, seed="s") != spread(50, seed="t")


def test_shuffled_scenes_are_drawn_only_as_they_are_used() -> None:
    def ids(**data: object) -> list[str]:
        source = DatasetConfig(name="scenes", options={"kinds": ["count"]})
        settings = DataConfig(datasets=[source], max_samples=6, **data)
        loaded = load_examples(RunConfig(stage=Stage.GRPO, data=settings), verify_images=False)
        return [example.id for example in loaded.examples]

    start = time.process_time()
    found = ids(shuffle=True)
    # A buffer of 10,000 scenes would take half a minute and more.
    assert time.process_time() - start < 5
    assert found == ids(shuffle=True)
    assert ids() == [f"scenes/train/{number:06d}" for number in range(6)]
    assert max(int(name.rpartition("/")[2]) for name in found) > 1_000_000
