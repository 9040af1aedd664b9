"""The spatial reward: does the answer name the right relation, and is it well formed?

gold 'left of'    'left'                                  exact 0, relation 1, accuracy 1
gold 'left of'    'The dog is to the right of the cat.'   exact 0, relation 1, accuracy 1
gold 'left of'    'left or right'                         all 0
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from vlmtune.language.normalise import plain
from vlmtune.language.spans import find_answer, gold_text
from vlmtune.rewards.columns import Row
from vlmtune.rewards.grading import (
    FORMAT_WEIGHT,
    check_weights,
    completion_text,
    grade,
)
from vlmtune.rewards.options import refuse_unknown
from vlmtune.rewards.row_reward import RowReward
from vlmtune.types import JSON, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialRewardFunction(RowReward):
    """Pays for the right relation, in any words; other kinds of rows are graded by their own kind.

    Attributes:
        format_weight: Share of the value that the format earns, 0 to 0.2.
        name: How metrics call it.

    Raises:
        ConfigError: If the weight is out of its range.
    """

    format_weight: float = FORMAT_WEIGHT
    name: str = "spatial"

    def __post_init__(self) -> None:
        check_weights(format_weight=self.format_weight, close_count=0.0)

    def score_row(self, row: Row) -> Score:
        """Grade one row; parts are "accuracy", "exact", "relation" and "format"."""
        score = grade(
            kind=row.kind,
            question=row.question,
            answer=row.answer,
            completion=row.completion,
            choices=row.choices,
            format_weight=self.format_weight,
        )
        accuracy = score.parts["accuracy"]
        # Only an accurate answer can be exact, and only those are short.
        exact = accuracy and _words(row) == plain(gold_text(str(row.answer)))
        parts = {**score.parts, "exact": float(exact), "relation": accuracy}
        return replace(score, parts=MappingProxyType(parts))


def _words(row: Row) -> str:
    return plain(find_answer(completion_text(row.completion)).text)


def build(options: Mapping[str, JSON]) -> SpatialRewardFunction:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown or out of its range.
    """
    refuse_unknown(options, reward="spatial", has="format_weight")
    return SpatialRewardFunction(format_weight=options.get("format_weight", FORMAT_WEIGHT))
