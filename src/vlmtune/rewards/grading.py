"""What one completion is worth: the function that every reward stands on.

grade(kind="count", question="How many dogs are there?", answer="3",
      completion="<think>dog, dog, dog</think><answer>three</answer>")

Score(value=1.0, parts={"accuracy": 1.0, "format": 1.0}, why="read 3 from 'three', ...")
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from vlmtune.errors import ConfigError, DataError
from vlmtune.language.answers import Task, infer_kind, prepare
from vlmtune.language.doubt import denies
from vlmtune.language.found import Found, agree, unreadable
from vlmtune.language.normalise import LONGEST_TEXT, fold, plain, words_of
from vlmtune.language.spans import (
    USUAL_TAGS,
    Span,
    cued_answer,
    find_answer,
    gold_text,
    section,
    well_formed,
)
from vlmtune.types import JSON, How, Kind, Reading, Score

Completion: TypeAlias = str | Sequence[Mapping[str, JSON]] | Mapping[str, JSON] | None
"""A completion as text, or as chat messages of which the last one is graded."""

FORMAT_WEIGHT = 0.1
"""Share of `value` that the format earns; accuracy earns the rest."""
LARGEST_FORMAT_WEIGHT = 0.2
"""More would pay form better than it pays the answer."""
EXPLAIN = "explain"
"""The tag of an explanation."""
LARGEST_CLOSE_COUNT = 0.3
_HOW = {Kind.COUNT: How.NUMBER, Kind.CHOICE: How.LETTER}
# What a missing cell looks like after a detour through a data frame.
_NO_GOLD = frozenset({"", "nan", "null"})
_SHOWN = 60


def grade(
    *,
    kind: Kind | str | None,
    question: str,
    answer: str | int | float | bool | None,
    completion: Completion,
    choices: Sequence[str] = (),
    format_weight: float = FORMAT_WEIGHT,
    close_count: float = 0.0,
) -> Score:
    """Grade one completion.

    Args:
        kind: What was asked for; None guesses it from the gold answer and the question.
        question: What was asked.
        answer: The gold answer; None or blank earns nothing and is said in `why`.
        completion: The model's answer.
        choices: The options of a choice question.
        format_weight: Share of the value that the format earns, 0 to 0.2.
        close_count: Credit in [0, 0.3) of one count that is off by one; accuracy stays 0.

    Returns:
        A Score with parts "accuracy" (0 or 1), "format" (0 or 1) and, for counts, "close".

    Raises:
        ConfigError: If a weight is out of its range.
        DataError: If the kind is unknown, or the completion is neither text nor messages.
    """
    check_weights(format_weight=format_weight, close_count=close_count)
    text = completion_text(completion)
    gold = "" if answer is None else str(answer)
    formed = float(well_formed(text, tags_of(gold)))
    if plain(gold_text(gold).strip()[:LONGEST_TEXT]) in _NO_GOLD:
        return _score(
            Found(),
            Span(),
            kind=Kind.OPEN,
            earned={"accuracy": 0.0, "format": formed, "close": 0.0},
            format_weight=format_weight,
            why="the row has no gold",
        )
    asked = _kind(kind) or infer_kind(question=question, answer=gold, choices=choices)
    task = prepare(kind=asked, question=question, answer=gold, choices=tuple(choices))
    span = find_answer(text)
    found = _read(task, span)
    accuracy = float(agree(found, task.gold))
    close = 0.0 if accuracy or not close_count else close_count * _is_close(task, found)
    return _score(
        found,
        span,
        kind=task.kind,
        earned={"accuracy": accuracy, "format": formed, "close": close},
        format_weight=format_weight,
        why=_why(task, span, found, gold),
    )


def tags_of(gold: str) -> tuple[str, ...]:
    """Name the tags that a row asks for: the usual ones, and <explain> where its gold has one."""
    return (*USUAL_TAGS, EXPLAIN) if section(gold, EXPLAIN) is not None else USUAL_TAGS


def check_weights(*, format_weight: float, close_count: float) -> None:
    """Refuse weights by which form or nearness could outweigh a correct answer.

    Raises:
        ConfigError: If format_weight is not in [0, 0.2] or close_count not in [0, 0.3).
    """
    if not 0 <= format_weight <= LARGEST_FORMAT_WEIGHT:
        raise ConfigError(
            f"reward.format_weight is {format_weight}; it must be from 0 to {LARGEST_FORMAT_WEIGHT}"
        )
    if not 0 <= close_count < LARGEST_CLOSE_COUNT:
        raise ConfigError(
            f"reward.close_count is {close_count}; it must be from 0 to below {LARGEST_CLOSE_COUNT}"
        )


def completion_text(completion: Completion) -> str:
    """Take the text out of a completion: a string, or the last of its chat messages.

    Raises:
        DataError: If it is something else.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    if isinstance(completion, Mapping):
        return _content_text(completion.get("content"))
    messages = list(completion) if isinstance(completion, Sequence) else [None]
    if not messages:
        return ""
    if isinstance(messages[-1], Mapping):
        return _content_text(messages[-1].get("content"))
    raise DataError(
        f"a completion is {type(completion).__name__}; text or a list of chat messages is graded"
    )


