"""Turns the columns that a trainer passes to a reward into rows to grade.

TRL calls `f(prompts=..., completions=..., completion_ids=..., answer=[...], images=[...], ...)`:
every column of the dataset is a list as long as the completions, and more may come along.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from vlmtune.errors import DataError
from vlmtune.language.spans import section
from vlmtune.rewards.grading import EXPLAIN, Completion, completion_text
from vlmtune.types import JSON, Example, ImageRef

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


REFERENCE_NAMES = ("explanations", "explanation", "references")
"""Columns that may hold reference explanations; without one, the gold's <explain> is taken."""

GIVEN = ("prompts", "completions", "completion_ids")
"""What a trainer passes besides the columns; a column of that name would be taken for it."""
_PICTURE_NAMES = ("images", "image", "image_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathPicture:
    """A picture that a column names by its path."""

    path: str

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    def open(self) -> PIL.Image.Image:
        """Decode it.

        Raises:
            DataError: If it is missing or no picture.
        """
        try:
            return PIL.Image.open(self.path).convert("RGB")
        except (OSError, ValueError) as error:
            raise DataError(f"picture {self.path} cannot be opened ({error})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """What an explanation is graded against.

    Attributes:
        kind: As in `Row`.
        question: As in `Row`.
        answer: As in `Row`, or None where the row has none.
        choices: As in `Row`.
        references: Explanations that people gave.
        picture: The row's first picture, or None.
    """

    kind: str | None
    question: str
    answer: str | int | float | bool | None
    choices: tuple[str, ...]
    references: tuple[str, ...]
    picture: ImageRef | PIL.Image.Image | None


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
    asked = _asked(prompts, columns, len(completions))
    return [
        Row(kind=kind, question=question, answer=gold, choices=choices, completion=completion)
        for (kind, question, choices), gold, completion in zip(
            asked, golds, completions, strict=True
        )
    ]


def _asked(
    prompts: Sequence[JSON], columns: Mapping[str, JSON], count: int
) -> list[tuple[str | None, str, tuple[str, ...]]]:
    """Read what each row asks: kind, question, choices."""
    kinds = column(columns, "kind", count)
    questions = column(columns, "question", count)
    choices = column(columns, "choices", count)
    said = prompts if len(prompts) == count else [""] * count
    return [
        (
            None if kinds is None or kinds[index] is None else str(kinds[index]),
            _question(questions[index] if questions else None, said[index]),
            tuple(map(str, choices[index])) if choices and choices[index] else (),
        )
        for index in range(count)
    ]


def columns_of(examples: Sequence[Example]) -> dict[str, list[JSON]]:
    """Lay Examples out as the columns that every reward function is called with.

    Args:
        examples: The rows, one for each completion.

    Returns:
        id, question, kind, choices, image_path (a path, a list of several, or None), the gold
        answer under each of `ANSWER_NAMES`, and every further column of the rows; a column of the
        rows wins over one that is made here.
    """
    own = dict.fromkeys(name for example in examples for name in example.facts)
    further = [name for name in own if name not in GIVEN]
    golds = [example.answer for example in examples]
    return {
        "id": [example.id for example in examples],
        "question": [example.question for example in examples],
        "kind": [example.kind.value for example in examples],
        "choices": [list(example.choices) for example in examples],
        "image_path": [_paths(example.images) for example in examples],
        **{name: list(golds) for name in ANSWER_NAMES},
        **{name: [example.facts.get(name) for example in examples] for name in further},
    }


def pictured(example: Example) -> Pictured:
    """Take from an Example what its explanation is graded against."""
    return Pictured(
        kind=example.kind.value,
        question=example.question,
        answer=example.answer,
        choices=example.choices,
        references=_references(example.facts, example.answer),
        picture=example.images[0] if example.images else None,
    )


def explained_rows(
    prompts: Sequence[JSON], completions: Sequence[Completion], columns: Mapping[str, JSON]
) -> list[Pictured]:
    """Take from each row of the columns what its explanation is graded against.

    Raises:
        DataError: If a column has another length, or a picture cannot be one.
    """
    count = len(completions)
    cells = {name: column(columns, name, count) for name in (*REFERENCE_NAMES, *_PICTURE_NAMES)}
    name = next((name for name in ANSWER_NAMES if name in columns), None)
    golds = (column(columns, name, count) if name else None) or [None] * count
    named: dict[str, PathPicture] = {}
    found = []
    for index, (kind, question, choices) in enumerate(_asked(prompts, columns, count)):
        own = {name: values[index] for name, values in cells.items() if values is not None}
        pictures = (_picture(own.get(name), named) for name in _PICTURE_NAMES)
        found.append(
            Pictured(
                kind=kind,
                question=question,
                answer=golds[index],
                choices=choices,
                references=_references(own, golds[index]),
                picture=next((picture for picture in pictures if picture is not None), None),
            )
        )
    return found


def _references(cells: Mapping[str, JSON], answer: JSON) -> tuple[str, ...]:
    return tuple(text for text in _told(cells, answer) if text.strip())


def _told(cells: Mapping[str, JSON], answer: JSON) -> Iterator[str]:
    for name in REFERENCE_NAMES:
        value = cells.get(name)
        if isinstance(value, str) and value.strip():
            yield value
            return
        if isinstance(value, list | tuple) and any(isinstance(text, str) for text in value):
            yield from (text for text in value if isinstance(text, str))
            return
    if isinstance(answer, str):
        yield section(answer, EXPLAIN) or ""


def _paths(images: Sequence[ImageRef]) -> JSON:
    """Give the paths of pictures that are files; one that is drawn has none."""
    paths = [image.name if Path(image.name).is_file() else None for image in images]
    return paths[0] if len(paths) == 1 else paths or None


def _picture(value: JSON, named: dict[str, PathPicture]) -> ImageRef | PIL.Image.Image | None:
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if value is None or isinstance(value, PIL.Image.Image):
        return value
    if isinstance(value, str | Path):
        return named.setdefault(str(value), PathPicture(path=str(value)))
    if callable(getattr(value, "open", None)):
        picture: ImageRef = value
        return picture
    raise DataError(f"a picture is {type(value).__name__}; a path or a PIL image is needed")


def _golds(columns: Mapping[str, JSON], count: int) -> list[str | int | float | bool]:
    name = next((name for name in ANSWER_NAMES if name in columns), None)
    if name is None:
        raise DataError(
            f"rewards need a column {', '.join(ANSWER_NAMES[:-1])} or {ANSWER_NAMES[-1]}; "
            f"found {', '.join(sorted(columns)) or 'no column'}"
        )
    values = column(columns, name, count) or []
    for index, value in enumerate(values):
        if not isinstance(value, str | int | float):
            raise DataError(
                f"column '{name}' has {type(value).__name__} in row {index} of the batch; "
                "a gold answer is text or a number"
            )
    return list(values)


def column(columns: Mapping[str, JSON], name: str, count: int) -> list[JSON] | None:
    """Take a column, None where it is not there.

    Raises:
        DataError: If it is no list, or has another length than the batch.
    """
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
