import numpy as np
import pytest

from vlmtune.training.forecast import forecast_flat_share, plug_in_flat_share

SIZES = (2, 4, 16, 32)


def simulate(chances, *, seed: int, drawn: int = 8) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.random((len(chances), drawn)) < np.asarray(chances)[:, None]).astype(float)


def true_share(chances, size: int) -> float:
    return float(np.mean([p**size + (1 - p) ** size for p in chances]))


def forecasts(rewards, sizes=SIZES) -> np.ndarray:
    return np.array([found.share for found in forecast_flat_share(rewards, sizes)])


POPULATIONS = {
    "polar": lambda random: random.beta(0.5, 0.5, 32),
    "mostly hopeless": lambda random: random.beta(0.1, 0.3, 32),
    "middling": lambda random: random.beta(2, 2, 32),
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_forecast_is_near_the_truth_and_nearer_than_the_plug_in(name: str) -> None:
    random = np.random.default_rng(7)
    ours, naive = [], []
    for seed in range(20):
        chances = POPULATIONS[name](random)
        rewards = simulate(chances, seed=seed)
        truth = np.array([true_share(chances, size) for size in SIZES])
        ours.append(forecasts(rewards) - truth)
        naive.append(np.array([plug_in_flat_share(rewards, size) for size in SIZES]) - truth)
    bias, naive_bias = np.mean(ours, axis=0), np.mean(naive, axis=0)
    assert np.abs(bias).max() < 0.03
    assert naive_bias[-1] > 0.05
    error = np.sqrt(np.mean(np.square(ours), axis=0))
    naive_error = np.sqrt(np.mean(np.square(naive), axis=0))
    assert error[-1] < naive_error[-1]
    assert error.mean() < naive_error.mean()


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    held = []
    for seed in range(40):
        chances = random.beta(0.5, 0.5, 16)
        found = forecast_flat_share(simulate(chances, seed=seed), (16,))[0]
        held.append(found.low <= true_share(chances, 16) <= found.high)
    assert np.mean(held) > 0.85


def test_the_forecast_falls_as_groups_grow() -> None:
    found = forecasts(simulate(np.linspace(0, 1, 16), seed=1), (1, 2, 4, 8, 16, 32))
    assert found[0] == pytest.approx(1.0)
    assert (np.diff(found) < 0).all()


def test_groups_that_were_all_flat_do_not_make_it_certain() -> None:
    found = forecast_flat_share(np.zeros((16, 8)), (8, 32))
    assert 0.85 < found[1].share < found[0].share < 1.0


def test_three_distinct_rewards_are_counted_apart() -> None:
    # Uniform over three values: 2 draws agree with probability 1/3, not 1/2.
    random = np.random.default_rng(0)
    rewards = random.choice([0.0, 0.1, 1.0], size=(64, 8))
    assert forecasts(rewards, (2,))[0] == pytest.approx(1 / 3, abs=0.05)


def test_equal_input_gives_equal_output() -> None:
    rewards = simulate([0.2, 0.9, 0.5], seed=0)
    assert forecast_flat_share(rewards, SIZES) == forecast_flat_share(rewards, SIZES)


def test_what_cannot_be_forecast_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        forecast_flat_share([[0.0, 1.0]], (0,))
    with pytest.raises(ValueError, match="infinite"):
        forecast_flat_share([[0.0, float("inf")]], (2,))
    with pytest.raises(ValueError, match="shape"):
        forecast_flat_share([], (2,))


def test_answers_without_a_reward_take_no_part_in_a_forecast() -> None:
    none = float("nan")
    graded = [[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    assert forecast_flat_share([*graded, [none] * 3], SIZES) == forecast_flat_share(graded, SIZES)
    assert plug_in_flat_share([[0.0, 1.0, none], [none] * 3], 2) == 0.5
    assert forecast_flat_share([[none, none]], SIZES) == ()
