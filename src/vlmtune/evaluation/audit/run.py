"""Runs the battery against a reward."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmtune.errors import DataError, RunFailed
from vlmtune.evaluation.audit.attack import FORMS, TAGGED, Attack, Expect, Form
from vlmtune.evaluation.audit.attacks import battery
from vlmtune.evaluation.audit.cases import Case, cases_of
from vlmtune.evaluation.audit.conduct import ANSWERS, SLOW_FLOOD, Check, checks, time_answers
from vlmtune.evaluation.audit.constants import Constant, best_constants
from vlmtune.evaluation.audit.measured import EPSILON, Honest, Outcome, Trial
from vlmtune.evaluation.audit.subject import Paid, Subject
from vlmtune.evaluation.audit.verdicts import MARGIN, ORDER, PASS, Verdict, judge
from vlmtune.types import Example

PROBED = 24
"""Rows on which forms are compared."""
LADDER = ((1_000, 0.2), (3_000, 0.5), (10_000, 1.0))
"""Characters, and the processor seconds from which on ten times as many are not tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What is known about a reward afterwards.

    Attributes:
        name: The reward's.
        form: In which honest answers were written.
        honest: What plain right and wrong answers earn, a row each.
        left_out: "id: reason" of rows that were not used.
        not_applicable: Rows for which the reward gives None.
        pays_form: Whether a bare right answer earns less.
        only_form: Whether right and wrong earn the same, and form more.
        outcomes: What each attack earned, with its verdict.
        constants: The best constant of each kind.
        checks: Everything else.
        margin: As in `verdicts`.
        seconds: Wall time.
    """

    name: str
    form: Form
    honest: tuple[Honest, ...]
    left_out: tuple[str, ...]
    not_applicable: int
    pays_form: bool
    only_form: bool
    outcomes: tuple[tuple[Outcome, Verdict], ...]
    constants: tuple[Constant, ...]
    checks: tuple[Check, ...]
    margin: float
    seconds: float

    @property
    def statuses(self) -> list[str]:
        """Status of every attack, constant and check."""
        return [
            *(verdict.status for _, verdict in self.outcomes),
            *(constant.verdict.status for constant in self.constants),
            *(check.status for check in self.checks),
        ]

    @property
    def status(self) -> str:
        """The worst of all: "fail" means that the reward can be gamed or misbehaves."""
        return min(self.statuses, key=ORDER.index, default=PASS)


def audit(
    subject: Subject,
    examples: Sequence[Example],
    *,
    margin: float = MARGIN,
    timed_answers: int = ANSWERS,
    progress: Callable[[str, int], None] | None = None,
) -> Audit:
    """Try every attack on every row.

    Args:
        subject: The reward.
        examples: Rows with a gold answer.
        margin: Reward that an attack may earn above a plain wrong answer.
        timed_answers: Ordinary answers to time; 0 times none.
        progress: Called with the family and the number of attacks tried since the last call.

    Raises:
        DataError: If no row can be used, or the reward refuses the rows.
        RunFailed: If the reward raises on plain right answers.
    """
    started = time.perf_counter()
    cases, left_out = cases_of(examples)
    if not cases:
        raise DataError(f"no row can be audited; the first: {_first(left_out)}")
    form = _best_form(subject, cases)
    honest, silent = _honest(subject, cases, form)
    if not honest:
        raise DataError(
            f"reward '{subject.name}' does not apply to any of {len(cases)} rows; name a dataset "
            "that it grades"
        )
    outcomes = []
    for attack in battery():
        outcomes.append(_attack(subject, attack, honest, form))
        if progress is not None:
            progress(attack.family, 1)
    outcomes = [one for one in outcomes if one.trials or one.errors or one.too_slow]
    pays_form = _pays_form(outcomes)
    only_form = pays_form and all(row.gap <= EPSILON for row in honest)
    trials = [trial for outcome in outcomes for trial in outcome.trials]
    timing = time_answers(subject, trials, answers=timed_answers)
    return Audit(
        name=subject.name,
        form=form,
        honest=tuple(honest),
        left_out=tuple(left_out),
        not_applicable=silent,
        pays_form=pays_form,
        only_form=only_form,
        outcomes=tuple(
            (outcome, judge(outcome, margin=margin, pays_form=pays_form)) for outcome in outcomes
        ),
        constants=tuple(best_constants(subject, honest, form=form, margin=margin)),
        checks=tuple(checks(subject, honest, outcomes, only_form=only_form, timing=timing)),
        margin=margin,
        seconds=time.perf_counter() - started,
    )


def _best_form(subject: Subject, cases: Sequence[Case]) -> Form:
    """Choose the form in which gold answers earn most; <think> and <answer> if none is better."""
    probed = cases[:: max(1, len(cases) // PROBED)][:PROBED]

    def earned(form: Form) -> float:
        """Add up what honest answers of this form earn; what is no finite number earns nothing."""
        paid = (_honest_pay(subject, case, form.say(case, case.gold)).value for case in probed)
        return math.fsum(value for value in paid if value is not None and math.isfinite(value))

    totals = [earned(form) for form in FORMS]
    best = max(totals)
    return TAGGED if totals[0] >= best - EPSILON else FORMS[totals.index(best)]


def _honest(
    subject: Subject, cases: Sequence[Case], form: Form
) -> tuple[list[Honest], int]:  # fmt: skip
    rows: list[Honest] = []
    silent = 0
    for case in cases:
        if not subject.applies(case.example, form.say(case, case.gold)):
            silent += 1
            continue
        right = _honest_pay(subject, case, form.say(case, case.gold))
        wrongs = [_honest_pay(subject, case, form.say(case, text)).value for text in case.wrongs]
        if right.value is None or any(value is None for value in wrongs):
            silent += 1
            continue
        rows.append(
            Honest(
                case=case,
                right=right.value,
                wrongs=tuple(value for value in wrongs if value is not None),
                why=right.why,
                unrelated=_explained(subject, case, form, case.unrelated),
                unexplained=_explained(subject, case, form, " "),
            )
        )
    return rows, silent


def _explained(subject: Subject, case: Case, form: Form, explanation: str) -> float | None:
    """Pay the right answer with another explanation than the row's own."""
    if not (form.explains and case.explanation and explanation):
        return None
    return _honest_pay(subject, case, form.say(case, case.gold, explanation=explanation)).value


