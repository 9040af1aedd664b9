"""How far a pipeline came, read from its folder: what is finished is never done again.

run.json of the pipeline says which weights each stage began with and which weights each evaluation
is about, so that a folder that was exchanged in between is noticed.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from vlmtune import config_file
from vlmtune.config_pipeline import BASE
from vlmtune.errors import ConfigError
from vlmtune.evaluation.saved import weights_digest
from vlmtune.models.resolve import resolve
from vlmtune.training import run_directory, run_folder
from vlmtune.training.pipeline_plan import EVALUATIONS, Plan, PlannedStage
from vlmtune.training.run_directory import RUN
from vlmtune.types import JSON, Start

MARK = "pipeline"
"""What "made_by" says in the run.json of a pipeline."""
REPORT = "report.json"


class State:
    """The record of a pipeline, kept on disk after every step.

    Attributes:
        folder: The pipeline's folder.
        record: What run.json holds.
    """

    def __init__(self, folder: Path, about: Mapping[str, JSON]) -> None:
        self.folder = folder
        before = read_record(folder)
        self.record: dict[str, JSON] = {
            "made_by": MARK,
            **about,
            "status": "running",
            "stages": before.get("stages", {}),
            "evaluations": before.get("evaluations", {}),
            "seconds": before.get("seconds", {}),
        }

    def write(self) -> None:
        """Put the record on disk, whole or not at all."""
        building = self.folder / f".{RUN}.building"
        run_directory.write_json(building, self.record)
        building.replace(self.folder / RUN)

    def end(self, status: str, *, why: str = "", model: Path | None = None) -> None:
        """Record how the pipeline ended."""
        self.record["status"] = status
        if why:
            self.record["why"] = why
        if model is not None:
            # Where --sft_checkpoint and its kin look, when they are given this folder.
            self.record["result"] = {"model": str(model.resolve())}
        self.write()

    def spent(self, step: str, seconds: float) -> None:
        """Add the time of a step, over all starts of the pipeline."""
        times = self.record["seconds"]
        times[step] = round(times.get(step, 0.0) + seconds, 3)
        self.write()

    def begin_stage(self, name: str, *, parent: str) -> None:
        """Record the weights that a stage starts from."""
        self.record["stages"][name] = {"from": parent}
        self.write()

    def refuse_other_settings(self, stage: PlannedStage) -> None:
        """Make sure that a finished stage was trained as it would be trained now.

        Raises:
            ConfigError: If it was not.
        """
        record = read_record(stage.folder)
        if record.get("status") != "done":
            return
        changed = _changes(record.get("config") or {}, config_file.as_dict(stage.config))
        if changed:
            raise ConfigError(
                f"stage {stage.name} in {stage.folder} was trained with other settings "
                f"({'; '.join(changed[:5])}); restore them, delete its folder and those after it "
                "to train them again, or name another folder with --output_dir"
            )

    def is_trained(self, stage: PlannedStage, *, parent: str) -> bool:
        """Tell whether a stage is finished.

        Raises:
            ConfigError: If it started from other weights than it would now.
        """
        record = read_record(stage.folder)
        known = self.record["stages"].get(stage.name, {})
        if record and known.get("from", parent) != parent:
            raise ConfigError(
                f"stage {stage.name} in {stage.folder} started from other weights than the stage "
                "before it has now; delete its folder and those after it to train them again"
            )
        return bool(record.get("status") == "done")

    def is_asked(self, name: str, *, of: str, questions: Mapping[str, JSON]) -> bool:
        """Tell whether an evaluation is finished, and is about these weights and questions."""
        there = (self.folder / EVALUATIONS / name / REPORT).is_file()
        wanted = {"of": of, "questions": dict(questions)}
        return there and self.record["evaluations"].get(name) == wanted

    def asked(self, name: str, *, of: str, questions: Mapping[str, JSON]) -> None:
        """Record a finished evaluation."""
        self.record["evaluations"][name] = {"of": of, "questions": dict(questions)}
        self.write()


def read_record(folder: Path) -> dict[str, JSON]:
    """Read the run.json of a folder; {} where there is none that can be read."""
    try:
        found = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _changes(before: JSON, now: JSON, path: str = "") -> list[str]:
    """List the settings that decide what is learned and differ, as "key: old -> new"."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = f"{path}." if path else ""
        return [
            line
            for key in now
            if key in before
            for line in _changes(before[key], now[key], f"{inner}{key}")
        ]
    # Where it starts is known by its weights, which tell more than a folder's name.
    if before == now or path == "model.start_from" or path.startswith(run_folder.FREE):
        return []
    return [f"{path}: {before!r} -> {now!r}"]


def digest_of(start: Start, *, backend: str) -> str:
    """Name the weights of a model and the adapter above it."""
    place = str(resolve(start.model, backend=backend).location)
    folders = [place] if start.adapter is None else [place, str(start.adapter)]
    return "+".join(weights_digest(folder) or folder for folder in folders)


def names_of(plan: Plan) -> tuple[str, ...]:
    """List the models of a pipeline, the one it starts from first."""
    return (BASE, *(stage.name for stage in plan.stages))
