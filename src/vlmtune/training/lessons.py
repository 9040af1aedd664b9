"""From rows to what a trainer learns: the same wording that a rehearsal shows."""

from collections.abc import Sequence

from vlmtune.backends.job import Job
from vlmtune.language import prompts
from vlmtune.protocols import Journal
from vlmtune.training.work import Work
from vlmtune.types import Example, Lesson, Stage


def worded(work: Work, journal: Journal) -> Job:
    """Word the rows of a stage that learns from their answers.

    Args:
        work: The stage, its rows among it.
        journal: The run.
    """
    config = work.config
    style, stage = config.prompt.style, config.stage
    return Job(
        config=config,
        lessons=lessons(work.trained, style=style, stage=stage),
        evaluation=lessons(work.held, style=style, stage=stage),
        journal=journal,
    )


def lessons(examples: Sequence[Example], *, style: str, stage: Stage) -> list[Lesson]:
    """Word every row and its answers in the style that the answer can honour.

    Args:
        examples: Rows with an answer, for DPO with a rejected one too.
        style: A style of `language.prompts`.
        stage: DPO takes the rejected answers along.

    Returns:
        One Lesson per row, in order.
    """
    return [_lesson(example, style=style, paired=stage is Stage.DPO) for example in examples]


def _lesson(example: Example, *, style: str, paired: bool) -> Lesson:
    chosen = prompts.style_of_target(example, style=style)
    rejected = prompts.target_text(
        style=chosen, answer=example.rejected or "", rationale=example.rejected_rationale
    )
    return Lesson(
        prompt=prompts.build(example, style=chosen),
        answer=prompts.target_text(
            style=chosen, answer=example.answer or "", rationale=example.rationale
        ),
        rejected=rejected if paired else None,
    )
