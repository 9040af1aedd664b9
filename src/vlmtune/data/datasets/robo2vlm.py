"""Robo2VLM-1: 684,710 lettered questions about what robots see, made from their own records.

    {"id": "droid_12_q3", "question": "Which view ...?", "choices": "['left', 'right', 'None']",
     "correct_answer": 1, "image": <JPEG>}

`choices` is a list written as text, and `correct_answer` its index from 0. The table has 106 GB, so
it is streamed unless a local copy is named; train and test files of one folder are told apart.
"""

import ast
from collections.abc import Iterator, Mapping

from vlmtune.data import published
from vlmtune.data.cells import Row, is_blank, shorten
from vlmtune.data.published import HubSource
from vlmtune.errors import DataError
from vlmtune.language.prompts import letter
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example, Kind

SOURCES = {
    "robo2vlm": HubSource(
        repo="keplerccc/Robo2VLM-1",
        columns=("id", "question", "choices", "correct_answer", "image"),
        large=True,
        licence="apache-2.0",
    )
}
OPTIONS = published.OPTIONS


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield questions in the table's order.

    Args:
        split: "train" or "test", or a part of one.
        seed: Unused; the order is the table's.
        options: See `published.load`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    # The keys that another tool's config names for this table are what this loader reads anyway.
    usual = {
        "prompt_key": "question",
        "choice_key": "choices",
        "answer_key": "correct_answer",
        "image_keys": ["image"],
    }
    plain = {name: value for name, value in options.items() if usual.get(name) != value}
    return published.load(
        SOURCES["robo2vlm"],
        dataset="robo2vlm",
        split=split,
        options=plain,
        skip=skip,
        shape=_question,
    )


def _question(row: Row) -> Row:
    choices = _choices(row.get("choices"))
    used = ("choices", "correct_answer")
    rest = {name: value for name, value in row.items() if name not in used}
    answer = _lettered(row.get("correct_answer"), count=len(choices))
    return {**rest, "choices": choices, "answer": answer, "kind": Kind.CHOICE.value}


def _choices(value: JSON) -> list[JSON]:
    found = value
    if isinstance(value, str):
        try:
            found = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found = None
    if not isinstance(found, (list, tuple)):
        raise DataError(
            f"choices are not a list: 'choices' holds {shorten(value)}; write \"['a', 'b']\""
        )
    return list(found)


def _lettered(value: JSON, *, count: int) -> str | None:
    """Turn the index into a letter here: a choice may itself be a number."""
    if is_blank(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise DataError(
            f"answer is no index of the choices: 'correct_answer' is {shorten(value)}, and there "
            f"are {count}; give 0 to {count - 1}"
        )
    return letter(value)
