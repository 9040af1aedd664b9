"""What a question asks for, guessed from its words and its gold answer.

A row's own 'kind' column always wins. The guess is narrow on purpose: whatever is not plainly one
of the special kinds is OPEN, which every reward and prompt can handle.
"""

import difflib
import re

from vlmtune.data.cells import inside_tags, is_blank, shorten
from vlmtune.errors import DataError
from vlmtune.types import JSON, Kind

_YES_NO = frozenset({"yes", "no", "true", "false", "có", "không", "đúng", "sai"})
_NUMBER_WORDS = re.compile(
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|none"
)
_COUNTING = re.compile(r"(?i)\bhow many\b|\bnumber of\b|\bcount the\b|\bbao nhiêu\b|\bmấy\b")
_WHERE = re.compile(
    r"(?i)\bwhere\b.*\b(relative to|in relation to|with respect to|compared (to|with))\b"
    r"|\bspatial relation"
)
_RELATION = re.compile(
    r"(to |on |at )?(the )?(left|right)( side)?( of)?|above|below|under|over|behind|in front of"
    r"|next to|beside|between|inside|on top of|touching|near|far from"
)
_DESCRIBING = re.compile(r"(?i)^(please )?(describe|caption)\b")
_LONGEST_RELATION_ANSWER = 12
_SHORTEST_CAPTION = 8


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
    gold = inside_tags(answer or "").casefold().strip(" .!")
    words = len(gold.split())
    if gold in _YES_NO:
        return Kind.YES_NO
    if _COUNTING.search(question) and (gold.isdecimal() or _NUMBER_WORDS.fullmatch(gold)):
        return Kind.COUNT
    located = _WHERE.search(question) and 0 < words <= _LONGEST_RELATION_ANSWER
    if located or _RELATION.fullmatch(gold):
        return Kind.RELATION
    if _DESCRIBING.search(question) and words >= _SHORTEST_CAPTION:
        return Kind.CAPTION
    return Kind.OPEN
