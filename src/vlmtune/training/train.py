"""A training, from the config to a finished model that loads by itself.

    settings -> folder -> rows -> lessons -> the backend's trainer -> model, metrics, run.json

What is wrong with settings or rows is told before any weight is loaded. What differs between the
stages stands in `sft.py`, `dpo.py` and `grpo.py`.
"""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from vlmtune import config_consumers, config_file
from vlmtune.backends import select
from vlmtune.backends.team import ALONE, Team, agreed, in_turn, led
from vlmtune.config import RunConfig
from vlmtune.data.training_sets import TrainingSets, load_training_sets
from vlmtune.errors import BackendUnavailable, ConfigError, DataError, MissingDependency
from vlmtune.models.resolve import resolve
from vlmtune.training import checkpoints, health, lineage, run_folder
from vlmtune.training.findings import Check, Status
from vlmtune.training.journal import METRICS, RunJournal
from vlmtune.training.progress import Tracks
from vlmtune.training.row_sets import data_record
from vlmtune.training.run_directory import RUN, write_json
from vlmtune.training.stages import STAGES
from vlmtune.training.versions import versions
from vlmtune.training.work import Work
from vlmtune.types import JSON, Stage, TrainResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to.

    Attributes:
        directory: The run's folder, as the user would type it.
        result: Steps, metrics and where the model is.
        stopped: The signal that ended it early, or "".
        seconds: How long it took.
        health: What its metrics say about it.
    """

    directory: Path
    result: TrainResult
    stopped: str
    seconds: float
    health: tuple[Check, ...]


def run(config: RunConfig, *, console: Console, notes: Sequence[str] = ()) -> Trained:
    """Train a stage and leave the model, its metrics and its story behind.

    Args:
        config: The run; its output folder is `output_dir` or outputs/<run_name or stage>.
        console: Where progress and the summary go.
        notes: Lines that run.json repeats, such as how a key was understood.

    Raises:
        ConfigError: If a setting cannot be honoured, or the output folder is in use.
        DataError: If rows cannot be used.
        BackendUnavailable: If the backend cannot train this stage.
        RunFailed: If training began and could not go on.
    """
    selection = select.select(config.backend)
    backend: Any = selection.backend
    said = [*notes, *check(config, backend)]
    with (
        _together(backend, config) as team,
        led(team, lambda: run_folder.opened(config)) as place,
    ):
        if place.resume_from is not None:
            checkpoints.refuse_foreign(place.resume_from, backend.NAME)
        start, parent, line = agreed(team, lambda: lineage.start(config))
        resolve(start.model, backend=backend.NAME)
        for text in (f"start    {line}", *(f"changed  {change}" for change in place.changes)):
            console.print(text, markup=False)
        tracks = Tracks(console)
        sets = in_turn(team, lambda: load_training_sets(config, track=tracks))
        _check_evaluation(config, sets)
        _check_rows(sets, team)
        record: dict[str, JSON] = {
            "made_by": run_folder.MARK,
            "stage": config.stage.value,
            "backend": backend.NAME,
            "backend_reason": selection.reason,
            "start": {"model": start.model, "from": line},
            "parent": None if parent is None else asdict(parent),
            "resumed_from": str(place.resume_from or ""),
            "changed": list(place.changes),
            "config": config_file.as_dict(config),
            "versions": versions(),
            "data": data_record(sets),
            "notes": said,
        }
        work = Work(config=config, backend=backend, start=start, sets=sets)
        trained = _recorded(work, place, record, tracks, leads=team.rank == 0)
    _tell(trained, console)
    return trained


def check(config: RunConfig, backend: Any) -> list[str]:
    """Ask the backend whether it can do what the config says, before anything loads.

    Args:
        config: The run.
        backend: A package in `vlmtune.backends`.

    Returns:
        Notes for the user.

    Raises:
        BackendUnavailable: If it cannot train this stage.
        MissingDependency: If a library is missing that training needs.
        ConfigError: If it cannot honour a setting.
    """
    stage = config.stage.value
    if stage not in getattr(backend, "TRAINS", ()):
        raise BackendUnavailable(
            f"backend {backend.NAME} cannot train {stage} in this version; add --debug to rehearse "
            "it with the same rows, prompts and rewards, or train with --backend pytorch"
        )
    if problems := backend.check_training():
        told = "; ".join(f"{problem.what}: {problem.remedy}" for problem in problems)
        raise MissingDependency(f"backend {backend.NAME} cannot train here: {told}")
    notes: list[str] = backend.check_settings(config)
    return [*notes, *config_consumers.check(config, backend.NAME)]


def _together(backend: Any, config: RunConfig) -> AbstractContextManager[Team]:
    """Meet the other processes, where the backend trains with several."""
    meet: Callable[[RunConfig], AbstractContextManager[Team]] | None
    meet = getattr(backend, "together", None)
    return nullcontext(ALONE) if meet is None else meet(config)


def _check_rows(sets: TrainingSets, team: Team) -> None:
    """Processes that read other rows than the first would train on another run's batches."""
    if team.size == 1:
        return
    records = team.gather(data_record(sets))
    others = [rank for rank, record in enumerate(records) if record != records[0]]
    if others:
        raise DataError(
            f"process {others[0]} reads other rows than process 0; give all machines the same "
            "files and the same versions (data in run.json says what was read)"
        )


