"""The outcome reward: right 1, at least half of the truth's words 0.5, else 0.

    truth 'red car'      'a red car', 'Red car.'      1
    truth 'red car'      'red', 'a red van'           0.5
    truth 'red car'      'red or blue', 'not red', 'red, blue, green car', 'car car car'    0
    truth 'left of'      'right of'                   0: a relation is right or wrong

Half the words is a rule that invites listing, hedging and echoing. So it holds only for free texts
(relations, numbers, letters and yes or no are right or wrong), counts only words that the question
does not hold already, and pays an answer only if it is one phrase, claims without doubt, and at
least half of its own words are the truth's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from vlmtune.config import AccuracyConfig
from vlmtune.errors import ConfigError
from vlmtune.language.answers import prepare
from vlmtune.language.doubt import denies, hedges, refuses
from vlmtune.language.normalise import LONGEST_TEXT, fold, word_set, words_of
from vlmtune.language.spans import find_answer, gold_text, without_section
from vlmtune.language.turns import turned
from vlmtune.rewards.columns import Row
from vlmtune.rewards.grading import EXPLAIN, completion_text, grade
from vlmtune.rewards.options import refuse_unknown, section
from vlmtune.rewards.row_reward import RowReward
from vlmtune.types import JSON, Kind, Score

HALF = 0.5
"""What half of the truth's words earn, of 1."""
SEED_SCALE = 3.0
"""Full marks on the scale `seed`; half the words earn 1.5."""
_SEPARATORS = re.compile(r"[,;/|&+\n]|\b(?:and|và|cùng|plus|with|với)\b")
# Words that any phrase may hold; they show nothing of the truth.
_EMPTY_WORDS = word_set(
    "a an the this that these those it its is are was were be been being there here of in on at to "
    "by for from with and as i you he she they we my your his her their some do does did has have "
    "had will would can which who what where when how very so just "
    "là của ở trên dưới trong ngoài và với cho một những các cái con chiếc người thì mà có được bị "
    "đang đã sẽ này kia đó ấy nó họ rất cũng vào ra từ đến tại"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyReward(RowReward):
    """Pays for the right answer, and half for half of its words.

    Attributes:
        scale: "unit" pays 1, 0.5 or 0; "seed" pays 3, 1.5 or 0.
        name: How metrics call it.

    Raises:
        ConfigError: If the scale is neither.
    """

    scale: str = "unit"
    name: str = "accuracy"

    def __post_init__(self) -> None:
        if self.scale not in ("unit", "seed"):
            raise ConfigError(f"reward.accuracy.scale is {self.scale!r}; unit or seed")

    @property
    def largest(self) -> float:
        """What full marks are worth."""
        return SEED_SCALE if self.scale == "seed" else 1.0

    def score_row(self, row: Row) -> Score:
        """Grade one row; parts are "accuracy" (0 or 1), "partial" and "format"."""
        score = grade(
            kind=row.kind,
            question=row.question,
            answer=row.answer,
            completion=row.completion,
            choices=row.choices,
        )
        right = score.parts["accuracy"]
        partial = 0.0 if right else HALF * _shares_half(row)
        why = f"{score.why}, and at least half of its words" if partial else score.why
        return replace(
            score,
            value=self.largest * max(right, partial),
            parts={"accuracy": right, "partial": partial, "format": score.parts["format"]},
            why=why,
        )


def _shares_half(row: Row) -> bool:
    """Tell whether a free answer holds half of the truth's words, and little else."""
    answer = str(row.answer)
    kind = Kind.OPEN if row.kind is None else Kind(row.kind)
    if kind not in (Kind.OPEN, Kind.CAPTION):
        return False
    task = prepare(kind=kind, question=row.question, answer=answer, choices=row.choices)
    span = find_answer(without_section(completion_text(row.completion), EXPLAIN))
    longest = max(len(span.text), len(answer))
    if not task.literal or span.problem or span.outside.strip() or longest > LONGEST_TEXT:
        return False
    truth, said = fold(gold_text(answer)), fold(span.text)
    if refuses(said) or hedges(said) or denies(said) != denies(truth):
        return False
    if turned(said, known=f"{truth}\n{fold(row.question[:LONGEST_TEXT])}"):
        return False
    # A truth that is itself a list may be answered by one.
    if len(_SEPARATORS.findall(said)) > len(_SEPARATORS.findall(truth)):
        return False
    asked = set(words_of(fold(row.question[:LONGEST_TEXT]))) | _EMPTY_WORDS
    wanted, given = set(words_of(truth)) - asked, words_of(said)
    found = wanted & set(given)
    spoken = [word for word in given if word not in asked]
    return bool(found) and 2 * len(found) >= max(len(wanted), len(spoken))


def build(options: Mapping[str, JSON]) -> AccuracyReward:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown or the scale is none.
    """
    refuse_unknown(options, reward="accuracy", has="accuracy.scale")
    return AccuracyReward(scale=section(options, "accuracy", AccuracyConfig).scale)
