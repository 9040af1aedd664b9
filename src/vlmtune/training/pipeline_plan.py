"""What a pipeline will do, checked as far as it can be before its first stage begins.

outputs/mine/
    sft/ dpo/ grpo/         each stage's own run, as a single run would leave it
    evaluations/base ...    what each model answered
    run.json                how far it came
    report.html ...         the story of it
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmtune import config_consumers, config_rules
from vlmtune.backends import select
from vlmtune.backends.groups import group_batches
from vlmtune.config import RunConfig
from vlmtune.config_pipeline import Pipeline
from vlmtune.data.leaks import find_leaks
from vlmtune.data.training_sets import TrainingSets, load_training_sets
from vlmtune.errors import ConfigError, DataError
from vlmtune.evaluation.run import STYLES
from vlmtune.models.resolve import resolve
from vlmtune.reports import pipeline_files
from vlmtune.rewards import build_reward
from vlmtune.training import run_directory, train
from vlmtune.training.pipeline_questions import Question, prepare_questions
from vlmtune.training.progress import Tracks
from vlmtune.types import Example, Stage

EVALUATIONS, REHEARSALS = "evaluations", "rehearsals"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage that is ready to run.

    Attributes:
        name: Its name in the pipeline.
        config: Its run, with the folder it writes to and the one it starts from.
        rows: Rows to train on.
        updates: Updates that they make, or None where only the trainer knows.
        notes: How settings are understood.
    """

    name: str
    config: RunConfig
    rows: int
    updates: int | None
    notes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return Path(str(self.config.output_dir))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pipeline that is ready to run.

    Attributes:
        pipeline: What was read.
        root: Its folder, as the user would type it.
        backend: What trains and answers.
        backend_reason: Why that one.
        stages: In order.
        questions: What every model is asked.
    """

    pipeline: Pipeline
    root: Path
    backend: Any
    backend_reason: str
    stages: tuple[PlannedStage, ...]
    questions: tuple[Question, ...]


def root_of(pipeline: Pipeline) -> Path:
    """Say where a pipeline writes: `output_dir`, or outputs/<run_name or the file's name>."""
    shared = pipeline.shared.config
    return Path(
        shared.output_dir or f"outputs/{shared.run_name or pipeline.path.stem}"
    ).expanduser()


def placed(pipeline: Pipeline) -> tuple[tuple[str, RunConfig], ...]:
    """Say of each stage where it writes and what it starts from."""
    root, before = root_of(pipeline), pipeline.shared.config.model.start_from
    found = []
    for stage in pipeline.stages:
        folder = root / stage.name
        model = stage.config.model.model_copy(update={"start_from": before})
        # Trackers list the stages of several pipelines beside each other.
        run_name = f"{root.name}-{stage.name}"
        changes = {"output_dir": str(folder), "resume": "auto", "run_name": run_name}
        found.append((stage.name, stage.config.model_copy(update={**changes, "model": model})))
        # Absolute, so that going on from another working directory finds the same folder.
        before = str(folder.resolve())
    return tuple(found)


def make_plan(pipeline: Pipeline, *, track: Tracks) -> Plan:
    """Check the settings of every stage, read all rows once, and find the questions.

    Raises:
        ConfigError: If a setting of any stage cannot be honoured.
        DataError: If rows of any stage cannot be used, or show what is asked afterwards.
        BackendUnavailable: If the backend cannot train a stage.
        MissingDependency: If a library is missing.
    """
    shared = pipeline.shared.config
    if shared.resume not in ("never", "auto", "must"):
        raise ConfigError(
            f"resume: {shared.resume} names one checkpoint, and a pipeline goes on where it "
            "stopped; leave it out"
        )
    selection = select.select(shared.backend)
    resolve(shared.model.name, backend=selection.backend.NAME)
    checked = []
    for name, config in placed(pipeline):
        here = config_consumers.on_this_machine(config, selection.backend.NAME)
        if here.hardware.nodes > 1:
            raise ConfigError(
                f"stage {name}: hardware.nodes is more than 1, and a pipeline starts processes on "
                "its own machine alone; run the stages one by one with scripts/train.py --stage"
            )
        notes = _check(name, config, selection.backend)
        checked.append((name, here, notes))
    questions = prepare_questions(shared, track=track)
    stages = []
    for name, config, notes in checked:
        sets = _rows(name, config, questions, track=track)
        stages.append(
            PlannedStage(
                name=name,
                config=config,
                rows=len(sets.train.examples),
                updates=updates(config, rows=len(sets.train.examples)),
                notes=(*notes, *config_rules.unused(config), *_other_style(config, shared)),
            )
        )
    return Plan(
        pipeline=pipeline,
        root=root_of(pipeline),
        backend=selection.backend,
        backend_reason=selection.reason,
        stages=tuple(stages),
        questions=questions,
    )