def _check_evaluation(config: RunConfig, sets: TrainingSets) -> None:
    if config.evaluation.strategy != "no" and sets.evaluation is None:
        raise ConfigError(
            f"evaluation.strategy is {config.evaluation.strategy} and there are no rows to "
            f"evaluate on: {sets.no_evaluation}; name data.eval_datasets, or set strategy to no"
        )


def _recorded(
    work: Work,
    place: run_folder.RunFolder,
    record: dict[str, JSON],
    tracks: Tracks,
    *,
    leads: bool,
) -> Trained:
    """Train, and write to run.json how it went, whichever way it goes."""
    started = time.perf_counter()

    def write(more: dict[str, JSON]) -> None:
        """Write run.json with how the run stands; of several processes the first does."""
        if leads:
            write_json(place.folder / RUN, record | more)

    write({"status": "running"})
    with tracks.updates() as advance:
        journal = RunJournal(
            place.folder,
            model_folder=place.model_folder,
            resume_from=place.resume_from,
            keep=work.config.save.keep,
            advance=advance,
            writes=leads,
        )
        try:
            with journal.listening():
                result = STAGES[work.config.stage](work, journal)
        except BaseException as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            # Half a checkpoint is of no use, and where the disk is full this line needs its room.
            shutil.rmtree(journal.scratch, ignore_errors=True)
            write({"status": "failed", "why": reason, "steps": journal.step})
            raise
    trained = Trained(
        directory=place.shown,
        result=result,
        stopped=journal.asked,
        seconds=round(time.perf_counter() - started, 3),
        health=health.judge(work.config, health.read_lines(place.folder / METRICS)),
    )
    outcome = {
        "steps": result.steps,
        "of": journal.total,
        "model": str(result.model.resolve()),
        "metrics": {name: value for name, value in result.metrics.items() if math.isfinite(value)},
        "health": [
            {"name": check.name, "status": check.status.value, "detail": check.detail}
            for check in trained.health
        ],
    }
    status = "stopped" if trained.stopped else "done"
    write({"status": status, "result": outcome, "seconds": trained.seconds})
    return trained


def _tell_health(trained: Trained, console: Console) -> None:
    """Say how the metrics moved, what needs a look last."""
    if not trained.health:
        return
    console.print("\nhealthy?")
    for check in sorted(trained.health, key=lambda check: check.status is not Status.PASS):
        mark = "[green]ok  [/]" if check.status is Status.PASS else "[yellow]look[/]"
        console.print(f"{mark} {check.name:<12} {escape(check.detail)}")


def _tell(trained: Trained, console: Console) -> None:
    result, shown = trained.result, escape(str(trained.directory))
    loss = result.metrics.get("train_loss", result.metrics.get("loss"))
    mean = "" if loss is None else f", mean loss {loss:.4f}"
    _tell_health(trained, console)
    if trained.stopped:
        console.print(
            f"\n{trained.stopped} after {result.steps} updates: a checkpoint is saved. Go on with "
            f"--resume auto --output_dir {shown}"
        )
        return
    console.print(f"\n{result.steps} updates in {trained.seconds:.1f} s{mean}. Model in {shown}")


def say_what_follows(config: RunConfig, trained: Trained, console: Console) -> None:
    """Print the command of the stage that goes on from this one, if one does."""
    following = {Stage.SFT: Stage.DPO, Stage.DPO: Stage.GRPO}.get(config.stage)
    if following is None or trained.stopped:
        return
    console.print(
        f"Next: python scripts/train_{following.value}.py "
        f"--{config.stage.value}_checkpoint {escape(str(trained.directory))}"
    )
