"""Turns the columns that a trainer passes to a reward into rows to grade.

TRL calls `f(prompts=..., completions=..., completion_ids=..., answer=[...], images=[...], ...)`:
every column of the dataset is a list as long as the completions, and more may come along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmtune.errors import DataError
from vlmtune.rewards.grading import Completion, completion_text
from vlmtune.types import JSON, Example

ANSWER_NAMES = ("answer", "solution", "ground_truth", "expected_answer")
"""Columns that may hold the gold answer; the first that is there counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One completion and what it is graded against."""

    kind: str | None
    question: str
    answer: str | int | float | bool
    choices: tuple[str, ...]
    completion: Completion


def row_of(example: Example, completion: Completion) -> Row:
    """Pair an Example with a completion.

    Raises:
        DataError: If the Example has no answer: nothing can be graded without one.
    """
    if example.answer is None:
        raise DataError(f"row {example.id} has no answer, which rewards need; drop or mend it")
    return Row(
        kind=example.kind.value,
        question=example.question,
        answer=example.answer,
        choices=example.choices,
        completion=completion,
    )


def rows_of(
    prompts: Sequence[JSON], completions: Sequence[Completion], columns: Mapping[str, JSON]
) -> list[Row]:
    """Pair completions with their own row of every column.

    Raises:
        DataError: If no answer column is there, a column has another length, or an answer is None.
    """
    golds = _golds(columns, len(completions))
    kinds = _column(columns, "kind", len(completions))
    questions = _column(columns, "question", len(completions))
    choices = _column(columns, "choices", len(completions))
    asked = prompts if len(prompts) == len(completions) else [""] * len(completions)
    return [
        Row(
            kind=None if kinds is None or kinds[index] is None else str(kinds[index]),
            question=_question(questions[index] if questions else None, asked[index]),
            answer=golds[index],
            choices=tuple(map(str, choices[index])) if choices and choices[index] else (),
            completion=completion,
        )
        for index, completion in enumerate(completions)
    ]


def _golds(columns: Mapping[str, JSON], count: int) -> list[str | int | float | bool]:
    name = next((name for name in ANSWER_NAMES if name in columns), None)
    if name is None:
        raise DataError(
            f"rewards need a column {', '.join(ANSWER_NAMES[:-1])} or {ANSWER_NAMES[-1]}; "
            f"found {', '.join(sorted(columns)) or 'no column'}"
        )
    values = _column(columns, name, count) or []
    for index, value in enumerate(values):
        if not isinstance(value, str | int | float):
            raise DataError(
                f"column '{name}' has {type(value).__name__} in row {index} of the batch; "
                "a gold answer is text or a number"
            )
    return list(values)


def _column(columns: Mapping[str, JSON], name: str, count: int) -> list[JSON] | None:
    values = columns.get(name)
    if values is None:
        return None
    if isinstance(values, str | Mapping) or not hasattr(values, "__len__"):
        raise DataError(f"column '{name}' is {type(values).__name__}; a list with a value a row is")
    if len(values) != count:
        raise DataError(f"column '{name}' has {len(values)} rows for {count} completions")
    return list(values)


def _question(question: JSON, prompt: JSON) -> str:
    """Take the question's column, else the last user text of the prompt."""
    if isinstance(question, str):
        return question
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Sequence):
        for message in reversed(prompt):
            if isinstance(message, Mapping) and message.get("role") == "user":
                return completion_text(message)
    return ""
