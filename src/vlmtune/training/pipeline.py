"""Several stages, one after the other, and the same questions to the model after each.

    base, asked -> sft, trained, asked -> dpo, trained, asked -> grpo, trained, asked -> one page

A stage is trained by `training.train`, starts through `training.lineage`, and is asked as
scripts/evaluate.py asks. The same command again goes on where the last one stopped.
"""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape

from vlmtune import config_file
from vlmtune.config_pipeline import BASE, Pipeline
from vlmtune.errors import RunFailed
from vlmtune.models.resolve import resolve
from vlmtune.reports import pipeline_files
from vlmtune.training import launch, lineage, pipeline_plan, rehearsal, run_directory, train
from vlmtune.training.pipeline_plan import EVALUATIONS, Plan, PlannedStage
from vlmtune.training.pipeline_questions import ask, identity
from vlmtune.training.pipeline_state import State, digest_of, read_record
from vlmtune.training.versions import versions
from vlmtune.types import JSON, Start

_INTERRUPTED = 130
"""Exit code of a training that Ctrl-C stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pipeline came to.

    Attributes:
        directory: Its folder.
        stopped: The signal that ended it early, or "".
    """

    directory: Path
    stopped: str

    @property
    def page(self) -> Path:
        """The page to look at."""
        return self.directory / "report.html"


def run(plan: Plan, *, console: Console, script: Path) -> Outcome:
    """Train and ask, stage after stage; what is finished already is left as it is.

    Args:
        plan: What to do.
        console: Where progress goes.
        script: Trains one stage, for those that several processes train together.

    Raises:
        ConfigError: If the folder holds something else, or a finished stage has other settings.
        DataError: If rows cannot be used.
        CheckpointError: If a stage's model cannot be loaded.
        RunFailed: If a stage began and could not go on.
    """
    shared = plan.pipeline.shared.config
    where = run_directory.place(shared.model_copy(update={"output_dir": str(plan.root)}))
    with run_directory.held(where):
        pipeline_plan.refuse_foreign(plan, where)
        where.path.mkdir(parents=True, exist_ok=True)
        state = State(where.path, _about(plan))
        for stage in plan.stages:
            state.refuse_other_settings(stage)
        state.write()
        steps = _Steps(plan, console)
        work = _Work(plan=plan, state=state, console=console, steps=steps, script=script)
        try:
            stopped = work.do()
        except KeyboardInterrupt:
            state.end("stopped", why="SIGINT")
            raise
        except BaseException as error:
            state.end("failed", why=" ".join(str(error).split()) or type(error).__name__)
            raise
        if stopped:
            state.end("stopped", why=stopped)
            pipeline_files.write(where.path)
            return Outcome(directory=plan.root, stopped=stopped)
        state.end("done", model=plan.stages[-1].folder)
        pipeline_files.write(where.path)
    return Outcome(directory=plan.root, stopped="")


def rehearse(pipeline: Pipeline, *, console: Console) -> bool:
    """Rehearse each stage in turn, each with the model that no stage has trained yet.

    Returns:
        Whether no check of any stage failed.
    """
    planned = pipeline_plan.rehearsals(pipeline)
    failed = []
    for number, (name, config) in enumerate(planned, start=1):
        console.rule(f"{number} of {len(planned)}: rehearse {escape(name)}")
        if not rehearsal.run(config, console=console).ok:
            failed.append(name)
    told = f"checks failed in {', '.join(failed)}" if failed else "ready"
    console.print(
        f"\n{len(planned)} stages rehearsed, each from {escape(planned[0][1].model.name)} as it is "
        f"before training: {told}. Pages in {escape(str(pipeline_plan.root_of(pipeline)))}"
        f"/{pipeline_plan.REHEARSALS}"
    )
    return not failed


