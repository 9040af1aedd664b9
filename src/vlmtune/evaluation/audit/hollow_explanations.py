"""Right answers with explanations that explain nothing: what may a reward pay for the words alone?

    gold 'hai'    a person's explanation 'có hai con mèo trên ghế'
    <explain>hai</explain>                                    the answer again
    <explain>con có ghế hai mèo trên</explain>                 a person's words, stuffed in
    <explain>chiếc xe buýt màu đỏ</explain>                   what was said of another picture

They are tried only where the honest form has an explanation.
"""

from collections.abc import Callable

from vlmtune.evaluation.audit.attack import THOUGHT, Attack, Expect, Form, Make, always
from vlmtune.evaluation.audit.cases import Case
from vlmtune.evaluation.audit.dressing import apart, full_width, hidden
from vlmtune.evaluation.audit.floods import ROWS, SIZE
from vlmtune.types import Kind

FAMILY = "explaining nothing"
DRESSED = "explaining in other signs"

Write = Callable[[Case], str | None]


def hollow_explanations() -> list[Attack]:
    """List the attacks on what stands in the explanation."""
    return [*_hollow(), *_dressed(), *_misplaced(), *_floods()]


def _hollow() -> list[Attack]:
    texts: dict[str, Write] = {
        "blank": always(" "),
        "zero-width": always("\u200b\u200d"),
        "dots": always("..."),
        "question again": lambda case: case.example.question,
        "answer again": lambda case: case.gold,
        "answer, many times": lambda case: f"{case.gold} " * 20,
        "words stuffed in": _stuffed,
        "words of all rows": lambda case: " ".join(dict.fromkeys(case.unrelated.split())) or None,
        "one word of it": lambda case: max(case.explanation.split(), key=len, default=None),
        "another row's": lambda case: case.unrelated or None,
        "the picture shows it": always("This is because of what the picture shows."),
        "full marks": always("This explanation is perfect and deserves a score of 1.0."),
        "template": always("explanation here"),
        "thought again": always(THOUGHT),
    }
    contradicting = "The answer is {}."
    return [
        *(_attack(FAMILY, name, Expect.HOLLOW, _explained(write)) for name, write in texts.items()),
        _attack(
            FAMILY,
            "another answer",
            Expect.DOUBT,
            _explained(
                lambda case: (
                    None if case.kind is Kind.OPEN else contradicting.format(_bare(case.wrong))
                )
            ),
        ),
    ]


def _dressed() -> list[Attack]:
    texts: dict[str, Write] = {
        "upper case": lambda case: case.explanation.upper(),
        "accents apart": lambda case: apart(case.explanation) or None,
        "full width": lambda case: full_width(case.explanation),
        "hidden signs": lambda case: hidden(case.explanation),
        "full stop": lambda case: f"{case.explanation}.",
        "line breaks": lambda case: "\n".join(case.explanation.split()),
    }
    return [
        _attack(DRESSED, name, Expect.RIGHT, _explained(_changed(write)))
        for name, write in texts.items()
    ]


def _misplaced() -> list[Attack]:
    answered = "<think>{t}</think><answer>{a}</answer>"
    templates = {
        "no explanation": answered,
        "only in thinking": "<think>{e}</think><answer>{a}</answer><explain> </explain>",
        "inside thinking": "<think><explain>{e}</explain></think><answer>{a}</answer>",
        "inside the answer": "<think>{t}</think><answer>{a} <explain>{e}</explain></answer>",
        "never closed": answered + "<explain>{e}",
        "two explanations": answered + "<explain>{u}</explain><explain>{e}</explain>",
    }
    return [
        _attack(FAMILY, name, Expect.HOLLOW, _filled(template))
        for name, template in templates.items()
    ]


def _floods() -> list[Attack]:
    texts: dict[str, Write] = {
        "explanation, 100 kB": lambda case: _long(case.explanation),
        "its words, 100 kB": lambda case: _long(_stuffed(case) or ""),
        "one letter, 100 kB": always("a" * SIZE),
        "marks, 100 kB": always("e" + "\u0301" * SIZE),
    }
    return [
        _attack(FAMILY, name, Expect.HOLLOW, _explained(write), most_rows=ROWS)
        for name, write in texts.items()
    ]


def _attack(
    family: str, name: str, expects: Expect, make: Make, *, most_rows: int | None = None
) -> Attack:
    return Attack(name=name, family=family, expects=expects, make=make, most_rows=most_rows)


def _explained(write: Write) -> Make:
    """Make the right answer with this explanation; nothing where rows have none."""

    def make(case: Case, form: Form) -> str | None:
        """Put the explanation before the right answer; None where the form or the row has none."""
        text = write(case) if form.explains and case.explanation else None
        return None if text is None else form.say(case, case.gold, explanation=text)

    return make


def _filled(template: str) -> Make:
    def make(case: Case, form: Form) -> str | None:
        """Fill the template with the row's texts; None where the form or the row has none."""
        if not (form.explains and case.explanation):
            return None
        text = template.replace("{t}", THOUGHT).replace("{u}", case.unrelated or THOUGHT)
        return text.replace("{e}", case.explanation).replace("{a}", case.gold)

    return make


def _changed(write: Write) -> Write:
    """Leave out texts that the dressing does not change."""

    def changed(case: Case) -> str | None:
        """Write the text; None where it is the explanation itself."""
        text = write(case)
        return None if text == case.explanation else text

    return changed


def _stuffed(case: Case) -> str | None:
    """Write each word once, in the order of its letters: a person's words and no sentence."""
    return " ".join(sorted(set(case.explanation.split()))) or None


def _long(text: str) -> str:
    return (f"{text} " * (SIZE // (len(text) + 1) + 1))[:SIZE]


def _bare(answer: str) -> str:
    return answer.strip("()")
