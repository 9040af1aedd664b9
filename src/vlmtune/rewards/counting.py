"""The counting reward: the exact number, and a little for a number that is off by one.

gold 3    'three dogs'    accuracy 1
gold 3    '4'             accuracy 0, close 0.2
gold 3    '3 or 4', '2-4', 'about 3', '2, 3, 4'    nothing: only one number can be close
"""

from collections.abc import Mapping
from dataclasses import dataclass

from vlmtune.rewards.columns import Row
from vlmtune.rewards.grading import FORMAT_WEIGHT, check_weights, grade
from vlmtune.rewards.options import refuse_unknown
from vlmtune.rewards.row_reward import RowReward
from vlmtune.types import JSON, Score

CLOSE_COUNT = 0.2
"""Default credit of a single count that is off by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingRewardFunction(RowReward):
    """Pays for the exact count; other kinds of rows are graded by their own kind.

    Attributes:
        format_weight: Share of the value that the format earns, 0 to 0.2.
        close_count: Credit of a single count that is off by one, 0 to below 0.3.
        name: How metrics call it.

    Raises:
        ConfigError: If a weight is out of its range.
    """

    format_weight: float = FORMAT_WEIGHT
    close_count: float = CLOSE_COUNT
    name: str = "counting"

    def __post_init__(self) -> None:
        check_weights(format_weight=self.format_weight, close_count=self.close_count)

    def score_row(self, row: Row) -> Score:
        """Grade one row; parts are "accuracy", "close" and "format"."""
        return grade(
            kind=row.kind,
            question=row.question,
            answer=row.answer,
            completion=row.completion,
            choices=row.choices,
            format_weight=self.format_weight,
            close_count=self.close_count,
        )


def build(options: Mapping[str, JSON]) -> CountingRewardFunction:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown or out of its range.
    """
    refuse_unknown(options, reward="counting", has="format_weight, close_count")
    return CountingRewardFunction(
        format_weight=options.get("format_weight", FORMAT_WEIGHT),
        close_count=options.get("close_count", CLOSE_COUNT),
    )
