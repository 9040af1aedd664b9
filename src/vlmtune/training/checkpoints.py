"""Checkpoints of a run: whole or not there, the newest few, and the one to go on from.

outputs/sft/checkpoints/step_000100/     adapter or weights, optimizer, schedule, random state
outputs/sft/.writing/checkpoint-200/     being written; gets its name when all of it is there
"""

import os
import shutil
from pathlib import Path

from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models.checkpoints import read_json

CHECKPOINTS, SCRATCH = "checkpoints", ".writing"
STATE = "trainer_state.json"
"""Written last by the trainer."""
MLX_OPTIMIZER = "optimizer.safetensors"
"""What backend mlx remembers of the gradients; PyTorch has files of its own."""
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin", "latest")
"""Where its state is: of a plain training, under FSDP2, and in DeepSpeed's folder of that name."""
_UNSAFE = "training_args.bin"


def keep(folder: Path, *, step: int, most: int | None) -> Path:
    """Put a finished checkpoint in place and remove the oldest beyond `most`.

    Args:
        folder: The run's folder.
        step: Updates made.
        most: Checkpoints to keep; None keeps all.

    Returns:
        Where it is now.
    """
    written = folder / SCRATCH / f"checkpoint-{step}"
    target = folder / CHECKPOINTS / f"step_{step:06d}"
    # A pickle of the trainer's arguments, which nobody reads: run.json holds the settings.
    (written / _UNSAFE).unlink(missing_ok=True)
    (written / "README.md").unlink(missing_ok=True)
    for path in written.rglob("*"):
        if path.is_file():
            _to_disk(path)
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        _remove(target)
    written.rename(target)
    _to_disk(target.parent)
    for old in steps(folder)[:-most] if most is not None else []:
        _remove(old)
    return target


def _to_disk(path: Path) -> None:
    """Make sure that what was written survives a power cut, before it gets its name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(checkpoint: Path) -> None:
    """Take a checkpoint's name away before its files, so that half of one is never found."""
    doomed = checkpoint.parent.parent / SCRATCH / f"old-{checkpoint.name}"
    doomed.parent.mkdir(exist_ok=True)
    shutil.rmtree(doomed, ignore_errors=True)
    checkpoint.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def steps(folder: Path) -> list[Path]:
    """List a run's checkpoints, oldest first."""
    return sorted((folder / CHECKPOINTS).glob("step_*"), key=step_of)


def step_of(checkpoint: Path) -> int:
    """Count the updates that a checkpoint has behind it, by its name."""
    digits = checkpoint.name.removeprefix("step_")
    return int(digits) if digits.isdigit() else -1


def check(checkpoint: Path) -> int:
    """Make sure that a run can go on from a folder.

    Returns:
        The updates made.

    Raises:
        CheckpointError: If it is no complete checkpoint.
    """
    if not checkpoint.is_dir():
        raise CheckpointError(
            f"checkpoint {checkpoint} does not exist; name a folder like "
            "outputs/sft/checkpoints/step_000100"
        )
    on_mlx = (checkpoint / MLX_OPTIMIZER).is_file()
    needed = [STATE] if on_mlx else [STATE, "scheduler.pt"]
    missing = [name for name in needed if not (checkpoint / name).is_file()]
    if not on_mlx and not any((checkpoint / name).is_file() for name in _OPTIMIZERS):
        missing.append(_OPTIMIZERS[0])
    if not any((checkpoint / name).is_file() for name in _WEIGHTS):
        missing.append("weights")
    if missing:
        raise CheckpointError(
            f"checkpoint {checkpoint} has no {', no '.join(missing)}, so training cannot go on "
            "from it; name another, or start from its weights with model.start_from"
        )
    return int(read_json(checkpoint / STATE)["global_step"])


def refuse_foreign(checkpoint: Path, backend: str) -> None:
    """Make sure that the backend that is to go on from a checkpoint wrote it.

    Raises:
        CheckpointError: If another one did: each keeps its optimizer in its own way.
    """
    writer = "mlx" if (checkpoint / MLX_OPTIMIZER).is_file() else "pytorch"
    if writer != backend:
        raise CheckpointError(
            f"checkpoint {checkpoint} was written by backend {writer}, and {backend} cannot go on "
            f"from it; use --backend {writer}, or start a new run from its weights with "
            "model.start_from"
        )


def to_resume(folder: Path, resume: str) -> Path | None:
    """Find the checkpoint that `resume` means.

    Args:
        folder: The run's folder.
        resume: never, auto, must, or a path.

    Raises:
        ConfigError: If `must` finds none.
        CheckpointError: If a path is no complete checkpoint.
    """
    if resume == "never":
        return None
    if resume not in ("auto", "must"):
        path = Path(resume).expanduser()
        check(path)
        return path
    found = steps(folder)
    if found:
        check(found[-1])
        return found[-1]
    if resume == "must":
        raise ConfigError(
            f"resume: must, and {folder} has no checkpoint; --resume auto starts from the beginning"
        )
    return None
