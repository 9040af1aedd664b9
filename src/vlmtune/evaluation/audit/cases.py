"""What is right and what is certainly wrong in a row, by construction.

The battery must not ask a reward's own reader whether an answer is wrong: a hole in the reader
would hide behind it. So wrong answers are built from the gold: the other side, another number,
another letter, another row's caption.

gold 'left of'    wrong 'right of', 'behind', 'in front of'     turned round 'right of'
gold '3'          wrong '5', '8', '16'                          near '4'
gold '(B)' of 4   wrong '(A)', '(C)', '(D)'
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from vlmtune.language import ontology
from vlmtune.language.answers import Task, prepare
from vlmtune.language.arguments import arguments_of, gold_relation
from vlmtune.language.choices import options_of, without_letters
from vlmtune.language.normalise import plain
from vlmtune.language.prompts import letter
from vlmtune.language.spans import gold_text
from vlmtune.rewards.columns import pictured
from vlmtune.types import Example, Kind

OPPOSITE: Mapping[str, str] = MappingProxyType(
    {
        "left of": "right of", "right of": "left of", "above": "under", "on": "under",
        "under": "above", "in front of": "behind", "behind": "in front of", "inside": "outside",
        "outside": "inside", "next to": "far from", "near": "far from", "far from": "next to",
        "facing": "facing away from", "facing away from": "facing", "parallel to":
        "perpendicular to", "perpendicular to": "parallel to", "attached to": "detached from",
    }
)  # fmt: skip
"""Relation -> one that cannot hold at the same time."""
_YES = frozenset({"yes", "true", "correct", "có", "đúng"})
_OTHER_WORD: Mapping[str, str] = MappingProxyType(
    {
        "yes": "no", "no": "yes", "true": "false", "false": "true", "correct": "incorrect",
        "incorrect": "correct", "có": "không", "không": "có", "đúng": "sai", "sai": "đúng",
    }
)  # fmt: skip
_WITHOUT_OPTIONS = 4
_MOST_WRONG = 4
_MOST_COMPARED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row and the answers whose worth is known.

    Attributes:
        example: The row.
        kind: How its gold is read; OPEN where it is only a text.
        gold: The right answer, without tags.
        value: The gold in canonical words: "left of", "3", "B", "yes".
        wrongs: Answers that are certainly wrong, and not close to right.
        near: A wrong answer close to the right one, or "".
        inverse: The relation with its two things exchanged, where that is another one, or "".
        subject: First thing of a relation question, or "".
        object: Second thing, or "".
        everything: All answers to such questions at once, the right one among them.
        options: Texts of a choice question's options.
        explanation: What a person said about the answer, or "".
        unrelated: What a person said about another row's, with the fewest words in common, or "".
    """

    example: Example
    kind: Kind
    gold: str
    value: str
    wrongs: tuple[str, ...]
    near: str = ""
    inverse: str = ""
    subject: str = ""
    object: str = ""
    everything: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    explanation: str = ""
    unrelated: str = ""

    @property
    def wrong(self) -> str:
        """The plainest wrong answer."""
        return self.wrongs[0]


def cases_of(examples: Sequence[Example]) -> tuple[list[Case], list[str]]:
    """Build the cases of a dataset.

    Args:
        examples: Its rows.

    Returns:
        The cases, and "id: reason" of each row that has none.
    """
    texts = _texts(examples)
    told = [_explanation(example) for example in examples]
    cases: list[Case] = []
    left_out: list[str] = []
    for example in examples:
        gold = gold_text(example.answer or "").strip()
        if not gold:
            left_out.append(f"{example.id}: no gold answer")
            continue
        case = _explained(_case(example, gold, texts), told)
        if case.wrongs:
            cases.append(case)
        else:
            left_out.append(f"{example.id}: no answer is known to be wrong")
    return cases, left_out


def _texts(examples: Sequence[Example]) -> list[str]:
    """List the distinct free texts among the golds; they are wrong answers to each other's rows."""
    found = {
        plain(text): text
        for example in examples
        if example.answer and (text := gold_text(example.answer).strip())
    }
    return list(found.values())


