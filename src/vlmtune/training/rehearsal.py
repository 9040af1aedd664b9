"""--debug: everything a trainer does before and around the update, on any backend, in seconds.

    place -> backend -> rows -> model -> the stage's own rehearsal -> checks -> records -> page

The same code runs on mlx, on pytorch and without a model. No weight moves; what is left behind
says whether a real run would learn something, and from what.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from rich.console import Console
from rich.markup import escape

from vlmtune import config_rules
from vlmtune.backends import select
from vlmtune.config import RunConfig
from vlmtune.data.training_sets import TrainingSets, load_training_sets
from vlmtune.reports import html, thumbnails
from vlmtune.training import (
    dpo_rehearsal,
    grpo_rehearsal,
    lineage,
    run_directory,
    sft_rehearsal,
    trial,
)
from vlmtune.training.findings import Bench, Check, Findings, Record, Status, worst
from vlmtune.training.progress import Tracks
from vlmtune.training.row_sets import data_checks, data_record
from vlmtune.training.versions import versions
from vlmtune.types import Example, ImageRef, ModelInfo, Stage

STAGES: Mapping[Stage, Callable[[Bench], Findings]] = MappingProxyType(
    {
        Stage.SFT: sft_rehearsal.rehearse,
        Stage.DPO: dpo_rehearsal.rehearse,
        Stage.GRPO: grpo_rehearsal.rehearse,
    }
)
_MARKS = MappingProxyType(
    {Status.PASS: "[green]ok  [/]", Status.WARN: "[yellow]warn[/]", Status.FAIL: "[red]FAIL[/]"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rehearsal came to.

    Attributes:
        ok: No check failed; warnings are fine.
        directory: What was written.
        report: The page to look at.
        checks: Every check, in order.
        metrics: Every number.
    """

    ok: bool
    directory: Path
    report: Path
    checks: tuple[Check, ...]
    metrics: Mapping[str, float | None]


def run(config: RunConfig, *, console: Console, notes: Sequence[str] = ()) -> Outcome:
    """Rehearse a stage and leave run.json, samples.jsonl and report.html behind.

    Args:
        config: The run; its output folder is `output_dir` or outputs/<stage>-debug.
        console: Where progress and the summary go.
        notes: Lines that the report repeats, such as how a key was understood.

    Returns:
        The outcome; a failed check is an outcome, not an error.

    Raises:
        ConfigError: If the output folder is foreign or in use, or a name is unknown.
        DataError: If no row can be used.
        MissingDependency: If the backend is not installed.
        CheckpointError: If the model cannot be loaded.
    """
    started = time.perf_counter()
    config = config_rules.rehearsed(config)
    where = run_directory.place(config)
    with run_directory.opened(where) as folder:
        selection = select.select(config.backend)
        track = Tracks(console)
        sets = load_training_sets(config, track=track)
        examples = sets.rehearsed
        start, _, line = lineage.start(config)
        what = line if start.adapter else start.model
        console.print(f"loading {escape(what)} on {selection.backend.NAME} ...")
        generator = selection.backend.load_generator(
            start.model,
            batch_rows=config.hardware.generation_batch_size,
            adapter=start.adapter,
            min_pixels=config.model.min_pixels,
            max_pixels=config.model.max_pixels,
        )
        bench = Bench(config=config, examples=examples, generator=generator, track=track)
        findings = STAGES[config.stage](bench)
        tried = trial.checks(config, selection.backend, sets, track)
        checks = (*data_checks(sets, examples), *findings.checks, *tried)
        identity = {
            "backend": selection.backend.NAME,
            "backend_reason": selection.reason,
            "rejected_backends": [asdict(problem) for problem in selection.rejected],
            "model": _model_record(generator.model),
        }
        record = _run_record(config, identity, sets, findings, checks, notes=notes)
        record["seconds"] = round(time.perf_counter() - started, 3)
        run_directory.write_json(folder / run_directory.RUN, record)
        run_directory.write_lines(folder / run_directory.SAMPLES, _samples(findings, sets))
        html.write_report(folder, pictures=thumbnails.make(_images(examples)))
    outcome = Outcome(
        ok=worst(checks) is not Status.FAIL,
        directory=where.shown,
        report=where.shown / run_directory.REPORT,
        checks=checks,
        metrics=findings.metrics,
    )
    _tell(outcome, console, seconds=record["seconds"])
    return outcome


def _run_record(
    config: RunConfig,
    identity: Mapping[str, object],
    sets: TrainingSets,
    findings: Findings,
    checks: Sequence[Check],
    *,
    notes: Sequence[str],
) -> Record:
    return {
        "made_by": run_directory.MARK,
        "status": worst(checks).value,
        "stage": config.stage.value,
        **identity,
        "config": config.model_dump(mode="json"),
        "versions": versions(),
        "checks": [
            {"name": check.name, "status": check.status.value, "detail": check.detail}
            for check in checks
        ],
        "metrics": dict(findings.metrics),
        "estimates": {name: asdict(found) for name, found in findings.estimates.items()},
        "details": dict(findings.details),
        "data": data_record(sets),
        "notes": list(notes),
    }


def _samples(findings: Findings, sets: TrainingSets) -> list[Record]:
    """Say of each row whether a trainer would train on it or evaluate on it."""
    trained = {example.id for example in sets.train.examples}
    return [
        record | {"set": "train" if record["example_id"] in trained else "evaluation"}
        for record in findings.samples
    ]


def _model_record(model: ModelInfo) -> Record:
    return {
        "name": model.name,
        "parameters": model.parameters,
        "architecture": model.architecture,
        "path": model.path,
        "adapter": model.adapter,
    }


def _images(examples: Sequence[Example]) -> list[ImageRef]:
    return [image for example in examples for image in example.images]


def _tell(outcome: Outcome, console: Console, *, seconds: float) -> None:
    """Print the checks, bad ones last, then where to look."""
    order = {Status.PASS: 0, Status.WARN: 1, Status.FAIL: 2}
    console.print()
    for check in sorted(outcome.checks, key=lambda check: order[check.status]):
        console.print(f"{_MARKS[check.status]} {check.name:<18} {escape(check.detail)}")
    failed = sum(check.status is Status.FAIL for check in outcome.checks)
    warned = sum(check.status is Status.WARN for check in outcome.checks)
    verdict = f"{failed} of {len(outcome.checks)} checks failed" if failed else "ready"
    if warned:
        verdict += f", {warned} warning{'s' if warned > 1 else ''}"
    console.print(f"\n{verdict}, {seconds:.1f} s. Open {escape(str(outcome.report))}")
