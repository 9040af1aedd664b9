import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmtune.objectives import PolicyObjective, flat_groups, group_advantages, policy_loss


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


@pytest.mark.parametrize("bad", [float("-inf"), float("inf")])
def test_a_reward_that_is_infinite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="infinite"):
        group_advantages([[0.0, bad]])
    with pytest.raises(ValueError, match="infinite"):
        flat_groups([[0.0, bad]])


NONE = float("nan")


def test_a_completion_that_no_reward_applies_to_is_compared_with_nothing() -> None:
    # Of 1 and 0 the mean is 0.5 and the sample deviation sqrt(0.5).
    found = group_advantages([[1.0, NONE, 0.0], [NONE] * 3, [1.0, NONE, NONE]], epsilon=1e-4)
    one = 0.5 / (np.sqrt(0.5) + 1e-4)
    assert found == pytest.approx(np.array([[one, 0, -one], [0] * 3, [0] * 3]))
    # Of 1, 0 and 1 in the batch the variance is 1/3.
    batch = group_advantages([[1.0, NONE, 0.0], [NONE] * 3, [1.0, NONE, NONE]], scale="batch")
    assert batch[0, 0] == pytest.approx(0.5 / (np.sqrt(1 / 3) + 1e-4))
    assert group_advantages([[0.75, NONE, 0.25]], scale="none").tolist() == [[0.25, 0.0, -0.25]]


def test_a_group_with_fewer_than_two_rewards_is_flat() -> None:
    rewards = [[1.0, NONE, 0.0], [NONE] * 3, [1.0, NONE, NONE], [0.5, NONE, 0.5]]
    assert flat_groups(rewards).tolist() == [False, True, True, True]


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


# One completion of two tokens and one of a single token; the last place is padding.
MASK = [[1, 1], [1, 0]]


def loss_of(ratios, advantages, mask=MASK, **settings):
    """The loss when the sampled tokens have become `ratios` times as likely."""
    tokens = settings.pop("tokens", None)
    logs = np.log(np.asarray(ratios, dtype=float))
    return policy_loss(
        logs - 1.0,
        advantages_B=advantages,
        mask_BT=mask,
        objective=PolicyObjective(**settings),
        old_BT=np.full(logs.shape, -1.0),
        tokens=tokens,
    )


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [
        # An unmoved policy: token losses are -1, -1 and 2. ((-1 - 1) / 2 + 2) / 2 = 0.5.
        ("grpo", 0.5),
        # (-1 - 1 + 2) / (2 completions * 10 places) = 0, and of three tokens also 0.
        ("dr_grpo", 0.0),
        ("bnpo", 0.0),
        ("dapo", 0.0),
        # sigmoid(0) = 1/2, and 4 / t * 1/2 is 2 for t = 1: token losses are -2, -2 and 4.
        ("sapo", 1.0),
    ],
)
def test_completions_and_tokens_are_averaged_as_each_loss_says(loss_type, expected) -> None:
    found = loss_of([[1, 1], [1, 1]], [1, -2], loss_type=loss_type, longest=10, temperature_neg=1.0)
    assert found.value == pytest.approx(expected)


def test_the_three_ways_to_count_tokens_differ_where_lengths_do() -> None:
    ones = {"ratios": [[1, 1], [1, 1]], "advantages": [1, 0]}
    assert loss_of(**ones, loss_type="grpo").value == pytest.approx(-1 / 2)  # mean of -1 and 0
    assert loss_of(**ones, loss_type="bnpo").value == pytest.approx(-2 / 3)  # two of three tokens
    assert loss_of(**ones, loss_type="dr_grpo", longest=8).value == pytest.approx(-2 / 16)
    assert loss_of(**ones, loss_type="dapo", tokens=8).value == pytest.approx(-2 / 8)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        # Clipped at [0.8, 1.28]. A gain beyond the clip pays no more and gives no gradient ...
        (1.5, 1.0, -1.28, 0.0),
        (0.5, -1.0, 0.8, 0.0),
        # ... and a mistake beyond it still counts in full: d/dlogp = -A r.
        (0.5, 1.0, -0.5, -0.5),
        (1.5, -1.0, 1.5, 1.5),
        (1.1, 1.0, -1.1, -1.1),
    ],
)
def test_the_clip_stops_gains_and_not_mistakes(ratio, advantage, expected, slope) -> None:
    found = loss_of([[ratio]], [advantage], mask=[[1]], epsilon_high=0.28)
    assert found.value == pytest.approx(expected)
    assert found.gradient_BT.tolist() == [[pytest.approx(slope)]]