def _check(name: str, config: RunConfig, backend: Any) -> list[str]:
    try:
        if config.stage is Stage.GRPO:
            build_reward(config.reward)
        return train.check(config, backend)
    except ConfigError as error:
        raise ConfigError(f"stage {name}: {error}") from error


def _rows(
    name: str, config: RunConfig, questions: Sequence[Question], *, track: Tracks
) -> TrainingSets:
    """Read a stage's rows: what is wrong with the last stage's is told before the first trains."""
    try:
        sets = load_training_sets(
            config,
            verify_images=False,
            track=lambda title, total: track(f"{name}: {title}", total),
        )
        if config.data.on_leak == "error":
            asked = [example for question in questions for example in question.examples]
            _refuse_leaks(sets.train.examples, asked)
    except (ConfigError, DataError) as error:
        raise type(error)(f"stage {name}: {error}") from error
    return sets


def _other_style(config: RunConfig, shared: RunConfig) -> list[str]:
    """A model that learned one form of answer is at a loss when asked for another."""
    trained, asked = config.prompt.style, STYLES[shared.evaluation.style]
    why = f"evaluation.style is {shared.evaluation.style}"
    note = f"trains with prompt.style {trained} and is asked in {asked}, for {why}"
    return [] if trained == asked else [note]


def _refuse_leaks(trained: Sequence[Example], asked: Sequence[Example]) -> None:
    leaks = find_leaks(trained, asked, look=False)
    if leaks.rows:
        raise DataError(
            f"the evaluation would not be honest: {leaks.line()}; ask other rows in "
            "evaluation.datasets, or allow it with data.on_leak: allow"
        )


def updates(config: RunConfig, *, rows: int) -> int | None:
    """Count the updates of a stage on one device."""
    training = config.training
    if training.max_steps is not None:
        return training.max_steps
    devices = config.hardware.processes * config.hardware.nodes
    accumulation = config_rules.accumulation(training, devices=devices)
    if config.stage is Stage.GRPO:
        batches = group_batches(config, accumulation=accumulation, devices=devices)
        whole = rows // batches.prompts * config.grpo.num_iterations
        return max(1, math.ceil(whole * training.epochs))
    whole = math.ceil(math.ceil(rows / (training.batch_size * devices)) / accumulation)
    return max(1, math.ceil(whole * training.epochs))


def rehearsals(pipeline: Pipeline) -> tuple[tuple[str, RunConfig], ...]:
    """Say where the rehearsal of each stage goes; each looks at the model before any training."""
    folder = root_of(pipeline) / REHEARSALS
    return tuple(
        (
            stage.name,
            stage.config.model_copy(update={"output_dir": str(folder / stage.name)}),
        )
        for stage in pipeline.stages
    )


def refuse_foreign(plan: Plan, where: run_directory.Place) -> None:
    """Make sure that a pipeline's folder holds nothing but pipelines' files.

    Raises:
        ConfigError: If it does, or holds a pipeline that is not to be resumed.
    """
    if where.path.exists() and not where.path.is_dir():
        raise ConfigError(f"output_dir {where.shown} is a file; name a folder with --output_dir")
    resume = plan.pipeline.shared.config
    found = [] if not where.path.exists() else [entry.name for entry in where.path.iterdir()]
    known = {
        *run_directory.LITTER,
        run_directory.RUN,
        *pipeline_files.FILES,
        EVALUATIONS,
        REHEARSALS,
        *(stage.name for stage in plan.stages),
    }
    others = sorted(name for name in found if name not in known and not name.startswith("."))
    if others:
        raise ConfigError(
            f"output_dir {where.shown} holds {others[0]}, which is no part of this pipeline; name "
            "another folder with --output_dir"
        )
    begun = run_directory.RUN in found
    if begun and resume.resume == "never" and "resume" in resume.model_fields_set:
        raise ConfigError(
            f"output_dir {where.shown} holds this pipeline already and resume is never; leave "
            "resume out to go on with it, or name another folder with --output_dir"
        )
    if not begun and resume.resume == "must":
        raise ConfigError(f"resume: must, and {where.shown} holds no pipeline; use --resume auto")
