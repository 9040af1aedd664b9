"""Expected numbers are worked by hand, with the arithmetic beside them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtune.evaluation import metrics
from vlmtune.evaluation.metrics import Paired


def test_wilson_of_eight_in_ten_with_z_2_is_worked_by_hand() -> None:
    # (0.8 + 4/20 -+ 2 sqrt(0.16/10 + 4/400)) / (1 + 4/10) = (1 -+ 2 sqrt(0.026)) / 1.4
    low, high = metrics.wilson(8, 10, z=2.0)
    assert low == pytest.approx((1 - 2 * math.sqrt(0.026)) / 1.4, abs=1e-15)
    assert high == pytest.approx((1 + 2 * math.sqrt(0.026)) / 1.4, abs=1e-15)


def test_wilson_of_nothing_and_of_everything_stays_inside_the_unit_interval() -> None:
    # 0 of n: upper bound z^2 / (n + z^2).
    z2 = metrics.Z_95**2
    assert metrics.wilson(0, 10) == (0.0, pytest.approx(z2 / (10 + z2)))
    assert metrics.wilson(10, 10) == (pytest.approx(10 / (10 + z2)), 1.0)


def test_wilson_at_one_half_is_symmetric() -> None:
    low, high = metrics.wilson(50, 100)
    assert low + high == pytest.approx(1.0, abs=1e-15)
    # 0.5 -+ 1.95996 * sqrt(0.25/100 + 3.8415/40000) / (1 + 3.8415/100) = 0.5 -+ 0.0961685
    assert high == pytest.approx(0.5961685, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share_it_bounds(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    low, high = metrics.wilson(correct, n)
    assert 0.0 <= low <= correct / n <= high <= 1.0


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 4)])
def test_wilson_refuses_what_is_no_share(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        metrics.wilson(correct, n)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 1, 1.0),  # 2 * 1/2
        (0, 5, 2 / 32),
        (1, 5, 2 * (1 + 6) / 64),
        (2, 8, 2 * (1 + 10 + 45) / 1024),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
    ],
)
def test_mcnemar_is_the_exact_binomial_tail_on_both_sides(
    only_a: int, only_b: int, p: float
) -> None:
    paired = Paired(both=7, only_a=only_a, only_b=only_b, neither=1)
    assert metrics.mcnemar(paired) == p


def test_mcnemar_stays_finite_for_thousands_of_rows() -> None:
    paired = Paired(both=0, only_a=1300, only_b=1338, neither=0)
    # Normal approximation with continuity correction: z = 37/sqrt(2638) = 0.72, p = 0.471.
    assert metrics.mcnemar(paired) == pytest.approx(0.471, abs=0.002)


def test_pairs_are_counted_by_who_was_right() -> None:
    a = [True, True, False, False, True]
    b = [True, False, True, False, False]
    paired = metrics.pair(a, b)
    assert (paired.both, paired.only_a, paired.only_b, paired.neither) == (1, 2, 1, 1)
    assert paired.difference == pytest.approx(-0.2)
    with pytest.raises(ValueError, match="shorter"):
        metrics.pair([True], [])


def test_bootstrap_agrees_with_the_normal_interval_on_many_rows() -> None:
    # Differences of -1, 0, 1 with shares .1, .7, .2: variance .3 - .01 = .29 over 2000 rows.
    paired = Paired(both=900, only_a=200, only_b=400, neither=500)
    half = metrics.Z_95 * math.sqrt(0.29 / 2000)
    low, high = metrics.bootstrap_difference([(paired, 1.0)])
    assert low == pytest.approx(0.1 - half, abs=0.002)
    assert high == pytest.approx(0.1 + half, abs=0.002)


def test_bootstrap_is_fixed_by_its_seed() -> None:
    paired = Paired(both=905, only_a=203, only_b=406, neither=506)
    first = metrics.bootstrap_difference([(paired, 1.0)], seed=1)
    assert first == metrics.bootstrap_difference([(paired, 1.0)], seed=1)
    assert first != metrics.bootstrap_difference([(paired, 1.0)], seed=2, resamples=500)


def test_bootstrap_of_answers_that_never_differ_is_a_point() -> None:
    same = Paired(both=6, only_a=0, only_b=0, neither=4)
    always = Paired(both=0, only_a=0, only_b=10, neither=0)
    assert metrics.bootstrap_difference([(same, 1.0)]) == (0.0, 0.0)
    assert metrics.bootstrap_difference([(same, 0.5), (always, 0.5)]) == (0.5, 0.5)


def test_confusion_puts_numbers_by_size_and_the_unreadable_last() -> None:
    table = metrics.confusion([("2", "10"), ("2", ""), ("10", "10"), ("2", "2"), ("2", "10")])
    assert table == {"2": {"2": 1, "10": 2, "": 1}, "10": {"10": 1}}
    assert list(table["2"]) == ["2", "10", ""]
    words = metrics.confusion([("no", "no"), ("yes", "no"), ("yes", "yes")])
    assert list(words) == ["yes", "no"] and list(words["yes"]) == ["yes", "no"]


def test_yes_bias_compares_what_was_said_with_what_is_true_among_readable_answers() -> None:
    pairs = [("yes", "yes"), ("no", "yes"), ("no", "yes"), ("yes", "no"), ("yes", "")]
    assert metrics.yes_bias(pairs) == {"said": 0.75, "gold": 0.5, "bias": 0.25, "n": 4}
    assert metrics.yes_bias([("yes", "")]) is None


def test_roc_counts_ordered_pairs_and_half_of_the_ties() -> None:
    # true .9 .4, false .6 .4: pairs .9>.6, .9>.4, .4<.6, .4=.4 -> (1 + 1 + 0 + 0.5) / 4
    assert metrics.auc_roc([True, True, False, False], [0.9, 0.4, 0.6, 0.4]) == 0.625
    assert metrics.auc_roc([True, True], [0.1, 0.2]) is None


def test_average_precision_is_worked_by_hand() -> None:
    # Ranked .9 T, .6 F, .5 T, .1 F: 1/2 * 1/1 + 1/2 * 2/3
    assert metrics.auc_pr([True, False, True, False], [0.9, 0.6, 0.5, 0.1]) == pytest.approx(5 / 6)
    # Equal scores pass together: precision 1/2 for all the recall.
    assert metrics.auc_pr([True, False, True, False], [0.5] * 4) == 0.5
    assert metrics.auc_pr([False], [0.5]) is None