def test_delta_caps_what_one_bad_token_can_cost() -> None:
    capped = loss_of([[50.0]], [-1.0], mask=[[1]], delta=10.0)
    assert (capped.value, capped.gradient_BT.tolist()) == (pytest.approx(10.0), [[0.0]])
    assert loss_of([[50.0]], [-1.0], mask=[[1]]).value == pytest.approx(50.0)


def test_cispo_caps_the_weight_and_keeps_the_gradient_of_every_token() -> None:
    # log p = log 8 - 1; its weight is capped at 5, and d/dlogp of -5 A log p is -5 A.
    found = loss_of([[8.0]], [2.0], mask=[[1]], loss_type="cispo")
    assert found.value == pytest.approx(-5 * 2 * (np.log(8) - 1))
    assert found.gradient_BT.tolist() == [[pytest.approx(-10.0)]]
    assert loss_of([[8.0]], [2.0], mask=[[1]], loss_type="cispo", epsilon_high=4.0).value == (
        pytest.approx(-4 * 2 * (np.log(8) - 1))
    )


def test_sapo_softens_where_others_cut() -> None:
    # t = 2, r = 1.5: sigmoid(1) = 0.7310586, 4 / 2 * 0.7310586 = 1.4621172
    found = loss_of([[1.5]], [1.0], mask=[[1]], loss_type="sapo", temperature_pos=2.0)
    assert found.value == pytest.approx(-1.4621172)
    # d/dr = 4 s (1 - s) = 4 * 0.1966119, times r = 1.5 for d/dlogp
    assert found.gradient_BT.tolist() == [[pytest.approx(-1.1796716)]]


def test_at_the_sequence_level_a_completion_has_one_ratio_the_geometric_mean() -> None:
    # sqrt(1.21 * 1.0) = 1.1 for both tokens; each moves it by half: -A * 1.1 / 2.
    found = loss_of([[1.21, 1.0]], [1.0], mask=[[1, 1]], level="sequence")
    assert found.value == pytest.approx(-1.1)
    assert found.gradient_BT.tolist() == [[pytest.approx(-0.55), pytest.approx(-0.55)]]


def test_the_divergence_is_counted_per_token_and_is_zero_at_the_reference() -> None:
    objective = PolicyObjective(beta=0.5)
    at = {"advantages_B": [0.0], "mask_BT": [[1]], "objective": objective}
    # d = log 2: 2 - log 2 - 1 = 0.3068528; half of it is the loss, 0.5 * (1 - 2) its gradient.
    found = policy_loss([[-1.0]], reference_BT=[[-1.0 + np.log(2)]], **at)
    assert (found.kl, found.value) == (pytest.approx(0.3068528), pytest.approx(0.1534264))
    assert found.gradient_BT.tolist() == [[pytest.approx(-0.5)]]
    assert policy_loss([[-1.0]], reference_BT=[[-1.0]], **at).value == 0.0
    with pytest.raises(ValueError, match="no reference"):
        policy_loss([[-1.0]], **at)


def test_a_completion_that_is_masked_whole_adds_nothing() -> None:
    found = loss_of([[1.3, 1.0], [1, 1]], [1, -2], mask=[[0, 0], [1, 0]])
    assert found.value == pytest.approx(2 / 2)  # it still counts as one of two completions
    assert found.gradient_BT[0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo", "bnpo", "sapo"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_that_of_the_value(loss_type, level, seed) -> None:
    random = np.random.default_rng(seed)
    logps, old, reference = -random.uniform(0.1, 3, (3, 4, 5))
    mask = np.arange(5) < random.integers(1, 6, (4, 1))
    settings = {
        "advantages_B": random.normal(size=4),
        "mask_BT": mask,
        "old_BT": logps + 0.3 * (old - logps),
        "reference_BT": reference,
        "objective": PolicyObjective(
            loss_type=loss_type, level=level, beta=0.1, delta=1.6, epsilon_high=0.3, longest=7
        ),
    }
    found = policy_loss(logps, **settings)
    direction, step = random.normal(size=logps.shape), 1e-7
    above, below = (policy_loss(logps + side * direction, **settings) for side in (step, -step))
    # A point next to a corner of the clip has no slope to compare with.
    expected = (above.value - below.value) / (2 * step)
    assert (found.gradient_BT * direction).sum() == pytest.approx(expected, abs=1e-5)
