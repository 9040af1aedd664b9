"""How far a run came, and the checkpoint that brings it back.

    adapter_model.safetensors, adapter_config.json     or model.safetensors, config.json
    optimizer.safetensors                              mean.<weight>, square.<weight>: float32
    trainer_state.json                                 written last: updates, sums, the stage's own

There is no random state: what an update draws follows from its number.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import mlx.core as mx
import numpy as np

from vlmtune.backends.mlx.export import write_processor
from vlmtune.backends.mlx.learner import Learner
from vlmtune.backends.mlx.optimizer import AdamW
from vlmtune.errors import CheckpointError
from vlmtune.models import tensors
from vlmtune.models.checkpoints import read_json
from vlmtune.types import JSON

OPTIMIZER, STATE = "optimizer.safetensors", "trainer_state.json"
_MEAN, _SQUARE = "mean.", "square."


@dataclass(slots=True, kw_only=True)
class Progress:
    """Updates made, and sums of what is not recorded yet.

    Attributes:
        step: Updates made.
        tokens: Tokens seen, each answer's with its prompt's.
        losses: Sum of all updates' losses.
        unrecorded: Updates since the last record.
        loss: Sum of their losses.
        sums: Name of a number -> its sum since the last record, and how many were added.
    """

    step: int = 0
    tokens: int = 0
    losses: float = 0.0
    unrecorded: int = 0
    loss: float = 0.0
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def mean_loss(self) -> float:
        """Mean over all updates."""
        return self.losses / max(1, self.step)

    def add(self, numbers: Mapping[str, float]) -> None:
        """Take note of numbers of which the mean will be recorded."""
        for name, value in numbers.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + float(value), count + 1)

    def count(self, loss: float, *, tokens: int) -> None:
        """An update is made."""
        self.step += 1
        self.tokens += tokens
        self.unrecorded += 1
        self.loss += loss
        self.losses += loss

    def drained(self) -> dict[str, float]:
        """Give the means since the last time, and begin anew."""
        found = {"loss": self.loss / max(1, self.unrecorded)}
        found |= {name: total / count for name, (total, count) in self.sums.items()}
        self.loss, self.unrecorded, self.sums = 0.0, 0, {}
        return found


def save(folder: Path, learner: Learner, optimizer: AdamW, progress: Progress, saved: JSON) -> None:
    """Write a checkpoint, its state last."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    learner.write(folder)
    write_processor(learner.loaded.reader, learner.folder, folder)
    held = {f"{_MEAN}{name}": np.array(value) for name, value in optimizer.means.items()}
    held |= {f"{_SQUARE}{name}": np.array(value) for name, value in optimizer.squares.items()}
    tensors.write(folder / OPTIMIZER, held)
    state = {
        "global_step": progress.step,
        "written_by": "mlx",
        "progress": asdict(progress),
        "optimizer_step": optimizer.step,
        "stage": saved,
    }
    (folder / STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")


def load(folder: Path, learner: Learner, optimizer: AdamW) -> tuple[Progress, JSON]:
    """Go back to a checkpoint: the weights, the optimizer, the sums.

    Returns:
        The progress, and what the stage saved.

    Raises:
        CheckpointError: If it was written on another backend, is incomplete, or does not fit.
    """
    if not (folder / OPTIMIZER).is_file():
        raise CheckpointError(
            f"checkpoint {folder} was not written on mlx, whose training cannot go on from it; "
            "start from its weights with model.start_from, or train with the backend that wrote it"
        )
    learner.read(folder)
    held = tensors.read_floats(folder / OPTIMIZER)
    needed = {f"{kind}{name}" for name in optimizer.paces for kind in (_MEAN, _SQUARE)}
    if set(held) != needed:
        odd = min(needed ^ set(held))
        raise CheckpointError(
            f"checkpoint {folder} remembers other weights than those that train ({odd}); restore "
            "the settings it was made with"
        )
    for name in optimizer.paces:
        optimizer.means[name] = mx.array(held[f"{_MEAN}{name}"])
        optimizer.squares[name] = mx.array(held[f"{_SQUARE}{name}"])
    state = read_json(folder / STATE)
    optimizer.step = int(state["optimizer_step"])
    known = state["progress"]
    sums = {name: (float(total), int(count)) for name, (total, count) in known["sums"].items()}
    return Progress(**{**known, "sums": sums}), state["stage"]