def _content_text(content: JSON) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Sequence):
        parts = [part.get("text", "") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    raise DataError(f"a message's content is {type(content).__name__}; text or parts are graded")


def _kind(kind: Kind | str | None) -> Kind | None:
    if kind is None or isinstance(kind, Kind):
        return kind
    try:
        return Kind(kind.strip().lower().replace("-", "_").replace("/", "_").replace(" ", "_"))
    except ValueError:
        known = ", ".join(Kind)
        raise DataError(f"kind {kind!r} is unknown; kinds are {known}") from None


def _read(task: Task, span: Span) -> Found:
    """Read the span, and let text behind the tags contradict it."""
    if span.problem:
        return unreadable(span.problem)
    found = task.read(span.text)
    if task.literal and _says_another(cued_answer(span.outside), found.value or ""):
        return unreadable("the text behind the answer says something else", found.named)
    if not found.readable or task.literal:
        return found
    other = task.read(span.outside)
    if (other.readable and not agree(found, other)) or other.named - found.named:
        return unreadable("the text behind the answer says something else", found.named)
    stated = task.read(span.explained)
    if (stated.readable and not agree(found, stated)) or (
        stated.named and stated.named.isdisjoint(found.named)
    ):
        return unreadable("the explanation states another answer", found.named)
    return found


def _says_another(said: str, answer: str) -> bool:
    """Tell whether "the answer is ..." leaves out a word of the answer before it, or denies it."""
    if not said:
        return False
    words = fold(said[:LONGEST_TEXT])
    return denies(words) != denies(fold(answer)) or not set(words_of(fold(answer))) <= set(
        words_of(words)
    )


def _is_close(task: Task, found: Found) -> bool:
    if task.kind is not Kind.COUNT or not found.value or not task.gold.value:
        return False
    return abs(int(found.value) - int(task.gold.value)) == 1


def _why(task: Task, span: Span, found: Found, gold: str) -> str:
    expected = task.gold.value if task.gold.readable else None
    if expected is None:
        return f"the gold {_shown(gold)} is not readable as {task.kind}: {task.gold.problem}"
    if found.readable:
        read = _shown(found.value or "")
        return f"read {read} from {_shown(span.text)}, expected {_shown(expected)}"
    return f"{found.problem} in {_shown(span.text)}, expected {_shown(expected)}"


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= _SHOWN else flat[: _SHOWN - 3] + "...")


def _score(
    found: Found,
    span: Span,
    *,
    kind: Kind,
    earned: Mapping[str, float],
    format_weight: float,
    why: str,
) -> Score:
    parts = {name: credit for name, credit in earned.items() if name != "close"}
    if kind is Kind.COUNT:
        parts["close"] = earned["close"]
    credit = max(earned["accuracy"], earned["close"])
    value = (1 - format_weight) * credit + format_weight * earned["format"]
    how = How.TAGGED if span.tagged else _HOW.get(kind, How.PHRASE)
    read = int(found.value) if kind is Kind.COUNT and found.value else found.value
    reading = Reading(value=read, how=how if found.readable else How.UNREADABLE)
    return Score(value=min(1.0, max(0.0, value)), parts=parts, reading=reading, why=why)
