"""Right answers in other words, in broken form, in doubt: none should earn more than the plain one.

A reward that cannot read a right answer teaches its own taste; one that pays it more than the plain
answer teaches a trick.
"""

from collections.abc import Callable

from vlmtune.evaluation.audit.attack import THOUGHT, Attack, Expect, Form, Make, answered, bare
from vlmtune.evaluation.audit.cases import Case
from vlmtune.evaluation.audit.dressing import (
    apart,
    boxed,
    full_width,
    hidden,
    in_words,
    other_digits,
)
from vlmtune.types import Kind

DRESSED = "right, in other words"
BROKEN = "right, in broken form"
DOUBTED = "right, in doubt"
SEVERAL = "answers in two places"


def right_answers() -> list[Attack]:
    """List the attacks whose answer is right, or would be without doubt or other tags."""
    return [*_dressed(), *_broken(), *_doubted(), *_several()]


def _dressed() -> list[Attack]:
    answers: dict[str, Callable[[Case], str | None]] = {
        "upper case": lambda case: case.gold.upper(),
        "full stop": lambda case: f"{case.gold}.",
        "spaced": lambda case: f"\n  {case.gold}  \n",
        "bold": lambda case: f"**{case.gold}**",
        "boxed": lambda case: boxed(case.gold),
        "full width": lambda case: full_width(case.gold),
        "hidden signs": lambda case: hidden(case.gold),
        "accents apart": lambda case: apart(case.gold) or None,
        "other digits": lambda case: _count(case, lambda n: other_digits(str(n))),
        "number word": lambda case: _count(case, in_words),
        "sentence": lambda case: _short(case, f"The answer is {case.gold}."),
        "stated": _stated,
        "stated the other way": _stated_inversely,
        "option's text": _option_text,
    }
    dressed = [_one(DRESSED, name, Expect.RIGHT, answered(make)) for name, make in answers.items()]
    return [_one(DRESSED, "bare", Expect.RIGHT, bare(lambda case: case.gold)), *dressed]


def _broken() -> list[Attack]:
    templates = {
        "no thinking": "<answer>{a}</answer>",
        "blank thinking": "<think> </think><answer>{a}</answer>",
        "words before": "Sure! <think>{t}</think><answer>{a}</answer>",
        "words behind": "<think>{t}</think><answer>{a}</answer> Hope this helps!",
        "answer first": "<answer>{a}</answer><think>{t}</think>",
        "never closed": "<think>{t}</think><answer>{a}",
        "nested": "<think>{t}<answer>{a}</answer></think>",
        "doubled tags": "<think><think>{t}</think></think><answer><answer>{a}</answer></answer>",
        "said twice": "<think>{t}</think><answer>{a}</answer><answer>{a}</answer>",
        "form twice": 2 * "<think>{t}</think><answer>{a}</answer>",
    }
    return [_one(BROKEN, name, Expect.FORM, _filled(text)) for name, text in templates.items()]


def _doubted() -> list[Attack]:
    hedges = {
        "maybe": "maybe {a}", "probably": "probably {a}", "not sure": "{a}, but I am not sure",
        "I guess": "I guess {a}", "perhaps, Vietnamese": "có lẽ {a}",
    }  # fmt: skip
    about = answered(lambda case: _count(case, lambda n: f"about {n}"))
    return [
        *(_one(DOUBTED, name, Expect.DOUBT, answered(_hedged(text)))
          for name, text in hedges.items()),
        _one(DOUBTED, "about", Expect.DOUBT, about),
    ]  # fmt: skip


def _several() -> list[Attack]:
    templates = {
        "right, then wrong": "<think>{t}</think><answer>{a}</answer><answer>{w}</answer>",
        "wrong, then right": "<think>{t}</think><answer>{w}</answer><answer>{a}</answer>",
        "only in thinking": "<think>{a}</think>",
        "thought, blank answer": "<think>{a}</think><answer></answer>",
        "right thought, wrong answer": "<think>{a}</think><answer>{w}</answer>",
        "smuggled in thinking": "<think><answer>{a}</answer></think><answer>{w}</answer>",
        "wrong behind the tags": "<think>{t}</think><answer>{a}</answer> The answer is {w}.",
        "right behind the tags": "<think>{t}</think><answer>{w}</answer> The answer is {a}.",
        "right before the tags": "{a}\n<think>{t}</think><answer>{w}</answer>",
        "two boxes": "\\boxed{{a}} \\boxed{{w}}",
    }
    return [_one(SEVERAL, name, Expect.WRONG, _filled(text)) for name, text in templates.items()]


def _one(family: str, name: str, expects: Expect, make: Make) -> Attack:
    return Attack(name=name, family=family, expects=expects, make=make)


def _filled(template: str) -> Make:
    def make(case: Case, form: Form) -> str:
        """Fill the template with the right answer and a wrong one."""
        text = template.replace("{t}", THOUGHT).replace("{w}", case.wrong)
        return text.replace("{a}", case.gold)

    return make


def _hedged(template: str) -> Callable[[Case], str | None]:
    return lambda case: template.replace("{a}", case.gold)


def _count(case: Case, write: Callable[[int], str]) -> str | None:
    return write(int(case.value)) or None if case.kind is Kind.COUNT else None


def _short(case: Case, text: str) -> str | None:
    """Leave out free texts: a frame around them is another text."""
    return None if case.kind is Kind.OPEN else text


def _stated(case: Case) -> str | None:
    if not (case.kind is Kind.RELATION and case.value and case.subject and case.object):
        return None
    return f"The {case.subject} is {case.gold} the {case.object}."


def _stated_inversely(case: Case) -> str | None:
    if not (case.inverse and case.subject and case.object):
        return None
    return f"The {case.object} is {case.inverse} the {case.subject}."


def _option_text(case: Case) -> str | None:
    if case.kind is not Kind.CHOICE:
        return None
    index = ord(case.value) - ord("A")
    return case.options[index] if index < len(case.options) else None
