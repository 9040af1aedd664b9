"""What a completion earns, and why.

`grade` reads one completion; the reward classes weigh what it finds and are callable the way TRL
calls its reward functions. `build_reward` makes the one reward of a run, of one name or of several.
"""

from vlmtune.rewards.accuracy import AccuracyReward
from vlmtune.rewards.combined import CombinedRewardFunction
from vlmtune.rewards.counting import CountingRewardFunction
from vlmtune.rewards.explanation import (
    ExplanationReward,
    ExplanationRewardScorer,
    initialize_explanation_scorer,
)
from vlmtune.rewards.format import FormatReward
from vlmtune.rewards.grading import grade
from vlmtune.rewards.load import build_reward, load_reward
from vlmtune.rewards.spatial import SpatialRewardFunction
from vlmtune.rewards.weighted import WeightedReward

__all__ = [
    "AccuracyReward",
    "CombinedRewardFunction",
    "CountingRewardFunction",
    "ExplanationReward",
    "ExplanationRewardScorer",
    "FormatReward",
    "SpatialRewardFunction",
    "WeightedReward",
    "build_reward",
    "grade",
    "initialize_explanation_scorer",
    "load_reward",
]
