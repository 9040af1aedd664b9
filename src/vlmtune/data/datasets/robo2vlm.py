"""Robo2VLM-1: 684,710 lettered questions about what robots see, made from their own records.

    {"id": "droid_12_q3", "question": "Which view ...?", "choices": "['left', 'right', 'None']",
     "correct_answer": 1, "image": <JPEG>}

`choices` is a list written as text, and `correct_answer` its index from 0. The table has 106 GB, so
it is streamed unless a local copy is named; train and test files of one folder are told apart.
"""

import ast

from vlmtune.data import published
from vlmtune.data.cells import Row, is_blank, shorten
from vlmtune.data.published import HubSource, Published
from vlmtune.errors import DataError
from vlmtune.language.prompts import letter
from vlmtune.types import JSON, Kind

SOURCES = {
    "robo2vlm": HubSource(
        repo="keplerccc/Robo2VLM-1",
        columns=("id", "question", "choices", "correct_answer", "image"),
        large=True,
        licence="apache-2.0",
    )
}
OPTIONS = published.OPTIONS
_USUAL = {
    "prompt_key": "question",
    "choice_key": "choices",
    "answer_key": "correct_answer",
    "image_keys": ["image"],
}
"""What another tool's config says about this table; the loader reads these columns anyway."""


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


load = Published(name="robo2vlm", source=SOURCES["robo2vlm"], shape=_question, usual=_USUAL).load
