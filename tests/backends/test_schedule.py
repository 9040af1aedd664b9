import pytest

from vlmtune.backends.schedule import rate_factor, warmup_updates


def test_the_rate_rises_then_falls_along_half_a_cosine():
    found = [rate_factor(n, shape="cosine", warmup=2, total=6) for n in range(7)]
    assert found == pytest.approx([0, 0.5, 1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)


def test_a_line_falls_evenly_and_a_constant_stays():
    linear = [rate_factor(n, shape="linear", warmup=0, total=4) for n in range(5)]
    assert linear == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert {rate_factor(n, shape="constant", warmup=0, total=4) for n in range(9)} == {1.0}


def test_the_rate_stays_down_after_the_schedule():
    assert rate_factor(12, shape="cosine", warmup=2, total=6) == 0.0
    assert rate_factor(12, shape="linear", warmup=2, total=6) == 0.0


def test_a_ratio_of_the_schedule_is_rounded_up_and_a_count_wins():
    assert warmup_updates(ratio=0.1, steps=None, total=11) == 2
    assert warmup_updates(ratio=0.1, steps=0, total=11) == 0
