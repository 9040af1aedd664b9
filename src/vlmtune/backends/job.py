"""What a backend is asked to train: settings, rows, and the run that hears of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.config import RunConfig
from vlmtune.protocols import Journal
from vlmtune.types import Lesson, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training, once its rows are worded.

    Attributes:
        config: A checked config.
        lessons: Rows to train on; GRPO does not look at their answers.
        evaluation: Rows of which the loss is measured, or for GRPO the mean reward, where
            `evaluation.strategy` asks for it.
        journal: The run.
    """

    config: RunConfig
    lessons: Sequence[Lesson]
    evaluation: Sequence[Lesson] = ()
    journal: Journal

    @property
    def rows(self) -> list[Lesson]:
        """All rows, those to train on first."""
        return [*self.lessons, *self.evaluation]

    @property
    def names(self) -> list[str]:
        """Id of each of `rows`."""
        return [lesson.prompt.example_id for lesson in self.rows]

    @property
    def room(self) -> int | None:
        """Tokens that an answer may take, where the rows' own answers do not count; else None."""
        grpo = self.config.stage is Stage.GRPO
        return self.config.grpo.max_completion_length if grpo else None
