"""An audit as JSON: what report.json holds and the page is drawn from."""

import math
from collections import Counter
from collections.abc import Sequence

from vlmtune.evaluation.audit.constants import RULE, Constant
from vlmtune.evaluation.audit.measured import EPSILON, Mean, Outcome, Trial, mean_of
from vlmtune.evaluation.audit.run import Audit
from vlmtune.evaluation.audit.verdicts import Verdict, equals_right, gain_of, rule_of
from vlmtune.types import JSON

LONGEST = 600
"""Characters of a completion that are kept."""


def record(audit: Audit) -> dict[str, JSON]:
    """Lay an audit out as JSON."""
    kinds = Counter(row.case.kind.value for row in audit.honest)
    return {
        "reward": audit.name,
        "status": audit.status,
        "rows": len(audit.honest),
        "kinds": dict(kinds),
        "left_out": list(audit.left_out),
        "not_applicable": audit.not_applicable,
        "form": audit.form.name,
        "pays_form": audit.pays_form,
        "only_form": audit.only_form,
        "margin": audit.margin,
        "seconds": audit.seconds,
        "counts": {status: audit.statuses.count(status) for status in ("fail", "warn", "pass")},
        "right": _mean(mean_of([row.right for row in audit.honest])),
        "wrong": _mean(mean_of([value for row in audit.honest for value in row.wrongs])),
        "floor": _mean(mean_of([row.floor for row in audit.honest])),
        "attacks": [_attack(one, verdict, audit.margin) for one, verdict in audit.outcomes],
        "constants": [_constant(one, audit.margin) for one in audit.constants],
        "checks": [
            {"name": one.name, "status": one.status, "detail": one.detail} for one in audit.checks
        ],
    }


def _attack(outcome: Outcome, verdict: Verdict, margin: float) -> dict[str, JSON]:
    trials, n = outcome.trials, max(1, len(outcome.trials))
    values = [trial.value for trial in trials]
    higher = sum(trial.value > trial.honest.right + EPSILON for trial in trials)
    return {
        "name": outcome.attack.name,
        "family": outcome.attack.family,
        "expects": outcome.attack.expects.value,
        "rule": rule_of(outcome.attack.expects, margin=margin),
        "status": verdict.status,
        "said": verdict.said,
        "mean": _mean(mean_of(values)),
        "gain": _number(gain_of(trials)),
        "outranks": higher / n,
        "equals": sum(map(equals_right, trials)) / n,
        "by_kind": _by_kind(trials),
        "errors": list(outcome.errors[:3]),
        "raised": len(outcome.errors),
        "examples": [_example(trial) for trial in verdict.worst],
    }


def _by_kind(trials: Sequence[Trial]) -> dict[str, JSON]:
    kinds = dict.fromkeys(trial.honest.case.kind.value for trial in trials)
    return {
        kind: _mean(mean_of([t.value for t in trials if t.honest.case.kind.value == kind]))
        for kind in kinds
    }


def _example(trial: Trial) -> dict[str, JSON]:
    case = trial.honest.case
    return {
        "id": case.example.id,
        "kind": case.kind.value,
        "question": case.example.question[:LONGEST],
        "choices": list(case.options),
        "gold": case.gold[:LONGEST],
        "completion": trial.completion[:LONGEST],
        "characters": len(trial.completion),
        "value": _number(trial.value),
        "right": trial.honest.right,
        "wrong": trial.honest.floor,
        "why": trial.paid.why[:LONGEST],
        "images": [image.name for image in case.example.images],
    }


def _constant(constant: Constant, margin: float) -> dict[str, JSON]:
    return {
        "kind": constant.kind.value,
        "answer": constant.answer[:LONGEST],
        "mean": _mean(constant.paid),
        "majority": constant.majority[:LONGEST],
        "share": constant.share,
        "fair": constant.fair,
        "status": constant.verdict.status,
        "said": constant.verdict.said,
        "rule": RULE.replace("{margin:g}", f"{margin:g}"),
    }


def _mean(mean: Mean | None) -> dict[str, JSON] | None:
    if mean is None:
        return None
    return {
        "value": _number(mean.value),
        "low": _number(mean.low),
        "high": _number(mean.high),
        "n": mean.n,
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
