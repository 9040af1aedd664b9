"""Group relative policy optimisation: prompts, the reward, and a record of what was answered."""

import math
from collections.abc import Sequence

from vlmtune.backends.job import Job
from vlmtune.errors import RewardError
from vlmtune.language import prompts
from vlmtune.protocols import Journal
from vlmtune.rewards import build_reward
from vlmtune.training.grading import Graded, grade_groups
from vlmtune.training.samples import SampleBook
from vlmtune.training.work import Work
from vlmtune.types import Completion, Example, Lesson, Prompt, Score, TrainResult


def train(work: Work, journal: Journal) -> TrainResult:
    """Word the rows, build the reward and hand both to the backend.

    Args:
        work: The stage, its rows among it.
        journal: The run; answers are recorded in its folder.

    Raises:
        ConfigError: If the reward is unknown or needs a column that the rows lack.
        DataError: If the rows have nothing that the reward could grade against.
    """
    config, trained, held = work.config, work.trained, work.held
    reward = build_reward(config.reward, examples=trained)
    examples = {example.id: example for example in (*trained, *held)}
    book = SampleBook(journal.folder, config, examples)

    def grade(
        asked: Sequence[Prompt], completions: Sequence[Sequence[Completion]]
    ) -> Sequence[Sequence[Score]]:
        """Grade groups through the one place that a rehearsal grades through."""
        rows = [examples[prompt.example_id] for prompt in asked]
        graded = grade_groups(reward, rows, completions, asked=asked)
        _refuse_unnumbered(reward.name, graded)
        return graded.scores

    job = Job(
        config=config,
        lessons=questions(trained, style=config.prompt.style),
        evaluation=questions(held, style=config.prompt.style),
        journal=journal,
    )
    result: TrainResult = work.backend.train_grpo(job, work.start, grade=grade, observe=book.write)
    return result


def _refuse_unnumbered(name: str, graded: Graded) -> None:
    for group in graded.scores:
        for score in group:
            if not math.isfinite(score.value):
                raise RewardError(
                    f"reward '{name}' gave {score.value} ({score.why or 'without a reason'}); a "
                    "finite number is needed: correct the reward"
                )


def questions(examples: Sequence[Example], *, style: str) -> list[Lesson]:
    """Word rows as a rehearsal does; what to say is for the model to find out."""
    return [Lesson(prompt=prompts.build(example, style=style), answer="") for example in examples]
