"""Which rows make which update."""

from collections import Counter

import pytest

from vlmtune.backends.order import Passes, pass_order, total_updates

FIVE = Passes(rows=5, batch_size=2, accumulation=2, seed=3)


def test_a_pass_takes_every_row_once_in_an_order_of_its_own():
    orders = [tuple(pass_order(40, seed=3, number=number)) for number in range(3)]
    assert all(sorted(order) == list(range(40)) for order in orders)
    assert len(set(orders)) == 3


def test_the_order_is_the_seeds_and_stays():
    assert pass_order(6, seed=0, number=0).tolist() == pass_order(6, seed=0, number=0).tolist()
    assert pass_order(40, seed=0, number=0).tolist() != pass_order(40, seed=1, number=0).tolist()


def test_the_last_update_of_a_pass_takes_what_is_left():
    assert (FIVE.batches_per_pass, FIVE.updates_per_pass) == (3, 2)
    sizes = [[len(batch) for batch in FIVE.batches(update)] for update in range(4)]
    assert sizes == [[2, 2], [1], [2, 2], [1]]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_updates_of_a_pass_take_every_row_once(number):
    found = Counter(
        row
        for update in (2 * number, 2 * number + 1)
        for batch in FIVE.batches(update)
        for row in batch
    )
    assert found == Counter(range(5))


def test_passes_are_counted_by_batches():
    assert [FIVE.passed(updates) for updates in range(4)] == pytest.approx([0, 2 / 3, 1, 5 / 3])


def test_updates_are_those_of_the_passes_unless_a_number_is_set():
    assert total_updates(per_pass=3, passes=1.5, most=None) == 5
    assert total_updates(per_pass=3, passes=1.5, most=2) == 2


def test_fewer_rows_than_a_batch_make_one_update():
    alone = Passes(rows=1, batch_size=4, accumulation=3, seed=0)
    assert alone.updates_per_pass == 1 and alone.batches(1) == [[0]]
