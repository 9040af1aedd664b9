"""One door to all readers: given a row, how is its answer read and what is its gold?

task = prepare(kind=Kind.COUNT, question="How many dogs?", answer="3", choices=())
agree(task.read("three dogs"), task.gold)    -> True
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmtune.language import choices as options
from vlmtune.language.arguments import arguments_of, gold_relation
from vlmtune.language.doubt import without_questions
from vlmtune.language.found import Found, single, unreadable
from vlmtune.language.normalise import LONGEST_ANSWER, LONGEST_TEXT, fold, plain, show, word_set
from vlmtune.language.numbers import read_count
from vlmtune.language.relations import is_relation_phrase, read_relation
from vlmtune.language.spans import gold_text
from vlmtune.language.turns import turned
from vlmtune.language.yes_no import read_yes_no
from vlmtune.types import Kind

_COUNTING = re.compile(
    r"\bhow many\b|\b(?:number|count|amount) of\b|\bcount (?:the|all)\b|\bbao nhiêu\b|\bmấy\b"
    r"|\bsố lượng\b|\bđếm\b"
)
_POLAR = word_set("yes no true false có không đúng sai yeah nope correct incorrect")
_LONGEST_SHORT_GOLD = 200
_GAPS = re.compile(r"\s{2,}")
_LETTER = re.compile(r"[(\[][a-f][)\]]\.?|[a-f][.)]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one row asks of a reader.

    Attributes:
        kind: The kind whose reader is used; an OPEN row with a count for gold is read as COUNT.
        read: Reads an answer.
        gold: The gold answer, read once.
        literal: Whether answers are compared as texts rather than understood.
    """

    kind: Kind
    read: Callable[[str], Found]
    gold: Found
    literal: bool = False


def counts(question: str) -> bool:
    """Tell whether a question asks how many."""
    return _COUNTING.search(fold(question)) is not None


def infer_kind(*, question: str, answer: str, choices: Sequence[str] = ()) -> Kind:
    """Guess the kind of a row that does not say it; OPEN when nothing else is plain.

    This says which reader understands the gold answer. How the question is to be worded needs more
    care: see `vlmtune.data.kinds`.
    """
    if choices:
        return Kind.CHOICE
    text = gold_text(answer).strip()
    if len(text) > _LONGEST_SHORT_GOLD:
        return Kind.OPEN
    gold = fold(text).strip(" .!")
    if gold in _POLAR and not (gold == "không" and counts(question)):
        return Kind.YES_NO
    if _LETTER.fullmatch(gold):
        return Kind.CHOICE
    if read_count(gold, question=question).readable and len(gold.split()) <= 8:
        return Kind.COUNT
    around = arguments_of("", gold)
    if is_relation_phrase(gold_relation(gold)) or (
        around.object and "relative to" in fold(question)
    ):
        return Kind.RELATION
    return Kind.OPEN


def prepare(*, kind: Kind, question: str, answer: str, choices: Sequence[str] = ()) -> Task:
    """Choose the reader of a row and read its gold answer with it.

    Args:
        kind: What the row asks for.
        question: What was asked; may hold lettered options when `choices` is empty.
        answer: The gold answer, with or without tags.
        choices: The options of a CHOICE row, with or without letters.
    """
    gold = gold_text(answer)
    if kind is Kind.OPEN:
        inferred = infer_kind(question=question, answer=gold)
        return prepare(kind=inferred, question=question, answer=gold) if inferred is not kind else (
            _literal(kind, gold)
        )  # fmt: skip
    if kind is Kind.COUNT:
        return _task(
            kind, question, gold, lambda text: read_count(text, question=question), read_count
        )
    if kind is Kind.YES_NO:
        return _task(
            kind, question, gold, lambda text: read_yes_no(text, question=question), read_yes_no
        )
    if kind is Kind.CHOICE:
        return _choice(question, gold, choices)
    return _relation(question, gold) if kind is Kind.RELATION else _literal(kind, gold)


def _task(
    kind: Kind,
    question: str,
    gold: str,
    read: Callable[[str], Found],
    read_gold: Callable[[str], Found],
    *,
    choices: Sequence[str] = (),
) -> Task:
    known = fold("\n".join((question[:LONGEST_TEXT], *choices)))

    def read_answer(text: str) -> Found:
        """Read what is claimed beside repeated questions; words that turn it leave no claim."""
        claim = without_questions(text, question)
        found = read(claim)
        turn = turned(fold(claim), known=known)
        return unreadable(f"not a claim: {turn!r}", found.named) if turn else found

    return Task(kind=kind, read=_bounded(read_answer), gold=_bounded(read_gold)(gold))


def _bounded(read: Callable[[str], Found]) -> Callable[[str], Found]:
    """Refuse answers of thousands of characters; cutting them could change what they say."""

    def read_short(text: str) -> Found:
        """Read an answer whose length stays bounded after normalising too."""
        if len(text) > LONGEST_ANSWER:
            text = _shrunk(text)
        # Some single characters are a whole sentence once they are normalised.
        if len(text) > LONGEST_ANSWER or len(show(text)) > LONGEST_ANSWER:
            return unreadable(f"an answer of {len(text)} characters")
        return read(text)

    return read_short


def _shrunk(text: str) -> str:
    return _GAPS.sub(lambda gap: "\n" if "\n" in gap[0] else " ", text).strip()


def _choice(question: str, gold: str, choices: Sequence[str]) -> Task:
    texts = options.without_letters(choices) or options.options_of(question)
    return _task(
        Kind.CHOICE,
        question,
        gold,
        lambda text: options.read_choice(text, choices=texts, question=question),
        lambda text: options.read_gold(text, texts, question=question),
        choices=texts,
    )


def _relation(question: str, gold: str) -> Task:
    arguments = arguments_of(question, gold[:LONGEST_ANSWER])
    task = _task(
        Kind.RELATION,
        question,
        gold,
        lambda text: read_relation(text, arguments),
        lambda text: read_relation(gold_relation(text), arguments),
    )
    return task if task.gold.readable else _literal(Kind.RELATION, gold)


def _literal(kind: Kind, gold: str) -> Task:
    return Task(kind=kind, read=_read_literally, gold=_read_literally(gold), literal=True)


def _read_literally(text: str) -> Found:
    if len(text) > LONGEST_TEXT:
        text = _shrunk(text)
    if len(text) > LONGEST_TEXT:
        return unreadable(f"an answer of {len(text)} characters")
    words = plain(text)
    return single(words) if words else unreadable("empty")
