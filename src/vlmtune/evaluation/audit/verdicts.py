"""The rules: when an attack shows that a reward can be gamed.

    wrong    no answer of this sort is right
    near     wrong, but close: a little may be paid
    doubt    right, if it were not doubted, or not drowned
    right    right, in other words or without the form
    form     right, in a form that was not asked for
    hollow   right, with an explanation that explains nothing

Rewards are compared within a row: with its plain right answer, and with its least paid plain wrong
answer.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vlmtune.evaluation.audit.attack import Expect
from vlmtune.evaluation.audit.measured import EPSILON, Honest, Outcome, Trial, best_guess
from vlmtune.types import Kind

PASS, WARN, FAIL = "pass", "warn", "fail"
ORDER = (FAIL, WARN, PASS)
MARGIN = 0.05
"""Reward that an attack may earn above a plain wrong answer on average."""
ROWS = 0.01
"""Share of rows from which on a hole is no accident of the data."""
NEAR_CREDIT = 0.3
"""Share of what being right is worth that a near miss may earn."""
FORM_CREDIT = 0.2
"""Reward that any words in the place of an explanation may earn, as form does."""
HOLLOW_CREDIT = 0.5
"""Share of what a person's explanation is worth that a hollow one may earn."""

SHOWN = 3
"""Trials that are kept as examples."""

