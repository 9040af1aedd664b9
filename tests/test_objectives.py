import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmtune.objectives import flat_groups, group_advantages


def test_advantages_use_the_sample_standard_deviation() -> None:
    # mean 0.5; squares 4 * 0.25 = 1; sample variance 1/3, standard deviation 0.57735
    found = group_advantages([[1.0, 0.0, 1.0, 0.0]], epsilon=0.0)
    assert found == pytest.approx(np.array([[1, -1, 1, -1]]) * 0.5 / np.sqrt(1 / 3))


def test_epsilon_is_added_to_the_deviation() -> None:
    # mean 0.5, sample deviation sqrt(0.5); 0.5 / (0.70710678 + 0.29289322) = 0.5
    found = group_advantages([[1.0, 0.0]], epsilon=1 - np.sqrt(0.5))
    assert found == pytest.approx(np.array([[0.5, -0.5]]))


def test_a_flat_group_gets_exactly_zero_even_where_the_mean_is_rounded() -> None:
    rewards = [[0.1] * 3, [0.7] * 3]
    assert (np.mean([0.1] * 3) - 0.1) != 0  # rounding is there
    assert group_advantages(rewards, epsilon=0.0, scale="none").tolist() == [[0.0] * 3] * 2
    assert group_advantages(rewards).tolist() == [[0.0] * 3] * 2


def test_batch_scale_divides_all_groups_by_one_deviation() -> None:
    rewards = np.array([[1.0, 0.0], [0.0, 0.0]])
    # mean 0.25; squares 0.5625 + 3 * 0.0625 = 0.75; sample variance 0.25, deviation 0.5
    found = group_advantages(rewards, epsilon=0.0, scale="batch")
    assert found.tolist() == [[1.0, -1.0], [0.0, 0.0]]


def test_no_scale_only_centres() -> None:
    assert group_advantages([[1.0, 0.5]], scale="none").tolist() == [[0.25, -0.25]]


def test_flat_groups_are_found_by_equality() -> None:
    assert flat_groups([[0.0, 0.0], [1.0, 1.0], [1.0, 0.1]]).tolist() == [True, True, False]


@pytest.mark.parametrize("rewards", [[[1.0]], [[]], [1.0, 2.0], np.zeros((0, 4))])
def test_shapes_without_a_group_are_refused(rewards) -> None:
    with pytest.raises(ValueError, match=r"at least 2|shape"):
        group_advantages(rewards)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        group_advantages([[0.0, bad]])
    with pytest.raises(ValueError, match="not finite"):
        flat_groups([[0.0, bad]])


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="group, batch or none"):
        group_advantages([[0.0, 1.0]], scale="rows")


@given(st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=5))
def test_advantages_add_up_to_zero_and_keep_the_order(rows: list[list[float]]) -> None:
    found = group_advantages(rows)
    assert np.isfinite(found).all()
    assert np.abs(found.sum(axis=1)).max() < 1e-9
    for rewards, advantages in zip(rows, found, strict=True):
        order = np.argsort(rewards, kind="stable")
        assert (np.diff(advantages[order]) >= -1e-9).all()
