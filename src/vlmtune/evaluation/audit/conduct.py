"""How a reward behaves as code: its range, its memory, its batches, its time, what it raises."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from vlmtune.evaluation.audit.measured import EPSILON, Honest, Outcome, Trial
from vlmtune.evaluation.audit.subject import Subject
from vlmtune.evaluation.audit.verdicts import FAIL, PASS, ROWS, WARN, outranks

ANSWERS = 10_000
"""Answers that are timed."""
LONGEST_TIMING = 30.0
"""Seconds after which timing stops, however few answers were graded."""
SLOW_ANSWER, SLOW_FLOOD, ENDLESS_FLOOD = 0.005, 0.05, 1.0
"""Seconds: an ordinary answer, and one of 100 kB, from which on a reward delays training."""
BATCH = 64
_STRIDE = 7919


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One property of the reward.

    Attributes:
        name: Which.
        status: "pass", "warn" or "fail".
        detail: With figures.
    """

    name: str
    status: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long ordinary answers take, in seconds each.

    Attributes:
        answers: How many were timed.
        median: The middle one: a busy machine hardly moves it.
        slow: 99 % take no longer.
    """

    answers: int
    median: float
    slow: float


def checks(
    subject: Subject,
    honest: Sequence[Honest],
    outcomes: Sequence[Outcome],
    *,
    only_form: bool,
    timing: Timing | None,
) -> list[Check]:
    """Check everything that is not about one attack.

    Args:
        subject: The reward.
        honest: What honest answers earn.
        outcomes: What the attacks earned.
        only_form: Whether it pays for form and never for truth.
        timing: How long ordinary answers took; None where nobody measured.
    """
    trials = [trial for outcome in outcomes for trial in outcome.trials]
    sample = _sample(trials)
    return [
        _separates(honest, only_form=only_form),
        _golds(honest),
        _range(honest, trials),
        _raises(outcomes),
        _again(subject, sample),
        _named("batches", FAIL, lambda: _batches(subject, sample)),
        _named("chat messages", WARN, lambda: _messages(subject, sample)),
        _named("threads", FAIL, lambda: _threads(subject, sample)),
        _floods(outcomes),
        *([_time(timing)] if timing is not None else []),
    ]


def time_answers(subject: Subject, trials: Sequence[Trial], *, answers: int) -> Timing | None:
    """Grade many ordinary answers, one by one."""
    ordinary = [trial for trial in trials if len(trial.completion) < 2000]
    if not ordinary or not answers:
        return None
    # A stride without a common factor meets all attacks and all rows.
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < answers and time.perf_counter() - started < LONGEST_TIMING:
        trial = ordinary[len(seconds) * _STRIDE % len(ordinary)]
        before = time.perf_counter()
        subject.pay(trial.honest.case.example, trial.completion)
        seconds.append(time.perf_counter() - before)
    seconds.sort()
    return Timing(
        answers=len(seconds), median=seconds[len(seconds) // 2],
        slow=seconds[(99 * len(seconds)) // 100],
    )  # fmt: skip


def _separates(honest: Sequence[Honest], *, only_form: bool) -> Check:
    name, n = "right over wrong", len(honest)
    beaten = [row.case.example.id for row in honest if outranks(row)]
    equal = [row for row in honest if row.right <= max(row.wrongs) + EPSILON]
    if beaten:
        detail = f"a plain wrong answer outranks the right one in {len(beaten)} of {n} rows: "
        return Check(name=name, status=FAIL, detail=detail + _listed(beaten))
    if only_form:
        detail = "it pays for form and never for truth: use it beside a reward that reads answers"
        return Check(name=name, status=WARN, detail=detail)
    if len(equal) >= ROWS * n and equal:
        detail = f"a plain wrong answer earns as much as the right one in {len(equal)} of {n} rows"
        return Check(name=name, status=FAIL, detail=detail)
    detail = f"the plain right answer earns most in {n - len(equal)} of {n} rows"
    return Check(name=name, status=WARN if equal else PASS, detail=detail)


def _golds(honest: Sequence[Honest]) -> Check:
    best = max(row.right for row in honest)
    low = [row.case.example.id for row in honest if row.right < best - 0.1]
    detail = f"every gold answer earns {best:.2f}"
    if low:
        detail = f"{len(low)} of {len(honest)} gold answers earn less than {best - 0.1:.2f}: "
        detail += _listed(low)
    return Check(name="gold answers", status=WARN if low else PASS, detail=detail)


def _range(honest: Sequence[Honest], trials: Sequence[Trial]) -> Check:
    wild = [t for t in trials if not (math.isfinite(t.value) and 0.0 <= t.value <= 1.0)]
    wild_rows = [row for row in honest if not 0.0 <= row.right <= 1.0]
    total = len(trials) + len(honest)
    if wild or wild_rows:
        shown = wild[0].value if wild else wild_rows[0].right
        detail = f"{len(wild) + len(wild_rows)} of {total} rewards are no number in [0, 1]: {shown}"
        return Check(name="range", status=FAIL, detail=detail)
    return Check(name="range", status=PASS, detail=f"all {total} rewards are numbers in [0, 1]")


def _raises(outcomes: Sequence[Outcome]) -> Check:
    errors = [
        f"{outcome.attack.family}: {outcome.attack.name}, {error}"
        for outcome in outcomes
        for error in outcome.errors
    ]
    detail = f"raised {len(errors)} times: {errors[0]}" if errors else "raised nothing"
    return Check(name="exceptions", status=FAIL if errors else PASS, detail=detail)


def _again(subject: Subject, sample: Sequence[Trial]) -> Check:
    changed = [
        trial
        for trial in reversed(sample)
        if not _same(subject.pay(trial.honest.case.example, trial.completion).value, trial.value)
    ]
    detail = f"{len(sample)} answers earn the same when asked again, in another order"
    if changed:
        detail = f"{len(changed)} of {len(sample)} answers earn something else when asked again"
    return Check(name="determinism", status=FAIL if changed else PASS, detail=detail)


def _batches(subject: Subject, sample: Sequence[Trial]) -> Check:
    """Ask TRL's way: batch and single answer, and any order of a batch, must agree."""
    examples = [trial.honest.case.example for trial in sample]
    texts = [trial.completion for trial in sample]
    whole = subject.pay_batch(examples, texts)
    turned = subject.pay_batch(examples[::-1], texts[::-1])[::-1]
    if len(whole) != len(sample):
        detail = f"a batch of {len(sample)} gives {len(whole)} rewards"
        return Check(name="batches", status=FAIL, detail=detail)
    moved = sum(not _same(a, b) for a, b in zip(whole, turned, strict=True))
    apart = sum(not _same(a, trial.value) for a, trial in zip(whole, sample, strict=True))
    if moved or apart:
        detail = f"of {len(sample)} answers in one batch {moved} earn something else in another "
        detail += f"order, and {apart} alone"
        return Check(name="batches", status=FAIL, detail=detail)
    detail = f"{len(sample)} answers in one batch, in another order and alone earn the same"
    return Check(name="batches", status=PASS, detail=detail)


