"""The combined reward: every row is graded as its kind needs.

relation    the spatial reward
count       the counting reward, with a little for off by one
yes_no, choice, open    right or wrong
caption     right or wrong, and nothing for tags: captions are asked for without them
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vlmtune.language.answers import infer_kind
from vlmtune.rewards.columns import Row
from vlmtune.rewards.counting import CLOSE_COUNT, CountingRewardFunction
from vlmtune.rewards.grading import FORMAT_WEIGHT, check_weights
from vlmtune.rewards.options import refuse_unknown
from vlmtune.rewards.row_reward import RowReward
from vlmtune.rewards.spatial import SpatialRewardFunction
from vlmtune.types import JSON, Kind, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedRewardFunction(RowReward):
    """Pays each row by its kind.

    Attributes:
        format_weight: Share of the value that the format earns, 0 to 0.2; 0 for captions.
        close_count: Credit of a single count that is off by one, 0 to below 0.3.
        name: How metrics call it.

    Raises:
        ConfigError: If a weight is out of its range.
    """

    format_weight: float = FORMAT_WEIGHT
    close_count: float = CLOSE_COUNT
    name: str = "combined"

    def __post_init__(self) -> None:
        check_weights(format_weight=self.format_weight, close_count=self.close_count)

    def score_row(self, row: Row) -> Score:
        """Grade one row of a trainer's batch by its kind, guessed where the row has none."""
        kind = row.kind or infer_kind(
            question=row.question, answer=str(row.answer), choices=row.choices
        )
        weight = 0.0 if kind == Kind.CAPTION else self.format_weight
        if kind == Kind.RELATION:
            return SpatialRewardFunction(format_weight=weight).score_row(row)
        counting = CountingRewardFunction(format_weight=weight, close_count=self.close_count)
        return counting.score_row(row)


def build(options: Mapping[str, JSON]) -> CombinedRewardFunction:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown or out of its range.
    """
    refuse_unknown(options, reward="combined", has="format_weight, close_count")
    return CombinedRewardFunction(
        format_weight=options.get("format_weight", FORMAT_WEIGHT),
        close_count=options.get("close_count", CLOSE_COUNT),
    )
