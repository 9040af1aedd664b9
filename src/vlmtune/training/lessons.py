"""From rows to what a trainer learns: the same wording that a rehearsal shows."""

from collections.abc import Sequence

from vlmtune.language import prompts
from vlmtune.types import Example, Lesson, Stage


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
