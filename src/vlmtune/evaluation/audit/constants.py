"""The best answer that never looks at the picture: one for all questions of a kind.

The most frequent gold earns its share of any honest reward; that is a fact about the dataset. What
a constant earns beyond that share is a fact about the reward.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.evaluation.audit.attack import Form
from vlmtune.evaluation.audit.measured import EPSILON, Honest, Mean, best_guess, mean_of
from vlmtune.evaluation.audit.subject import Subject
from vlmtune.evaluation.audit.verdicts import FAIL, NEAR_CREDIT, PASS, WARN, Verdict
from vlmtune.types import Kind

MOST = 12
"""Golds that are tried for each kind, the most frequent first."""
_ALWAYS = {
    Kind.COUNT: ("0", "1", "2", "3"),
    Kind.YES_NO: ("yes", "no"),
    Kind.CHOICE: ("(A)", "(B)"),
    Kind.RELATION: ("left of", "right of", "near"),
}
"""Tried whatever the golds are."""
RULE = (
    f"fails if it beats the best single guess by more than {NEAR_CREDIT:.0%} of what being right "
    "is worth; warns from {margin:g}: near misses may be paid a little"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The constant that pays most for one kind.

    Attributes:
        kind: Of the questions.
        answer: What is always answered.
        paid: What it earns.
        majority: The most frequent gold.
        share: Its share of the golds.
        fair: What always answering the most frequent gold would earn, were every row paid as a
            plain right or a plain wrong answer.
        verdict: Whether the reward adds to that.
    """

    kind: Kind
    answer: str
    paid: Mean
    majority: str
    share: float
    fair: float
    verdict: Verdict


def best_constants(
    subject: Subject, honest: Sequence[Honest], *, form: Form, margin: float
) -> list[Constant]:
    """Find the best constant of each kind."""
    by_kind: defaultdict[Kind, list[Honest]] = defaultdict(list)
    for row in honest:
        by_kind[row.case.kind].append(row)
    found = [_best(subject, kind, rows, form=form, margin=margin) for kind, rows in by_kind.items()]
    return [constant for constant in found if constant is not None]


def _best(
    subject: Subject, kind: Kind, rows: Sequence[Honest], *, form: Form, margin: float
) -> Constant | None:
    golds = Counter(row.case.value for row in rows)
    # One spelling for each meaning: the gold's own.
    spelled = {row.case.value: row.case.gold for row in rows}
    majority, count = golds.most_common(1)[0]
    candidates = [spelled[value] for value, _ in golds.most_common(MOST)]
    candidates += [text for text in _ALWAYS.get(kind, ()) if text not in candidates]
    means = [
        (answer, mean)
        for answer in candidates
        if (mean := _mean(subject, rows, answer, form)) is not None
    ]
    if not means:
        return None
    answer, paid = max(means, key=lambda one: one[1].value)
    fair = best_guess(rows)
    worth = math.fsum(row.gap for row in rows) / len(rows)
    return Constant(
        kind=kind, answer=answer, paid=paid, majority=spelled[majority], share=count / len(rows),
        fair=fair, verdict=_judge(paid.value - fair, worth=worth, margin=margin),
    )  # fmt: skip


def _mean(subject: Subject, rows: Sequence[Honest], answer: str, form: Form) -> Mean | None:
    paid = (subject.pay(row.case.example, form.say(row.case, answer)).value for row in rows)
    return mean_of([value for value in paid if value is not None and math.isfinite(value)])


def _judge(excess: float, *, worth: float, margin: float) -> Verdict:
    if excess > max(margin, NEAR_CREDIT * worth) + EPSILON:
        return Verdict(status=FAIL, said=f"beats the best single guess by {excess:.2f}")
    if excess > margin + EPSILON:
        return Verdict(status=WARN, said=f"beats the best single guess by {excess:.2f}")
    return Verdict(status=PASS, said="earns what the best single guess does")
