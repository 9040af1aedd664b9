"""GRPO's losses on MLX, and their gradients by the log-probabilities, against `objectives.py`."""

import mlx.core as mx
import numpy as np
import pytest

from vlmtune import objectives
from vlmtune.backends.mlx.policy_loss import policy_loss
from vlmtune.objectives import PolicyObjective

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")
LENGTHS = (7, 12, 1, 0, 9, 12)
"""Tokens of each completion; one is masked altogether."""


def case(seed: int) -> dict[str, np.ndarray]:
    """Completions whose ratios lie within the clip, outside it on both sides, and above the cap."""
    rng = np.random.default_rng(seed)
    shape = (len(LENGTHS), max(LENGTHS))
    mask = (np.arange(shape[1]) < np.array(LENGTHS)[:, None]).astype(np.float32)
    old = -rng.exponential(1.0, shape).astype(np.float32)
    return {
        "logps_BT": (old + rng.normal(0, 0.4, shape).astype(np.float32)) * mask,
        "old_BT": old * mask,
        "reference_BT": (old + rng.normal(0, 0.4, shape).astype(np.float32)) * mask,
        "advantages_B": rng.normal(0, 1, shape[0]).astype(np.float32),
        "mask_BT": mask,
    }


def on_mlx(objective: PolicyObjective, arrays: dict[str, np.ndarray], **more):
    given = {name: mx.array(array) for name, array in arrays.items()}
    logps = given.pop("logps_BT")

    def loss(logps_BT: mx.array):
        return policy_loss(logps_BT, objective=objective, **given, **more)

    (value, numbers), gradient = mx.value_and_grad(loss)(logps)
    return float(value), np.array(gradient), {name: float(one) for name, one in numbers.items()}


def objective(loss_type: str, level: str, beta: float, delta: float | None) -> PolicyObjective:
    return PolicyObjective(
        loss_type=loss_type,
        level=level,
        epsilon=0.1,
        epsilon_high=1.2 if loss_type == "cispo" else 0.15,
        delta=delta,
        beta=beta,
        temperature_pos=1.1,
        temperature_neg=1.3,
        longest=20,
    )


def assert_same(found, wanted: objectives.PolicyLoss) -> None:
    value, gradient, numbers = found
    assert value == pytest.approx(wanted.value, rel=1e-5, abs=1e-6)
    assert np.abs(gradient - wanted.gradient_BT).max() < 1e-5
    assert np.linalg.norm(gradient - wanted.gradient_BT) < 1e-5 * np.linalg.norm(wanted.gradient_BT)
    assert numbers.get("kl", 0.0) == pytest.approx(wanted.kl, rel=1e-5)


@pytest.mark.parametrize("delta", [None, 1.3])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_value_and_gradient_are_those_of_the_formulas(loss_type, level, beta, delta) -> None:
    wanted = objective(loss_type, level, beta, delta)
    for seed in range(3):
        arrays = case(seed)
        assert_same(on_mlx(wanted, arrays), objectives.policy_loss(objective=wanted, **arrays))


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_without_old_values_every_ratio_is_one_and_still_has_a_gradient(loss_type, level) -> None:
    wanted = objective(loss_type, level, 0.04, None)
    arrays = {name: array for name, array in case(3).items() if name != "old_BT"}
    found = on_mlx(wanted, arrays)
    assert_same(found, objectives.policy_loss(objective=wanted, **arrays))
    assert np.abs(found[1]).max() > 0
    assert sum(share for name, share in found[2].items() if "clip" in name) == 0


@pytest.mark.parametrize("loss_type", ["dapo", "cispo"])
def test_the_losses_of_batches_that_share_their_tokens_add_up(loss_type) -> None:
    wanted, arrays = objective(loss_type, "token", 0.04, None), case(4)
    whole = on_mlx(wanted, arrays)[0]
    parts = [
        on_mlx(wanted, {name: array[part] for name, array in arrays.items()}, tokens=sum(LENGTHS))
        for part in (slice(2), slice(2, None))
    ]
    assert sum(part[0] for part in parts) == pytest.approx(whole, rel=1e-5)


def test_shares_of_clipped_tokens_are_counted() -> None:
    # Ratios 1, 1.2, 0.8, 1.2 and a masked one; the clip is at 0.9 and 1.15.
    arrays = {
        "logps_BT": np.log([[1.0, 1.2], [0.8, 1.2]]).astype(np.float32),
        "old_BT": np.zeros((2, 2), np.float32),
        "advantages_B": np.array([1.0, -1.0], np.float32),
        "mask_BT": np.ones((2, 2), np.float32),
    }
    numbers = on_mlx(objective("grpo", "token", 0.0, None), arrays)[2]
    assert numbers == {
        "clip_ratio/low_mean": 0.25,
        "clip_ratio/high_mean": 0.25,
        "clip_ratio/region_mean": 0.5,
    }
    arrays["mask_BT"][0, 1] = 0
    numbers = on_mlx(objective("grpo", "token", 0.0, None), arrays)[2]
    assert numbers["clip_ratio/region_mean"] == pytest.approx(1 / 3)


def test_at_sequence_level_whole_completions_are_counted() -> None:
    # A ratio of 1.2 over one token, and of 1 over three: one of two completions is above the clip.
    arrays = {
        "logps_BT": np.log([[1.2, 1.0, 1.0], [1.0, 1.0, 1.0]]).astype(np.float32),
        "old_BT": np.zeros((2, 3), np.float32),
        "advantages_B": np.ones(2, np.float32),
        "mask_BT": np.array([[1, 0, 0], [1, 1, 1]], np.float32),
    }
    numbers = on_mlx(objective("grpo", "sequence", 0.0, None), arrays)[2]
    assert numbers["clip_ratio/region_mean"] == 0.5


def test_a_divergence_without_a_reference_is_refused() -> None:
    arrays = {name: array for name, array in case(0).items() if name != "reference_BT"}
    with pytest.raises(ValueError, match="no reference"):
        on_mlx(objective("grpo", "token", 0.1, None), arrays)
