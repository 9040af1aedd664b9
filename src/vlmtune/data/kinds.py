"""What a question asks for, guessed from its words and its gold answer.

A row's own 'kind' column always wins. The readers of answers say what the gold answer is; the
question must agree, since the kind also words the prompt: "What is 2 + 2?" is no count, though its
answer is a number. Whatever is not plainly one of the special kinds is OPEN, which every reward and
prompt can handle.
"""

import difflib
import re

from vlmtune.data.cells import is_blank, shorten
from vlmtune.errors import DataError
from vlmtune.language import answers, number_words
from vlmtune.language.normalise import fold
from vlmtune.language.spans import gold_text
from vlmtune.types import JSON, Kind

_DESCRIBING = re.compile(r"(?i)^(please )?(describe|caption)\b")
_SHORTEST_CAPTION = 8
_LONGEST_SHORT_ANSWER = 12
_NOTHING = frozenset({"none", "không"})


def stated_kind(value: JSON) -> Kind | None:
    """Read a row's own 'kind' column.

    Args:
        value: The cell.

    Returns:
        The kind, or None when the cell is blank.

    Raises:
        DataError: If it is not the name of a kind.
    """
    if is_blank(value):
        return None
    known = [kind.value for kind in Kind]
    name = re.sub(r"[\s/-]+", "_", value.strip().lower()) if isinstance(value, str) else ""
    if name in known:
        return Kind(name)
    guess = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{guess[0]}'? " if guess else ""
    raise DataError(
        f"kind is unknown: {shorten(value)}; {hint}Kinds: {', '.join(known)}. "
        "Without the column the kind is guessed"
    )


def infer_kind(*, question: str, answer: str | None, choices: tuple[str, ...]) -> Kind:
    """Guess the kind of a row that does not state it.

    Args:
        question: The last user text.
        answer: The gold answer, with or without tags.
        choices: The options, () when there are none.
    """
    if choices:
        return Kind.CHOICE
    gold = fold(gold_text(answer or "")).strip(" .!")
    words = len(gold.split())
    described = words >= _SHORTEST_CAPTION and _DESCRIBING.search(question) is not None
    otherwise = Kind.CAPTION if described else Kind.OPEN
    if not 0 < words <= _LONGEST_SHORT_ANSWER:
        # The readers take their time, and no number, side or letter needs more words.
        return otherwise
    if answers.counts(question) and _is_bare_number(gold):
        return Kind.COUNT
    found = answers.infer_kind(question=question, answer=gold)
    return otherwise if found in (Kind.COUNT, Kind.OPEN) else found


def _is_bare_number(gold: str) -> bool:
    """Tell "twenty one" from "twenty one cats": a prompt for a number wants nothing else."""
    words = gold.replace("-", " ").split()
    parsed = number_words.parse(words, 0)
    wholly = parsed is not None and parsed[1] == len(words)
    return gold.isdecimal() or wholly or gold in _NOTHING