class _Steps:
    """The headings of a pipeline: which step of how many, and how long it has taken so far."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._total = 2 * len(plan.stages) + 1
        self._console = console
        self._done = 0
        self._started = time.perf_counter()

    def next(self, title: str) -> None:
        """Begin a step."""
        self._done += 1
        minutes = (time.perf_counter() - self._started) / 60
        self._console.rule(
            f"{self._done} of {self._total}: {escape(title)} · {minutes:.1f} min so far"
        )


@dataclass(slots=True, kw_only=True)
class _Work:
    """A pipeline while it runs."""

    plan: Plan
    state: State
    console: Console
    steps: _Steps
    script: Path

    def do(self) -> str:
        """Go through all steps.

        Returns:
            The signal that stopped them, or "".
        """
        first = self.plan.stages[0].config
        start, _, _ = lineage.start(first)
        digest = digest_of(start, backend=self.plan.backend.NAME)
        self._ask(BASE, start, digest)
        for stage in self.plan.stages:
            stopped = self._train(stage, parent=digest)
            if stopped:
                return stopped
            start = self._result(stage)
            digest = digest_of(start, backend=self.plan.backend.NAME)
            self._ask(stage.name, start, digest)
        return ""

    def _result(self, stage: PlannedStage) -> Start:
        """Say how to load what a stage left, by the name that the user gave the model."""
        start = lineage.asked(str(stage.folder.resolve()))
        name = stage.config.model.name
        published = resolve(name, backend=self.plan.backend.NAME).location
        return replace(start, model=name) if str(published) == start.model else start

    def _train(self, stage: PlannedStage, *, parent: str) -> str:
        self.steps.next(f"train {stage.name}")
        if self.state.is_trained(stage, parent=parent):
            self.console.print(f"{escape(str(stage.folder))} is finished already")
            return ""
        self.state.begin_stage(stage.name, parent=parent)
        with self._timed(f"train {stage.name}"):
            if launch.wanted(stage.config, os.environ):
                return self._train_together(stage)
            return train.run(stage.config, console=self.console, notes=stage.notes).stopped

    def _train_together(self, stage: PlannedStage) -> str:
        """Train a stage in processes of its own, as its script does with the same settings."""
        path = self.state.folder / f".{stage.name}.yaml"
        written = stage.config.model_dump(mode="json", exclude_unset=True)
        path.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        hardware = stage.config.hardware
        self.console.print(f"starts   {hardware.processes} processes", markup=False)
        command = launch.command(str(self.script), ["--config", str(path)])
        code = launch.start(command, hardware.processes, gpus=hardware.gpus)
        status = read_record(stage.folder).get("status")
        if status == "stopped":
            return "SIGINT" if code == _INTERRUPTED else "SIGTERM"
        if status != "done" or code:
            raise RunFailed(
                f"stage {stage.name} ended with exit code {code}; what went wrong is told above, "
                "and the same command goes on from the last checkpoint"
            )
        return ""

    def _ask(self, name: str, start: Start, digest: str) -> None:
        self.steps.next(f"ask {name}")
        shared = self.plan.pipeline.shared.config
        asked = identity(self.plan.questions, shared.evaluation)
        folder = self.state.folder / EVALUATIONS / name
        if self.state.is_asked(name, of=digest, questions=asked):
            self.console.print(f"{escape(name)} has answered already")
        else:
            with self._timed(f"ask {name}"):
                ask(
                    self.plan.questions,
                    start,
                    shared,
                    self.plan.backend,
                    folder=folder,
                    name=name,
                    console=self.console,
                )
            self.state.asked(name, of=digest, questions=asked)
        report = pipeline_files.write(self.state.folder)
        for line in pipeline_files.lines(report, name):
            self.console.print(line, markup=False)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            # A trainer's circles would keep its weights in memory while the next step loads.
            gc.collect()
            self.state.spent(step, time.perf_counter() - started)


def _about(plan: Plan) -> dict[str, JSON]:
    shared: Any = plan.pipeline.shared.config
    return {
        "pipeline": str(plan.pipeline.path),
        "backend": plan.backend.NAME,
        "backend_reason": plan.backend_reason,
        "config": config_file.as_dict(shared),
        "order": [
            {
                "name": stage.name,
                "stage": stage.config.stage.value,
                "rows": stage.rows,
                "updates": stage.updates,
            }
            for stage in plan.stages
        ],
        "versions": versions(),
    }