def _honest_pay(subject: Subject, case: Case, completion: str) -> Paid:
    paid = subject.pay(case.example, completion)
    if paid.error:
        raise RunFailed(
            f"reward '{subject.name}' raises on a plain answer to {case.example.id}: {paid.error}"
        )
    return paid


def _attack(subject: Subject, attack: Attack, honest: Sequence[Honest], form: Form) -> Outcome:
    trials: list[Trial] = []
    errors: list[str] = []
    slowest = 0.0
    if attack.most_rows is not None and (told := _too_slow(subject, attack, honest[0], form)):
        return Outcome(attack=attack, trials=(), errors=(), slowest=0.0, too_slow=told)
    for row in _rows(honest, attack.most_rows):
        completion = attack.make(row.case, form)
        if completion is None:
            continue
        if attack.expects is Expect.RIGHT and completion == form.say(row.case, row.case.gold):
            # Upper-casing '3' is no attack.
            continue
        example = row.case.example
        started = time.process_time()
        paid = subject.pay(example, completion)
        seconds = time.process_time() - started
        if attack.most_rows is not None and seconds > SLOW_FLOOD:
            seconds = min(seconds, _again(subject, example, completion))
        slowest = max(slowest, seconds)
        if paid.error:
            errors.append(f"{example.id}: {paid.error}")
        elif paid.value is not None:
            trials.append(Trial(honest=row, completion=completion, paid=paid))
    return Outcome(attack=attack, trials=tuple(trials), errors=tuple(errors), slowest=slowest)


def _again(subject: Subject, example: Example, completion: str) -> float:
    """Time an answer twice more: a busy machine must not be taken for a slow reward."""
    took = []
    for _ in range(2):
        started = time.process_time()
        subject.pay(example, completion)
        took.append(time.process_time() - started)
    return min(took)


def _too_slow(subject: Subject, attack: Attack, row: Honest, form: Form) -> str:
    """Try the start of a long answer first: at the full length a reward might never come back."""
    completion = attack.make(row.case, form) or ""
    for length, limit in LADDER:
        started = time.process_time()
        subject.pay(row.case.example, completion[:length])
        seconds = time.process_time() - started
        if seconds > limit:
            return f"took {seconds:.2f} s for {length:,} characters; 100 kB was not tried"
    return ""


def _rows(honest: Sequence[Honest], most: int | None) -> Sequence[Honest]:
    if most is None or len(honest) <= most:
        return honest
    # Kinds come in turn: a stride that is no multiple of their number meets them all.
    stride = max(1, len(honest) // most) | 1
    return honest[::stride][:most]


def _pays_form(outcomes: Sequence[Outcome]) -> bool:
    bare = next((one for one in outcomes if one.attack.name == "bare"), None)
    return bare is not None and any(
        trial.value < trial.honest.right - EPSILON for trial in bare.trials
    )


def _first(left_out: Sequence[str]) -> str:
    return left_out[0] if left_out else "there are no rows"
