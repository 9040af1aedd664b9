"""What a training leaves behind while it runs: metrics, checkpoints, and how far it came.

metrics.jsonl     {"step": 10, "loss": 1.93, "learning_rate": 1e-05, ...}
checkpoints/      step_000100 ...
"""

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from vlmtune.errors import RunFailed
from vlmtune.training import checkpoints

METRICS = "metrics.jsonl"
SUMMARY = "train_runtime"
"""Number that only the line at a run's end has."""
Advance = Callable[[int, int], None]


class RunJournal:
    """The `Journal` of a run in its own folder.

    Attributes:
        folder: The run's folder.
        scratch: Where checkpoints are written.
        model_folder: Where the finished model goes.
        resume_from: Checkpoint to go on from, or None.
        writes: Whether this process writes; of several the first does.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model_folder: Path,
        resume_from: Path | None,
        keep: int | None,
        advance: Advance,
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.scratch = folder / checkpoints.SCRATCH
        self.model_folder = model_folder
        self.resume_from = resume_from
        self.writes = writes
        self.total = 0
        self.step = 0
        self._keep = keep
        self._advance = advance
        self._asked: signal.Signals | None = None
        self._last: dict[str, float] = {}

    @property
    def stopping(self) -> bool:
        """Whether a signal asked the run to save and end."""
        return self._asked is not None

    def stop(self) -> None:
        """Save and end, because another process of this run was asked to."""
        if self._asked is None:
            self._asked = signal.SIGTERM

    @property
    def asked(self) -> str:
        """Name of the signal that asked, or ""."""
        return "" if self._asked is None else self._asked.name

    @property
    def last(self) -> Mapping[str, float]:
        """The last value of each recorded number."""
        return dict(self._last)

    def begin(self, *, step: int, total: int) -> None:
        """Training begins, or goes on after `step` updates of `total`."""
        self.step, self.total = step, total
        if self.writes:
            self._forget_after(step)
        self._advance(step, total)

    def advance(self, *, step: int) -> None:
        """The update number `step` is made."""
        self.step = step
        self._advance(step, self.total)

    def record(self, numbers: Mapping[str, float], *, step: int) -> None:
        """Append a line of metrics.

        Raises:
            RunFailed: If the gradient is not finite: the weights are lost from here on.
        """
        self._last |= numbers
        if self.writes:
            self._append(numbers, step)
        if not math.isfinite(numbers.get("grad_norm", 0.0)):
            raise RunFailed(
                f"the gradient is not finite at update {step}; lower training.learning_rate, or "
                "compute in another training.precision, and --resume auto from the last checkpoint"
            )

    def _append(self, numbers: Mapping[str, float], step: int) -> None:
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **finite}, allow_nan=False) + "\n")

    def keep(self, *, step: int) -> None:
        """Give a complete checkpoint its name."""
        checkpoints.keep(self.folder, step=step, most=self._keep)

    def _forget_after(self, step: int) -> None:
        """Drop lines of updates that are made again."""
        path = self.folder / METRICS
        if not path.is_file():
            return
        kept = [
            line for line in path.read_text(encoding="utf-8").splitlines() if _is_kept(line, step)
        ]
        building = path.with_name(f".{METRICS}.building")
        building.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        building.replace(path)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a wish to save and end; a second one ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = (signal.SIGINT, signal.SIGTERM)
        before = {name: signal.getsignal(name) for name in names}
        for name in names:
            signal.signal(name, self._hear)
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            raise KeyboardInterrupt
        self._asked = signal.Signals(number)


def _is_kept(line: str, step: int) -> bool:
    """A last line that a kill cut in two is dropped too, and the summary of a run that goes on."""
    try:
        found = json.loads(line)
        return int(found["step"]) <= step and SUMMARY not in found
    except (ValueError, KeyError, TypeError):
        return False
