"""What the training objectives mean here, in plain numpy: the oracle that every backend is held to.

One prompt with four completions, the first of them right:

    rewards_PG                [[1.0, 0.1, 0.1, 0.0]]
    group_advantages          [[1.49, -0.43, -0.43, -0.64]]     to two digits
    flat_groups               [False]
"""

# P prompts, G completions per prompt

from typing import Literal

import numpy as np
import numpy.typing as npt

Scale = Literal["group", "batch", "none"]


def group_advantages(
    rewards_PG: npt.ArrayLike, *, epsilon: float = 1e-4, scale: Scale = "group"
) -> npt.NDArray[np.float64]:
    """Centre each prompt's rewards among its own completions, and scale them.

    Args:
        rewards_PG: Rewards, float64 [P, G], finite, P >= 1, G >= 2.
        epsilon: Added to the standard deviation; dimensionless.
        scale: Divide by the standard deviation of the "group", of the whole "batch", or by "none".

    Returns:
        Advantages, float64 [P, G]; a row of equal rewards is all 0.

    Raises:
        ValueError: If the shape does not fit, G < 2, a reward is not finite, or `scale` is unknown.

    Source: Shao et al. 2024, arXiv:2402.03300, section 4.1.2; sample standard deviation (ddof 1)
        and epsilon as in TRL; "none" is Liu et al. 2025, arXiv:2503.20783, section 3.2.
    """
    rewards = _checked(rewards_PG)
    if scale not in ("group", "batch", "none"):
        raise ValueError(f"scale is {scale!r}; it must be group, batch or none")
    centred: npt.NDArray[np.float64] = rewards - rewards.mean(axis=1, keepdims=True)
    # The mean of equal numbers can differ from them in the last digit; epsilon would not hide it.
    centred[flat_groups(rewards)] = 0.0
    if scale == "batch":
        centred /= rewards.std(ddof=1) + epsilon
    elif scale == "group":
        centred /= rewards.std(axis=1, ddof=1, keepdims=True) + epsilon
    return centred


def flat_groups(rewards_PG: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Find the prompts whose completions all earned the same: they give no gradient.

    Args:
        rewards_PG: Rewards, float64 [P, G], finite, G >= 2.

    Returns:
        bool [P].

    Raises:
        ValueError: If the shape does not fit, G < 2 or a reward is not finite.
    """
    rewards = _checked(rewards_PG)
    flat: npt.NDArray[np.bool_] = np.all(rewards == rewards[:, :1], axis=1)
    return flat


def _checked(rewards_PG: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rewards = np.asarray(rewards_PG, dtype=np.float64)
    if rewards.ndim != 2 or rewards.shape[0] < 1:
        raise ValueError(f"rewards have shape {rewards.shape}; [P, G] with P >= 1 is needed")
    if rewards.shape[1] < 2:
        raise ValueError("a group of one completion has no advantage; G must be at least 2")
    if not np.isfinite(rewards).all():
        raise ValueError("a reward is not finite; the reward function has a bug")
    return rewards
