"""One door to all readers: given a row, how is its answer read and what is its gold?

task = prepare(kind=Kind.COUNT, question="How many dogs?", answer="3", choices=())
agree(task.read("three dogs"), task.gold)    -> True
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmtune.language import choices as options
from vlmtune.language.arguments import arguments_of, gold_relation
from vlmtune.language.found import Found, single, unreadable
from vlmtune.language.normalise import fold, plain, word_set
from vlmtune.language.numbers import read_count
from vlmtune.language.relations import is_relation_phrase, read_relation
from vlmtune.language.spans import gold_text
from vlmtune.language.yes_no import read_yes_no
from vlmtune.types import Kind

_COUNTING = re.compile(
    r"\bhow many\b|\b(?:number|count|amount) of\b|\bcount (?:the|all)\b|\bbao nhiêu\b|\bmấy\b"
    r"|\bsố lượng\b|\bđếm\b"
)
_POLAR = word_set("yes no true false có không đúng sai yeah nope correct incorrect")
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


def infer_kind(*, question: str, answer: str, choices: Sequence[str] = ()) -> Kind:
    """Guess the kind of a row that does not say it; OPEN when nothing else is plain."""
    if choices:
        return Kind.CHOICE
    gold = fold(gold_text(answer)).strip(" .!")
    if gold in _POLAR and not (gold == "không" and _COUNTING.search(fold(question))):
        return Kind.YES_NO
    if _LETTER.fullmatch(gold):
        return Kind.CHOICE
    if read_count(gold, question=question).readable and len(gold.split()) <= 8:
        return Kind.COUNT
    around = arguments_of("", gold) if len(gold) < 200 else None
    if is_relation_phrase(gold_relation(gold)) or (
        around and around.object and "relative to" in fold(question)
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
        return Task(
            kind=kind,
            read=lambda text: read_count(text, question=question),
            gold=read_count(gold),
        )
    if kind is Kind.YES_NO:
        return Task(
            kind=kind,
            read=lambda text: read_yes_no(text, question=question),
            gold=read_yes_no(gold),
        )
    if kind is Kind.CHOICE:
        return _choice(question, gold, choices)
    return _relation(question, gold) if kind is Kind.RELATION else _literal(kind, gold)


def _choice(question: str, gold: str, choices: Sequence[str]) -> Task:
    texts = options.without_letters(choices) or options.options_of(question)
    return Task(
        kind=Kind.CHOICE,
        read=lambda text: options.read_choice(text, choices=texts, question=question),
        gold=options.read_gold(gold, texts, question=question),
    )


def _relation(question: str, gold: str) -> Task:
    arguments = arguments_of(question, gold)
    found = read_relation(gold_relation(gold), arguments)
    if not found.readable:
        return _literal(Kind.RELATION, gold)
    return Task(kind=Kind.RELATION, read=lambda text: read_relation(text, arguments), gold=found)


def _literal(kind: Kind, gold: str) -> Task:
    return Task(kind=kind, read=_read_literally, gold=_read_literally(gold), literal=True)


def _read_literally(text: str) -> Found:
    words = plain(text)
    return single(words) if words else unreadable("empty")