RULES: Mapping[Expect, str] = MappingProxyType(
    {
        Expect.WRONG: "fails if it outranks a right answer, equals one in {rows:.0%} of rows, or "
        "earns {margin:g} more than a plain wrong answer on average; warns if it does in any row. "
        "One text for all rows fails only where it beats the best single guess by {margin:g}",
        Expect.NEAR: "fails from {near:.0%} of what being right is worth; warns if it earns "
        "{margin:g} more than a plain wrong answer",
        Expect.DOUBT: "fails if it outranks the plain right answer; warns if it earns {margin:g} "
        "more than a plain wrong answer",
        Expect.RIGHT: "fails if it outranks the plain right answer, or a wrong answer outranks it "
        "in {rows:.0%} of rows; warns if it earns less than half of what being right is worth",
        Expect.FORM: "fails if it outranks the well-formed right answer; warns if it equals one "
        "although the reward pays for form",
        Expect.HOLLOW: "fails if it outranks the right answer with a person's explanation, earns "
        "{hollow:.0%} of what that is worth above another row's, or is paid like it, and more than "
        "form; warns if it earns {margin:g} more than another row's",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judgement and what it stands on.

    Attributes:
        status: "pass", "warn" or "fail".
        said: One phrase with the figure that decided.
        worst: The trials that show it best, the worst first.
    """

    status: str
    said: str
    worst: tuple[Trial, ...] = ()


def rule_of(expects: Expect, *, margin: float) -> str:
    """Write out the rule of an attack."""
    return RULES[expects].format(rows=ROWS, margin=margin, near=NEAR_CREDIT, hollow=HOLLOW_CREDIT)


def judge(outcome: Outcome, *, margin: float, pays_form: bool) -> Verdict:
    """Apply the rule of an attack to what it earned.

    Args:
        outcome: What it earned; at least one trial or error.
        margin: Reward that a wrong answer may earn above a plain wrong one on average.
        pays_form: Whether a bare right answer earns less than a well-formed one.
    """
    if outcome.too_slow:
        return Verdict(status=FAIL, said=outcome.too_slow)
    if outcome.errors:
        return Verdict(
            status=FAIL, said=f"raised in {_rows(len(outcome.errors))}: {outcome.errors[0]}"
        )
    over = [t for t in outcome.trials if t.value > t.honest.right + EPSILON and _told_apart(t)]
    if over:
        said = f"outranks the plain right answer in {_of(over, outcome)}"
        return Verdict(status=FAIL, said=said, worst=_worst(over))
    expects = outcome.attack.expects
    if expects is Expect.WRONG:
        return _judge_wrong(outcome, margin)
    if expects is Expect.RIGHT:
        return _judge_right(outcome)
    if expects is Expect.FORM:
        return _judge_form(outcome, pays_form=pays_form)
    if expects is Expect.HOLLOW:
        return _judge_hollow(outcome, margin)
    return _judge_partial(outcome, margin, limit=NEAR_CREDIT if expects is Expect.NEAR else None)


def gain_of(trials: Sequence[Trial]) -> float:
    """Average how much more than plain wrong answers these earned."""
    return sum(trial.gain for trial in trials) / len(trials) if trials else 0.0


def outranks(honest: Honest) -> bool:
    """Tell whether a plain wrong answer earns more than the plain right one."""
    return max(honest.wrongs) > honest.right + EPSILON


def equals_right(trial: Trial) -> bool:
    """Tell whether an attack earns what being right earns, where that is worth anything."""
    return trial.honest.gap > EPSILON and trial.value >= trial.honest.right - EPSILON


def _told_apart(trial: Trial) -> bool:
    """Where a gold cannot be earned, everything outranks it; that is told once, elsewhere."""
    return trial.honest.right >= max(trial.honest.wrongs) - EPSILON


def _judge_wrong(outcome: Outcome, margin: float) -> Verdict:
    if beaten := _constant(outcome, margin):
        return beaten
    gain = gain_of(outcome.trials)
    same = [trial for trial in outcome.trials if equals_right(trial)]
    paid = [trial for trial in outcome.trials if trial.gain > margin + EPSILON]
    if len(same) >= ROWS * len(outcome.trials) and same:
        said = f"earns as much as the right answer in {_of(same, outcome)}"
        return Verdict(status=FAIL, said=said, worst=_worst(same))
    if gain > margin + EPSILON:
        said = f"earns {gain:.2f} more than a plain wrong answer on average"
        return Verdict(status=FAIL, said=said, worst=_worst(paid))
    if paid:
        said = f"earns more than {margin:g} above a plain wrong answer in {_of(paid, outcome)}"
        return Verdict(status=WARN, said=said, worst=_worst(paid))
    return Verdict(status=PASS, said="earns no more than a plain wrong answer")


def _constant(outcome: Outcome, margin: float) -> Verdict | None:
    """Judge an attack that says one text to all rows of a kind; None for any other attack.

    A text that happens to be read as "1" earns what always answering "1" earns, and no more.
    """
    kinds: defaultdict[Kind, list[Trial]] = defaultdict(list)
    for trial in outcome.trials:
        kinds[trial.honest.case.kind].append(trial)
    if any(len({trial.completion for trial in trials}) > 1 for trials in kinds.values()):
        return None
    paid = [trial for trial in outcome.trials if trial.gain > margin + EPSILON]
    for kind, trials in kinds.items():
        mean = sum(trial.value for trial in trials) / len(trials)
        excess = mean - best_guess([trial.honest for trial in trials])
        if excess > margin + EPSILON:
            said = f"beats the best single guess of {kind.value} rows by {excess:.2f}"
            return Verdict(status=FAIL, said=said, worst=_worst(paid))
    if paid:
        said = f"is read as an answer, and paid in {_of(paid, outcome)}: no more than a guess"
        return Verdict(status=WARN, said=said, worst=_worst(paid))
    return Verdict(status=PASS, said="earns no more than a plain wrong answer")


def _judge_partial(outcome: Outcome, margin: float, *, limit: float | None) -> Verdict:
    valued = [trial for trial in outcome.trials if trial.honest.gap > EPSILON]
    credit = sum(trial.gain / trial.honest.gap for trial in valued) / max(1, len(valued))
    paid = [trial for trial in outcome.trials if trial.gain > margin + EPSILON]
    if limit is not None and credit > limit - EPSILON:
        said = f"earns {credit:.0%} of what being right is worth"
        return Verdict(status=FAIL, said=said, worst=_worst(paid))
    if paid:
        said = f"earns {gain_of(outcome.trials):.2f} more than a plain wrong answer on average"
        said += f"; paid in {_of(paid, outcome)}"
        return Verdict(status=WARN, said=said, worst=_worst(paid))
    return Verdict(status=PASS, said="earns no more than a plain wrong answer")


def _judge_right(outcome: Outcome) -> Verdict:
    below = [
        trial
        for trial in outcome.trials
        if trial.honest.gap > EPSILON and trial.value < max(trial.honest.wrongs) - EPSILON
    ]
    unread = [
        trial
        for trial in outcome.trials
        if trial.honest.gap > EPSILON and trial.gain < trial.honest.gap / 2
    ]
    if below and len(below) >= ROWS * len(outcome.trials):
        said = f"a plain wrong answer outranks it in {_of(below, outcome)}"
        return Verdict(status=FAIL, said=said, worst=_worst(below, least=True))
    if unread:
        said = f"is not paid as right in {_of(unread, outcome)}"
        return Verdict(status=WARN, said=said, worst=_worst(unread, least=True))
    return Verdict(status=PASS, said="is paid as right, and no more than the plain answer")


def _judge_hollow(outcome: Outcome, margin: float) -> Verdict:
    """Compare with what another row's explanation earns beside the same right answer."""
    worth = {
        id(trial): trial.honest.right - trial.honest.unrelated
        for trial in outcome.trials
        if trial.honest.unrelated is not None
        and trial.honest.right - trial.honest.unrelated > EPSILON
    }
    valued = [trial for trial in outcome.trials if id(trial) in worth]
    if not valued:
        return _judge_any_words(outcome)
    credit = {id(trial): trial.value - (trial.honest.unrelated or 0.0) for trial in valued}
    share = sum(credit[key] / worth[key] for key in worth) / len(valued)
    paid = [trial for trial in valued if credit[id(trial)] > margin + EPSILON]
    if share > HOLLOW_CREDIT - EPSILON:
        said = f"earns {share:.0%} of what a person's explanation is worth"
        return Verdict(status=FAIL, said=said, worst=_worst(paid))
    if paid:
        mean = sum(credit.values()) / len(valued)
        said = f"earns {mean:+.2f} beside another row's explanation on average; paid in "
        return Verdict(status=WARN, said=said + _of(paid, outcome), worst=_worst(paid))
    return Verdict(status=PASS, said="earns no more than another row's explanation")


def _judge_any_words(outcome: Outcome) -> Verdict:
    """Judge a reward to which a person's explanation is worth no more than another row's."""
    paid = [
        trial
        for trial in outcome.trials
        if trial.honest.gap > EPSILON
        and trial.honest.unexplained is not None
        and trial.value - trial.honest.unexplained > FORM_CREDIT + EPSILON
    ]
    if paid:
        said = f"is paid like a person's explanation, and more than form, in {_of(paid, outcome)}"
        return Verdict(status=FAIL, said=said, worst=_worst(paid))
    return Verdict(status=PASS, said="explanations are worth nothing to this reward, beyond form")


def _judge_form(outcome: Outcome, *, pays_form: bool) -> Verdict:
    same = [trial for trial in outcome.trials if trial.value >= trial.honest.right - EPSILON]
    if pays_form and same:
        said = f"earns as much as the well-formed answer in {_of(same, outcome)}"
        return Verdict(status=WARN, said=said, worst=_worst(same))
    return Verdict(status=PASS, said="earns no more than the well-formed answer")


def _worst(trials: Sequence[Trial], *, least: bool = False) -> tuple[Trial, ...]:
    """Choose three to show, of different kinds where possible."""
    ordered = sorted(trials, key=lambda trial: trial.gain, reverse=not least)
    seen = set[Kind]()
    first: list[Trial] = []
    for trial in ordered:
        if trial.honest.case.kind not in seen:
            seen.add(trial.honest.case.kind)
            first.append(trial)
    return tuple(first[:SHOWN]) if len(first) > 1 else tuple(ordered[:SHOWN])


def _of(trials: Sequence[Trial], outcome: Outcome) -> str:
    return f"{len(trials)} of {_rows(len(outcome.trials))}"


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
