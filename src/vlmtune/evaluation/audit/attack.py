"""What an attack is, and the form in which an honest answer is written."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from vlmtune.evaluation.audit.cases import Case

THOUGHT = "looking at the image"


class Expect(str, Enum):
    """What an attack should earn; the verdict's rule follows from it."""

    WRONG = "wrong"
    NEAR = "near"
    DOUBT = "doubt"
    RIGHT = "right"
    FORM = "form"
    HOLLOW = "hollow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an honest answer is written.

    Attributes:
        name: For people: "<think> and <answer>".
        template: Text with {answer}, {thought} and {explanation}.
    """

    name: str
    template: str

    @property
    def explains(self) -> bool:
        """Whether an explanation has a place in it."""
        return "{explanation}" in self.template

    def say(
        self, case: Case, answer: str, *, thought: str = THOUGHT, explanation: str | None = None
    ) -> str:
        """Write an answer to a row; with a person's explanation unless another one is given."""
        told = case.explanation or THOUGHT if explanation is None else explanation
        filled = self.template.replace("{thought}", thought).replace("{answer}", answer)
        return filled.replace("{explanation}", told)


TAGGED = Form(
    name="<think> and <answer>", template="<think>{thought}</think><answer>{answer}</answer>"
)
BARE = Form(name="the bare answer", template="{answer}")
EXPLAINED = Form(
    name="<think>, <answer> and <explain>",
    template="<think>{thought}</think><answer>{answer}</answer><explain>{explanation}</explain>",
)
FORMS = (TAGGED, BARE, EXPLAINED)
"""Forms to try; a reward is audited in the one in which it pays gold answers most."""

Make: TypeAlias = Callable[[Case, Form], str | None]
"""Writes the whole completion, or None where the row allows no such attack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One strategy that looks at the gold or at nothing, never at the picture.

    Attributes:
        name: Unique, short, for tables.
        family: What it belongs to, as the page groups it.
        expects: What it should earn.
        make: Writes it.
        most_rows: Rows to try it on at most; None is all.
    """

    name: str
    family: str
    expects: Expect
    make: Make
    most_rows: int | None = None


def fixed(text: str) -> Make:
    """Make a completion that is the same for every row."""

    def make(case: Case, form: Form) -> str:
        """Return the text, whatever was asked."""
        return text

    return make


def bare(answer: Callable[[Case], str | None]) -> Make:
    """Make a completion that is the answer and nothing else."""

    def make(case: Case, form: Form) -> str | None:
        """Return the answer without any form; None where there is none to give."""
        return answer(case)

    return make


def always(text: str) -> Callable[[Case], str | None]:
    """Answer every row alike."""

    def answer(case: Case) -> str:
        """Return the text, whatever was asked."""
        return text

    return answer


def answered(answer: Callable[[Case], str | None]) -> Make:
    """Make a completion in the honest form from an answer."""

    def make(case: Case, form: Form) -> str | None:
        """Return the answer in the form that is asked for; None where there is none to give."""
        said = answer(case)
        return None if said is None else form.say(case, said)

    return make
