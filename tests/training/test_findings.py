import numpy as np
import pytest

from vlmtune.training.findings import (
    Check,
    Status,
    clustered_share,
    judged,
    listed,
    percent,
    share,
    worst,
)


def checks(*statuses: Status) -> list[Check]:
    return [Check(name="any", status=status, detail="") for status in statuses]


def test_the_worst_check_decides() -> None:
    assert worst(checks(Status.PASS, Status.PASS)) is Status.PASS
    assert worst(checks(Status.PASS, Status.WARN)) is Status.WARN
    assert worst(checks(Status.WARN, Status.FAIL, Status.PASS)) is Status.FAIL


def test_a_remedy_is_said_only_when_something_is_wrong() -> None:
    assert judged("rows", "all there", remedy="add some").detail == "all there"
    assert judged("rows", "none", fail=True, remedy="add some").detail == "none; add some"
    assert judged("rows", "few", warn=True, fail=False).status is Status.WARN


def test_a_share_of_ten_has_wilsons_interval() -> None:
    # Wilson 1927 for 5 of 10 at z = 1.96: 0.5 -+ 0.26343 after shrinking.
    found = share(5, 10)
    assert (found.low, found.high) == pytest.approx((0.23659, 0.76341), abs=1e-4)


def test_groups_that_agree_within_themselves_count_as_prompts() -> None:
    # Four prompts, each all right or all wrong: 32 answers say as much as 4.
    hits = np.repeat([[True], [True], [False], [False]], 8, axis=1)
    found, four = clustered_share(hits), share(2, 4)
    assert found.n == 32
    assert (found.low, found.high) == pytest.approx((four.low, four.high))


def test_groups_that_are_all_alike_count_as_answers() -> None:
    hits = np.tile([True, True, False, False], (4, 1))
    found, sixteen = clustered_share(hits), share(8, 16)
    assert (found.low, found.high) == pytest.approx((sixteen.low, sixteen.high))


def test_an_interval_is_wide_where_nothing_varied() -> None:
    # All wrong: how alike answers to one prompt are is unknown, so prompts are counted.
    found = clustered_share(np.zeros((5, 8), dtype=bool))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(share(0, 5).high)


def test_percent_never_rounds_to_nothing_or_all() -> None:
    said = [percent(value) for value in (0.0, 0.001, 0.125, 0.5, 0.999, 1.0)]
    assert said == ["0%", "<1%", "12%", "50%", ">99%", "100%"]


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert listed(["a"]) == "a"
