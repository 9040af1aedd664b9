"""From answers to the numbers of a report."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlmtune.errors import DataError
from vlmtune.evaluation import metrics
from vlmtune.evaluation.saved import Answer, fingerprint, row_digest
from vlmtune.protocols import Benchmark
from vlmtune.types import JSON, Finish, Judgement, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One answer with its verdict.

    Attributes:
        answer: The answer; its completion is text.
        judgement: The benchmark's verdict.
    """

    answer: Answer
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A benchmark's outcome.

    Attributes:
        name: The benchmark.
        graded: Every answered row, in order.
        report: What report.json holds under the benchmark's name.
    """

    name: str
    graded: tuple[Graded, ...]
    report: Mapping[str, JSON]


def score(benchmark: Benchmark, answers: Sequence[Answer], *, style: str, protocol: str) -> Result:
    """Grade all answers and add them up.

    Rows without a picture were never asked: they are listed and counted, and no share of anything
    includes them. An unreadable answer was given, and counts as not correct.

    Raises:
        DataError: If no row was answered, or a row's gold answer cannot be used.
    """
    thinking = style == "think"
    graded = tuple(
        Graded(
            answer=answer,
            judgement=benchmark.judge(answer.saved, answer.completion, thinking=thinking),
        )
        for answer in answers
        if answer.completion is not None
    )
    missing = [answer for answer in answers if answer.completion is None]
    if not graded:
        raise DataError(f"{benchmark.name}: none of {len(answers)} rows has an answer to grade")
    judgements = [one.judgement for one in graded]
    tally = tally_of(judgements)
    report: dict[str, JSON] = {
        "n": tally["n"],
        "correct": tally["correct"],
        "accuracy": tally["accuracy"],
        "micro": tally["accuracy"],
        "wilson95": tally["wilson95"],
        "unreadable": tally["unreadable"],
        "answered": 1 - tally["unreadable"] / tally["n"],
        "missing": len(missing),
        "truncated": sum(one.answer.saved.get("finish") == Finish.LENGTH.value for one in graded),
        "style": style,
        "protocol": protocol,
        "fingerprint": fingerprint([answer.row for answer in answers]),
        **benchmark.summary(
            [(one.answer.saved, one.judgement) for one in graded], thinking=thinking
        ),
        "notes": _notes(graded, style=style),
        "groups": groups_of(judgements),
        "missing_rows": [
            {"id": answer.row.id, "why": answer.saved.get("missing", "")} for answer in missing
        ],
        "rows": [_row(one, benchmark) for one in graded],
    }
    return Result(name=benchmark.name, graded=graded, report=report)


def _notes(graded: Sequence[Graded], *, style: str) -> list[str]:
    """Say what a reader of the numbers must know about how the model answered."""
    notes = []
    tagged = sum("<answer>" in (one.answer.completion or "").lower() for one in graded)
    if style == "direct" and 2 * tagged > len(graded):
        notes.append(
            f"{tagged} of {len(graded)} answers have <answer> tags although bare answers were "
            "asked for; --style think reads inside the tags"
        )
    cut = sum(one.answer.saved.get("finish") == Finish.LENGTH.value for one in graded)
    if 20 * cut > len(graded):
        notes.append(
            f"{cut} of {len(graded)} answers were cut at the token limit; --max_tokens raises it"
        )
    return notes


def tally_of(judgements: Sequence[Judgement]) -> dict[str, JSON]:
    """Count verdicts: n >= 1, correct, accuracy, unreadable, wilson95."""
    verdicts = Counter(judgement.verdict for judgement in judgements)
    n, correct = len(judgements), verdicts[Verdict.CORRECT]
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "unreadable": verdicts[Verdict.UNREADABLE],
        "wilson95": list(metrics.wilson(correct, n)),
    }


def groups_of(judgements: Sequence[Judgement]) -> dict[str, dict[str, JSON]]:
    """Tally each group of each grouping, larger groups first."""
    found: dict[str, dict[str, list[Judgement]]] = defaultdict(lambda: defaultdict(list))
    for judgement in judgements:
        for grouping, group in judgement.groups.items():
            found[grouping][group].append(judgement)
    return {
        grouping: {
            group: tally_of(members)
            for group, members in sorted(groups.items(), key=lambda item: -len(item[1]))
        }
        for grouping, groups in found.items()
    }


def _row(graded: Graded, benchmark: Benchmark) -> dict[str, JSON]:
    judgement = graded.judgement
    return {
        "id": graded.answer.row.id,
        "question": row_digest(graded.answer.row, benchmark.columns),
        "verdict": judgement.verdict.value,
        "correct": judgement.verdict is Verdict.CORRECT,
        "gold": judgement.gold,
        "reading": judgement.reading,
        "groups": dict(judgement.groups),
        **judgement.details,
    }
