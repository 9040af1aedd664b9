import mlx.core as mx
import numpy as np
import pytest

from vlmtune.backends.mlx.sampling import make_drawer
from vlmtune.backends.noise import noise
from vlmtune.types import Sampling


def draw(logits, uniforms, *, suppressed=(), **settings):
    logits_BV = mx.array(np.atleast_2d(np.asarray(logits, dtype=np.float32)))
    drawer = make_drawer(Sampling(**settings), suppressed=suppressed, vocabulary=logits_BV.shape[1])
    rows = len(uniforms)
    logits_BV = mx.broadcast_to(logits_BV, (rows, logits_BV.shape[1]))
    tokens, logprobs = drawer.draw(logits_BV, mx.array(uniforms, dtype=mx.float32))
    return tokens.tolist(), logprobs.tolist()


# Probabilities 0.2, 0.5, 0.3: totals 0.2, 0.7, 1.0.
LOGITS = np.log([0.2, 0.5, 0.3])


def test_a_token_is_the_first_whose_cumulative_probability_exceeds_the_number():
    tokens, logprobs = draw(LOGITS, [0.0, 0.19, 0.21, 0.69, 0.71, 0.99])
    assert tokens == [0, 0, 1, 1, 2, 2]
    assert np.exp(logprobs) == pytest.approx([0.2, 0.2, 0.5, 0.5, 0.3, 0.3], abs=1e-6)


def test_temperature_one_half_squares_the_odds():
    # 0.04, 0.25, 0.09 over 0.38: totals 0.105, 0.763, 1.
    tokens, logprobs = draw(LOGITS, [0.10, 0.11, 0.76, 0.77], temperature=0.5)
    assert tokens == [0, 1, 1, 2]
    assert np.exp(logprobs[0]) == pytest.approx(0.04 / 0.38, abs=1e-6)


def test_temperature_zero_takes_the_likeliest_and_records_temperature_one():
    tokens, logprobs = draw(LOGITS, [0.99], temperature=0)
    assert tokens == [1]
    assert np.exp(logprobs) == pytest.approx([0.5], abs=1e-6)


def test_top_k_keeps_the_likeliest_and_records_the_whole_distribution():
    # 0.5 and 0.3 remain: totals 0, 0.625, 1.
    tokens, logprobs = draw(LOGITS, [0.0, 0.62, 0.63], top_k=2)
    assert tokens == [1, 1, 2]
    assert np.exp(logprobs) == pytest.approx([0.5, 0.5, 0.3], abs=1e-6)


def test_top_p_keeps_the_fewest_that_reach_the_mass():
    assert draw(LOGITS, [0.0, 0.5, 0.99], top_p=0.49)[0] == [1, 1, 1]
    assert draw(LOGITS, [0.0, 0.62, 0.63], top_p=0.51)[0] == [1, 1, 2]


def test_top_p_acts_on_what_top_k_left():
    # Of 0.5 and 0.3, the first alone holds 0.625 of the mass.
    assert draw(LOGITS, [0.0, 0.99], top_k=2, top_p=0.6)[0] == [1, 1]


@pytest.mark.parametrize("temperature", [0, 0.5, 1.0])
def test_a_suppressed_token_is_never_drawn_however_likely(temperature):
    logits = [500.0, 0.0, 1.0, 500.0]
    uniforms = np.linspace(0, 1 - 2**-23, 101)
    tokens, logprobs = draw(logits, uniforms, suppressed=(0, 3), temperature=temperature)
    assert set(tokens) <= {1, 2}
    # The raw distribution gives the remaining tokens next to nothing, and that is recorded.
    assert max(logprobs) < -400


def test_a_suppressed_token_still_counts_in_the_recorded_probability():
    tokens, logprobs = draw(LOGITS, [0.0], suppressed=(1,))
    assert tokens == [0]
    assert np.exp(logprobs) == pytest.approx([0.2], abs=1e-6)


def test_a_weightless_token_is_not_drawn_by_the_number_zero():
    assert draw([-np.inf, -200.0, 0.0], [0.0])[0] == [2]


def test_the_largest_number_draws_the_last_token_with_weight():
    assert draw([0.0, 0.0, -np.inf], [1 - 2**-23])[0] == [1]


def test_noise_is_fixed_by_seed_example_and_sample():
    reference = noise(seed=1, example_id="a", sample=0, count=8)
    assert np.array_equal(reference, noise(seed=1, example_id="a", sample=0, count=8))
    others = [(2, "a", 0), (1, "b", 0), (1, "a", 1)]
    for seed, example_id, sample in others:
        other = noise(seed=seed, example_id=example_id, sample=sample, count=8)
        assert not np.array_equal(reference, other)


def test_longer_noise_begins_with_the_shorter():
    short = noise(seed=1, example_id="a", sample=0, count=5)
    assert np.array_equal(short, noise(seed=1, example_id="a", sample=0, count=50)[:5])


def test_noise_is_uniform_below_one():
    values = noise(seed=0, example_id="row", sample=0, count=20_000)
    assert values.dtype == np.float32
    assert values.min() >= 0
    assert values.max() < 1
    # Mean of 20,000 uniform numbers: 0.5 with a standard error of 0.002.
    assert values.mean() == pytest.approx(0.5, abs=0.01)


def test_draws_follow_the_distribution():
    uniforms = noise(seed=3, example_id="row", sample=0, count=20_000)
    tokens, _ = draw(LOGITS, uniforms)
    shares = np.bincount(tokens, minlength=3) / 20_000
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.015)