def _explanation(example: Example) -> str:
    """Take the first explanation that a person gave, wherever a reward would look for it."""
    references = pictured(example).references
    return references[0].strip() if references else example.rationale.strip()


def _explained(case: Case, told: list[str]) -> Case:
    own = _explanation(case.example)
    if not own:
        return case
    words = set(plain(own).split())
    start = sum(map(ord, case.example.id)) % len(told)
    others = [text for text in (told[start:] + told[:start])[:_MOST_COMPARED] if text]
    unrelated = min(others, key=lambda text: len(words & set(plain(text).split())), default="")
    return replace(case, explanation=own, unrelated="" if unrelated == own else unrelated)


def _case(example: Example, gold: str, texts: Sequence[str]) -> Case:
    task = prepare(
        kind=example.kind, question=example.question, answer=gold, choices=example.choices
    )
    value = task.gold.value
    if task.literal or value is None:
        return _text_case(example, gold, texts)
    if task.kind is Kind.COUNT:
        return _count_case(example, gold, int(value))
    if task.kind is Kind.YES_NO:
        return _yes_no_case(example, gold, value)
    if task.kind is Kind.CHOICE:
        return _choice_case(example, gold, value)
    return _relation_case(example, gold, task)


def _text_case(example: Example, gold: str, texts: Sequence[str]) -> Case:
    # A text that holds the other is not certainly wrong: "red" and "red and white".
    mine = plain(gold)
    others = [text for text in texts if mine not in plain(text) and plain(text) not in mine]
    start = sum(map(ord, example.id)) % max(1, len(others))
    chosen = (others[start:] + others[:start])[:_MOST_WRONG]
    return Case(
        example=example, kind=Kind.OPEN, gold=gold, value=mine, wrongs=tuple(chosen),
        everything=(gold, *chosen),
    )  # fmt: skip


def _count_case(example: Example, gold: str, number: int) -> Case:
    wrongs = [number + 2, number + 5, 2 * number + 10]
    if number >= 2:
        wrongs.append(number - 2)
    return Case(
        example=example,
        kind=Kind.COUNT,
        gold=gold,
        value=str(number),
        wrongs=tuple(map(str, wrongs)),
        near=str(number + 1),
        everything=tuple(map(str, range(max(11, number + 2)))),
    )


def _yes_no_case(example: Example, gold: str, value: str) -> Case:
    other = _OTHER_WORD.get(plain(gold), "no" if value in _YES else "yes")
    return Case(
        example=example, kind=Kind.YES_NO, gold=gold, value=value, wrongs=(other,),
        everything=(gold, other),
    )  # fmt: skip


def _choice_case(example: Example, gold: str, value: str) -> Case:
    texts = without_letters(example.choices) or options_of(example.question)
    letters = [letter(index) for index in range(min(len(texts), 26) or _WITHOUT_OPTIONS)]
    right = f"({value})"
    return Case(
        example=example,
        kind=Kind.CHOICE,
        gold=gold,
        value=value,
        wrongs=tuple(name for name in letters if name != right),
        everything=tuple(letters),
        options=tuple(texts),
    )


def _relation_case(example: Example, gold: str, task: Task) -> Case:
    claims = task.gold.claims
    # Two claims are one place on two axes; of those only the first is turned into its opposite.
    name = min(claims[0])
    around = arguments_of(example.question, gold)
    opposite = OPPOSITE.get(name, "")
    sides = ("behind", "in front of") if _axis(name) == "width" else ("left of", "right of")
    wrongs = tuple(filter(None, (opposite, *sides)))
    inverses = ontology.INVERSE.get(name, frozenset())
    turned = sorted(inverses - {name})
    return Case(
        example=example,
        kind=Kind.RELATION,
        gold=gold_relation(gold),
        value=name if len(claims) == 1 else "",
        wrongs=wrongs,
        inverse=turned[0] if turned and name not in inverses and len(claims) == 1 else "",
        subject=" ".join(around.subject),
        object=" ".join(around.object),
        everything=tuple(dict.fromkeys((gold_relation(gold), *ontology.AXES, "next to", "inside"))),
    )


def _axis(name: str) -> str:
    return ontology.AXES.get(name, "")