def _messages(subject: Subject, sample: Sequence[Trial]) -> Check:
    """Trainers hand over chat messages where the dataset is conversational."""
    examples = [trial.honest.case.example for trial in sample]
    chats = [[{"role": "assistant", "content": trial.completion}] for trial in sample]
    paid = subject.pay_batch(examples, chats)
    apart = sum(not _same(a, trial.value) for a, trial in zip(paid, sample, strict=True))
    detail = f"{len(sample)} answers as chat messages earn the same as text"
    if apart:
        detail = f"{apart} of {len(sample)} answers earn something else as chat messages"
    return Check(name="chat messages", status=WARN if apart else PASS, detail=detail)


def _threads(subject: Subject, sample: Sequence[Trial]) -> Check:
    def ask(trial: Trial) -> bool:
        """Tell whether a reward that is asked from a thread pays what it paid alone."""
        paid = subject.pay(trial.honest.case.example, trial.completion)
        return not paid.error and _same(paid.value, trial.value)

    with ThreadPoolExecutor(max_workers=4) as pool:
        apart = sum(not same for same in pool.map(ask, sample))
    detail = f"{len(sample)} answers earn the same from four threads"
    if apart:
        detail = f"{apart} of {len(sample)} answers earn something else, or raise, from a thread"
    return Check(name="threads", status=FAIL if apart else PASS, detail=detail)


def _floods(outcomes: Sequence[Outcome]) -> Check:
    long = [outcome for outcome in outcomes if outcome.attack.most_rows is not None]
    given_up = next((outcome for outcome in long if outcome.too_slow), None)
    if given_up is not None:
        detail = f"{given_up.attack.name}: {given_up.too_slow}"
        return Check(name="100 kB in time", status=FAIL, detail=detail)
    slowest = max(long, key=lambda outcome: outcome.slowest, default=None)
    if slowest is None:
        return Check(name="100 kB in time", status=PASS, detail="no long answer was tried")
    seconds = slowest.slowest
    status = FAIL if seconds > ENDLESS_FLOOD else WARN if seconds > SLOW_FLOOD else PASS
    detail = (
        f"the slowest answer of 100 kB took {1000 * seconds:.1f} ms of work ({slowest.attack.name})"
    )
    return Check(name="100 kB in time", status=status, detail=detail)


def _time(timing: Timing) -> Check:
    detail = (
        f"{1e6 * timing.median:,.0f} microseconds an answer (median of {timing.answers:,}), "
        f"{1000 * timing.slow:.1f} ms for the slowest 1 %"
    )
    slow = timing.median > SLOW_ANSWER
    return Check(name="time", status=WARN if slow else PASS, detail=detail)


def _named(name: str, status: str, check: Callable[[], Check]) -> Check:
    """Run a check in which the reward may raise, and tell what it raised."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - an audit names whatever the reward raises
        return Check(name=name, status=status, detail=f"raised {type(error).__name__}: {error}")


def _same(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    both_nan = math.isnan(first) and math.isnan(second)
    return both_nan or abs(first - second) <= EPSILON


def _sample(trials: Sequence[Trial]) -> list[Trial]:
    """Take answers of all sorts, evenly over the battery; the long ones have their own check."""
    short = [trial for trial in trials if len(trial.completion) < 2000]
    return short[:: max(1, len(short) // BATCH)][:BATCH]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
