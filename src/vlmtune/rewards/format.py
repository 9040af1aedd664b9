"""The format alone: one <think>, then one <answer>, neither empty, nothing else.

For trainers that weigh several rewards themselves. It pays for form whatever the answer says, so
give it a small weight beside a reward that reads the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmtune.errors import ConfigError
from vlmtune.language.spans import find_answer, well_formed
from vlmtune.rewards.grading import Completion, completion_text, grade
from vlmtune.types import JSON, Example, How, Reading, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatReward:
    """Pays 1 for the format and 0 without it; needs no gold answer.

    Attributes:
        name: How metrics call it.
    """

    name: str = "format"

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    def score(self, example: Example, completion: Completion) -> Score:
        """Check one completion; "accuracy" is graded beside it where there is a gold answer."""
        text = completion_text(completion)
        formatted = float(well_formed(text))
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
        return Score(
            value=formatted,
            parts={"accuracy": graded.parts["accuracy"], "format": formatted},
            reading=reading,
            why="well formed" if formatted else "not one <think> and then one <answer>",
        )

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[Completion], **columns: JSON
    ) -> list[float]:
        """Check a batch the way TRL asks for it; columns are left alone."""
        return [float(well_formed(completion_text(completion))) for completion in completions]


def build(options: Mapping[str, JSON]) -> FormatReward:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown.
    """
    unknown = sorted(set(options) - {"type", "format_weight", "close_count"})
    if unknown:
        raise ConfigError(f"reward 'format' has no option '{unknown[0]}'; it has none")
    return FormatReward()
