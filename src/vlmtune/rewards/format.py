"""The format alone: one pair of each tag in its order, none empty, nothing else.

    <think>...</think><answer>...</answer>                          as a rule
    <think>...</think><answer>...</answer><explain>...</explain>    where the gold has <explain>

For trainers that weigh several rewards themselves. It pays for form whatever the answer says, so
give it a small weight beside a reward that reads the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmtune.config import FormatConfig
from vlmtune.errors import ConfigError
from vlmtune.language.spans import find_answer, well_formed
from vlmtune.rewards.columns import ANSWER_NAMES, column
from vlmtune.rewards.grading import Completion, completion_text, grade, tags_of
from vlmtune.rewards.options import refuse_unknown, section
from vlmtune.types import JSON, Example, How, Reading, Score

_NAME = re.compile(r"<?([a-z][a-z0-9_-]{0,30})>?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatReward:
    """Pays 1 for the format and 0 without it; needs no gold answer.

    Attributes:
        tags: Names in their order, with or without brackets; None asks for think and answer, and
            for explain where the gold answer has one.
        name: How metrics call it.

    Raises:
        ConfigError: If there is no tag, one is no name, or one is named twice.
    """

    tags: Sequence[str] | None = None
    name: str = "format"

    def __post_init__(self) -> None:
        if self.tags is not None:
            object.__setattr__(self, "tags", _names(self.tags))

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    def score(self, example: Example, completion: Completion) -> Score:
        """Check one completion; "accuracy" is graded beside it where there is a gold answer."""
        text = completion_text(completion)
        tags = self._tags(example.answer)
        formatted = float(well_formed(text, tags))
        graded = grade(
            kind=example.kind,
            question=example.question,
            answer=example.answer,
            completion=text,
            choices=example.choices,
        )
        reading = graded.reading
        if example.answer is None and find_answer(text).text:
            reading = Reading(value=find_answer(text).text, how=How.TAGGED)
        wanted = " and then ".join(f"one <{tag}>" for tag in tags)
        return Score(
            value=formatted,
            parts={"accuracy": graded.parts["accuracy"], "format": formatted},
            reading=reading,
            why="well formed" if formatted else f"not {wanted}",
        )

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[Completion], **columns: JSON
    ) -> list[float]:
        """Check a batch the way TRL asks for it; only a gold column is looked at."""
        name = next((name for name in ANSWER_NAMES if name in columns), None)
        golds = (column(columns, name, len(completions)) if name else None) or [None] * len(
            completions
        )
        return [
            float(well_formed(completion_text(completion), self._tags(gold)))
            for completion, gold in zip(completions, golds, strict=True)
        ]

    def _tags(self, gold: JSON) -> Sequence[str]:
        return tags_of(str(gold)) if self.tags is None else self.tags


def _names(tags: Sequence[str]) -> tuple[str, ...]:
    given = tags.split(",") if isinstance(tags, str) else tags
    found = [_NAME.fullmatch(tag.strip()) for tag in given]
    names = tuple(match[1].lower() for match in found if match)
    if not names or len(names) != len(found) or len(set(names)) != len(names):
        raise ConfigError(
            f"reward.format.tags is {list(given)}; name each tag once, as in [think, answer]"
        )
    return names


def build(options: Mapping[str, JSON]) -> FormatReward:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown or the tags cannot be used.
    """
    refuse_unknown(options, reward="format", has="format.tags")
    return FormatReward(tags=section(options, "format", FormatConfig).tags)
