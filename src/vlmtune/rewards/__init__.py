"""What a completion earns, and why.

`grade` reads one completion; the reward classes weigh what it finds and are callable the way TRL
calls its reward functions.
"""

from vlmtune.rewards.combined import CombinedRewardFunction
from vlmtune.rewards.counting import CountingRewardFunction
from vlmtune.rewards.format import FormatReward
from vlmtune.rewards.grading import grade
from vlmtune.rewards.spatial import SpatialRewardFunction

__all__ = [
    "CombinedRewardFunction",
    "CountingRewardFunction",
    "FormatReward",
    "SpatialRewardFunction",
    "grade",
]
