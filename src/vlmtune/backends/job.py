"""What a backend is asked to train: settings, rows, and the run that hears of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmtune.config import RunConfig
from vlmtune.protocols import Generator, Journal
from vlmtune.types import Completion, Lesson, Prompt, Sampling, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """Prompts that are asked now and then, to see what the model says by now.

    Asking changes nothing: draws follow from `sampling.seed`, and weights are only read.

    Attributes:
        prompts: What is asked.
        sampling: How it answers, one answer each.
        every: Updates between two askings.
        hear: Called with the answers, in order, and the number of updates made.
    """

    prompts: Sequence[Prompt]
    sampling: Sampling
    every: int
    hear: Callable[[Sequence[Completion], int], None]

    def show(self, generator: Generator, *, step: int) -> None:
        """Ask, where it is time to.

        Args:
            generator: The model as it is.
            step: Updates made.
        """
        if step % self.every == 0:
            groups = generator.generate(self.prompts, self.sampling)
            self.hear([group[0] for group in groups], step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training, once its rows are worded.

    Attributes:
        config: A checked config.
        lessons: Rows to train on; GRPO does not look at their answers.
        evaluation: Rows of which the loss is measured, or for GRPO the mean reward, where
            `evaluation.strategy` asks for it.
        journal: The run.
        exhibit: What is asked while training; None asks nothing.
    """

    config: RunConfig
    lessons: Sequence[Lesson]
    evaluation: Sequence[Lesson] = ()
    journal: Journal
    exhibit: Exhibit | None = None

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
