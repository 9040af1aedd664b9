"""The folder of a training: taken, continued, or refused, but never overwritten.

outputs/sft/
    run.json            what ran, on what, from what; its status is running, done, stopped, failed
    metrics.jsonl       a line per record
    checkpoints/        the newest few
    adapter_model.safetensors, adapter_config.json, tokenizer ...      the finished model
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlmtune import config_file
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.training import checkpoints, run_directory
from vlmtune.training.journal import METRICS
from vlmtune.types import JSON

MARK = "training"
"""What "made_by" says in the run.json of a training."""
FREE = ("save.", "tracking.", "evaluation.", "rehearsal.", "resume", "output_dir", "run_name")
"""Settings that may change between a run and its continuation."""
LONGER = ("training.epochs", "training.max_steps")
"""Settings that lengthen a run; the schedule of the rate changes with them, which is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Where a training works.

    Attributes:
        folder: The real folder.
        shown: As the user would type it.
        model_folder: Where the finished model goes.
        resume_from: Checkpoint to go on from, or None.
        changes: Settings that differ from those of the run that is continued.
    """

    folder: Path
    shown: Path
    model_folder: Path
    resume_from: Path | None
    changes: tuple[str, ...]


@contextmanager
def opened(config: RunConfig) -> Iterator[RunFolder]:
    """Hold the run's folder for as long as the run lasts.

    Raises:
        ConfigError: If it is in use, holds something else, or the run there has other settings.
        CheckpointError: If the checkpoint to go on from is not complete.
    """
    where = run_directory.place(config)
    with run_directory.held(where):
        resume_from = checkpoints.to_resume(where.path, config.resume)
        changes = _changes(config, where.path, resume_from)
        _refuse_or_clear(config, where, resume_from)
        where.path.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(where.path / checkpoints.SCRATCH, ignore_errors=True)
        named = config.save.model_path
        yield RunFolder(
            folder=where.path,
            shown=where.shown,
            model_folder=where.path if named is None else Path(named).expanduser().resolve(),
            resume_from=resume_from,
            changes=changes,
        )
        shutil.rmtree(where.path / checkpoints.SCRATCH, ignore_errors=True)


def _refuse_or_clear(
    config: RunConfig, where: run_directory.Place, resume_from: Path | None
) -> None:
    """A folder that is not empty is only touched when the run in it goes on."""
    path = where.path
    if not path.exists():
        return
    if not path.is_dir():
        raise ConfigError(f"output_dir {where.shown} is a file; name a folder with --output_dir")
    ignored = run_directory.LITTER | {checkpoints.SCRATCH, f".{run_directory.RUN}.building"}
    found = sorted(entry.name for entry in path.iterdir() if entry.name not in ignored)
    if not found:
        return
    ours = _record(path).get("made_by") == MARK
    inside = resume_from is not None and resume_from.resolve().is_relative_to(path)
    if ours and inside:
        return
    if ours and config.resume == "auto":
        # It was killed before its first checkpoint, so it begins again.
        (path / METRICS).unlink(missing_ok=True)
        return
    what = "the training" if ours else f"something else ({found[0]})"
    go_on = "go on with it by --resume auto, or " if ours else ""
    raise ConfigError(
        f"output_dir {where.shown} holds {what}; {go_on}name another folder with --output_dir"
    )


def _changes(config: RunConfig, path: Path, resume_from: Path | None) -> tuple[str, ...]:
    """Compare with the settings of the run that is continued.

    Raises:
        ConfigError: If one differs that decides what is learned.
    """
    if resume_from is None:
        return ()
    runs = (path, *resume_from.resolve().parents[:2])
    record = next((found for place in runs if (found := _record(place))), {})
    before = dict(_flat(record.get("config") or {}))
    now = dict(_flat(config_file.as_dict(config)))
    changed = [key for key in now if key in before and now[key] != before[key]]
    vital = [key for key in changed if not key.startswith(FREE) and key not in LONGER]
    lines = [f"{key}: {before[key]!r} -> {now[key]!r}" for key in changed]
    if vital:
        shown = "; ".join(f"{key}: {before[key]!r} -> {now[key]!r}" for key in vital[:5])
        raise ConfigError(
            f"the run in {resume_from} has other settings ({shown}); restore them to go on, or "
            "start a new run from its weights with model.start_from"
        )
    return tuple(lines)


def _flat(values: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, JSON]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _record(path: Path) -> dict[str, JSON]:
    try:
        found = json.loads((path / run_directory.RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
