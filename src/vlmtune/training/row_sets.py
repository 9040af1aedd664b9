"""What a run says about its rows before anything is learned from them, and what it records.

Rehearsal and trainers share this: the same rows, the same checks, the same entry in run.json.
"""

from collections.abc import Sequence
from dataclasses import asdict

from vlmtune.data.load import Loaded
from vlmtune.data.training_sets import TrainingSets
from vlmtune.training.findings import Check, Record, judged, listed
from vlmtune.types import Example


def data_checks(sets: TrainingSets, examples: Sequence[Example]) -> list[Check]:
    """Check what the loader found.

    Args:
        sets: From `load_training_sets`.
        examples: Those of its rows that the run looks at.
    """
    report = sets.read.report
    pictures = sum(len(example.images) for example in examples)
    distinct = len({image.name for example in examples for image in example.images})
    total = report.kept + report.skipped
    loaded = ", ".join(f"{source.kept} from {source.name}" for source in report.sources)
    return [
        judged("rows_loaded", f"{report.kept} rows: {loaded}"),
        judged(
            "rows_skipped",
            f"{report.skipped} of {total} rows left out: {listed(_causes(sets.read))}"
            if report.skipped
            else "every row that was read can be used",
            warn=report.skipped > 0,
        ),
        judged(
            "images_decode",
            f"{pictures} pictures, {distinct} of them distinct, all decode"
            if pictures
            else "no row has a picture",
            warn=not pictures,
            remedy="a vision model is rehearsed on text alone",
        ),
        *_evaluation_checks(sets),
    ]


def data_record(sets: TrainingSets) -> Record:
    """Record the rows of a run: what was read, what is trained on, what is evaluated on."""
    found = sets.evaluation
    return {
        **_loaded_record(sets.read),
        "train": _set_record(sets.train),
        "evaluation": None
        if found is None
        else _set_record(found)
        | {"named": sets.named}
        | ({"read": _loaded_record(found)} if sets.named else {}),
        "no_evaluation": sets.no_evaluation,
        "leaks": _leak_record(sets),
    }


def _evaluation_checks(sets: TrainingSets) -> list[Check]:
    checks = [judged("evaluation_rows", sets.line())]
    if sets.evaluation is not None and sets.named and sets.evaluation.report.skipped:
        skipped = sets.evaluation.report.skipped
        checks.append(
            judged(
                "evaluation_skipped",
                f"{skipped} rows to evaluate were left out: {listed(_causes(sets.evaluation))}",
                warn=True,
            )
        )
    if sets.leaks is None:
        return checks
    left = f"; the {sets.dropped} were left out" if sets.dropped else ""
    allowed = bool(sets.leaks.rows) and not sets.dropped
    return [
        *checks,
        judged(
            "leaks",
            f"{sets.leaks.line()}{left}",
            warn=bool(sets.leaks.rows),
            remedy="evaluation will look better than the model is: data.on_leak is allow"
            if allowed
            else "",
        ),
    ]


def _causes(loaded: Loaded) -> list[str]:
    return [
        f"{reason} ({count})"
        for source in loaded.report.sources
        for reason, count in source.reasons.items()
    ]


def _set_record(loaded: Loaded) -> Record:
    return {"rows": len(loaded.examples), "fingerprint": loaded.report.fingerprint}


def _loaded_record(loaded: Loaded) -> Record:
    report = loaded.report
    return {
        "fingerprint": report.fingerprint,
        "kept": report.kept,
        "skipped": report.skipped,
        "renamed": report.renamed,
        "sources": [
            {
                "name": source.name,
                "read": source.read,
                "kept": source.kept,
                "skipped": source.skipped,
                "reasons": dict(source.reasons),
                "first_skipped": [asdict(row) for row in source.first],
            }
            for source in report.sources
        ],
    }


def _leak_record(sets: TrainingSets) -> Record:
    record: Record = {
        "looked": True,
        "rows": 0,
        "dropped": sets.dropped,
        "reasons": {},
        "first": [],
    }
    if sets.evaluation is None:
        return record | {
            "looked": False,
            "line": "not looked for: there is no evaluation set",
        }
    if sets.leaks is None:
        return record | {
            "line": "none by construction: rows that share a picture or a question stay together"
        }
    return record | {
        "rows": len(sets.leaks.rows),
        "reasons": dict(sets.leaks.reasons),
        "first": [asdict(leak) for leak in sets.leaks.first],
        "line": sets.leaks.line(),
    }
