"""What trainers count between two lines of metrics, kept with a checkpoint.

transformers and TRL start their sums anew when a run goes on: a line that spans the checkpoint
would average fewer updates, and the mean loss of the run would leave out all that came before.

    counters.json    {"loss": 1.3, "losses": 14.2, "logged": 10, "tokens": 9120, "metrics": {...}}
"""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

COUNTERS = "counters.json"


class Counters(transformers.TrainerCallback):
    """Gives a trainer its sums back where a run goes on."""

    def __init__(self, trainer: Any, resume_from: Path | None) -> None:
        self._trainer = trainer
        self._folder = resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Read what a checkpoint kept; one without it leaves the trainer as it is."""
        path = None if self._folder is None else self._folder / _name(args.process_index)
        if path is None or not path.is_file():
            return
        found, trainer = json.loads(path.read_text(encoding="utf-8")), self._trainer
        trainer._tr_loss = torch.tensor(found["loss"], device=args.device)
        trainer._total_loss_scalar = found["losses"]
        trainer._globalstep_last_logged = found["logged"]
        trainer._total_train_tokens = found["tokens"]
        for name, values in found["metrics"].items():
            trainer._metrics["train"][name] = values
        # TRL decides by it which of its sums belong to a line; an update sets it anew.
        trainer.model.train(found["training"])


def save(trainer: Any, checkpoint: Path) -> None:
    """Write a trainer's sums into a checkpoint; every process has its own."""
    found = {
        # A float32 is a float64 exactly, so the sum comes back bit by bit.
        "loss": float(trainer._tr_loss),
        "losses": trainer._total_loss_scalar,
        "logged": trainer._globalstep_last_logged,
        "tokens": trainer._total_train_tokens,
        "metrics": dict(trainer._metrics["train"]),
        "training": trainer.model.training,
    }
    path = checkpoint / _name(trainer.args.process_index)
    path.write_text(json.dumps(found), encoding="utf-8")


def _name(process: int) -> str:
    return COUNTERS if process == 0 else COUNTERS.replace(".", f"_{process}.")
