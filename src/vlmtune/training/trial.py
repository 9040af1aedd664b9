"""A few updates that are thrown away: does this model train here, on these rows?"""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmtune.config import RunConfig
from vlmtune.data.training_sets import Track, TrainingSets
from vlmtune.errors import RunFailed
from vlmtune.training import lineage
from vlmtune.training.findings import Check, judged
from vlmtune.training.stages import STAGES
from vlmtune.training.work import Work
from vlmtune.types import Stage


class _Steps:
    """A journal that keeps the losses and nothing on disk."""

    def __init__(self, folder: Path, advance: Any) -> None:
        self.folder = self.scratch = self.model_folder = folder
        self.resume_from: Path | None = None
        self.losses: list[float] = []
        self._advance = advance
        self._last: dict[str, float] = {}

    @property
    def stopping(self) -> bool:
        """False: nobody asks a trial to end early."""
        return False

    def stop(self) -> None:
        """Nothing: its few updates are all made."""

    @property
    def last(self) -> Mapping[str, float]:
        """The last value of each number, as a real journal has it."""
        return dict(self._last)

    def begin(self, *, step: int, total: int) -> None:
        """Nothing: the bar knows its length already."""

    def advance(self, *, step: int) -> None:
        """Move the bar by one update."""
        self._advance(1)

    def record(self, numbers: Mapping[str, float], *, step: int) -> None:
        """Keep the numbers, and every loss in order."""
        self._last |= numbers
        if "loss" in numbers:
            self.losses.append(numbers["loss"])

    def keep(self, *, step: int) -> None:
        """Nothing: a trial's checkpoints are thrown away."""


def checks(config: RunConfig, backend: Any, sets: TrainingSets, track: Track) -> list[Check]:
    """Train for `rehearsal.train_steps` updates in a temporary folder, where the backend trains.

    Args:
        config: The run; its settings hold but for length, checkpoints and trackers.
        backend: A package in `vlmtune.backends`.
        sets: The rows.
        track: Opens a progress bar.

    Returns:
        A check that passes when every loss is finite; none where the backend does not train this
        stage or `train_steps` is 0.

    Raises:
        ConfigError: If the backend cannot honour a setting.
    """
    count = config.rehearsal.train_steps
    trains = config.stage in STAGES and config.stage.value in getattr(backend, "TRAINS", ())
    if not count or not trains or backend.check_training():
        return []
    short = _shortened(config, count)
    backend.check_settings(short)
    start, _, _ = lineage.start(short)
    with (
        tempfile.TemporaryDirectory(prefix="vlmtune-trial-") as folder,
        track("trying updates", count) as advance,
    ):
        journal = _Steps(Path(folder), advance)
        try:
            work = Work(config=short, backend=backend, start=start, sets=sets)
            STAGES[config.stage](work, journal)
        except RunFailed as error:
            return [judged("trial_updates", str(error), fail=True)]
    return [_judged(journal.losses, count, config.stage)]


def _judged(found: Sequence[float], count: int, stage: Stage) -> Check:
    losses = " -> ".join(f"{loss:.3f}" for loss in found)
    why = " (near 0 by its construction: advantages add up to 0)" if stage is Stage.GRPO else ""
    return judged(
        "trial_updates",
        f"{count} updates that were thrown away, loss {losses}{why}",
        fail=not found or not all(map(math.isfinite, found)),
        remedy="lower training.learning_rate",
    )


def _shortened(config: RunConfig, count: int) -> RunConfig:
    def with_(section: str, **values: object) -> Any:
        """Copy a section with other values, unchecked: they stay within what was checked."""
        return getattr(config, section).model_copy(update=values)

    training: dict[str, object] = {"max_steps": count, "warmup_ratio": 0.0, "warmup_steps": 0}
    if config.stage is Stage.GRPO:
        # A rehearsal has few rows, and an update of the run may take more prompts than that.
        most = min(config.training.batch_size, config.grpo.num_generations)
        training |= {"batch_size": most, "gradient_accumulation_steps": 1}
        training |= {"global_batch_size": None}
    changed = {
        "training": with_("training", **training),
        "grpo": with_("grpo", log_completions=False, resample_flat_groups=0),
        "evaluation": with_("evaluation", strategy="no"),
        "save": with_(
            "save", steps=count + 1, model_path=None, push_to_hub=False, hub_model_id=None
        ),
        "tracking": with_(
            "tracking",
            log_steps=1,
            sample_steps=None,
            wandb=False,
            tensorboard=False,
            trackio=False,
        ),
        "hardware": with_("hardware", processes=1, nodes=1, fsdp="no", deepspeed=None),
        "resume": "never",
    }
    return config.model_copy(update=changed)
