"""The rows to train on and those to evaluate on, kept apart."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeAlias

from vlmtune.config import DatasetConfig, RunConfig
from vlmtune.data.division import SEED, divide
from vlmtune.data.images import FileImage
from vlmtune.data.leaks import LeakReport, find_leaks
from vlmtune.data.load import Loaded, fingerprint, load_examples
from vlmtune.errors import DataError
from vlmtune.types import Example

Advance: TypeAlias = Callable[[int], None]
Track: TypeAlias = Callable[[str, int], AbstractContextManager[Advance]]
"""Opens a progress bar: title and total, which is 0 where nobody knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSets:
    """Both sets and what they share.

    Attributes:
        read: Every usable row of `data.datasets`, in the order of the run.
        train: Rows to train on: `read` without rows set aside or dropped.
        evaluation: Rows to evaluate on, or None when there are none.
        named: Whether `evaluation` comes from `data.eval_datasets`; else it is a part of `read`.
        no_evaluation: Why there is no evaluation set, or "".
        leaks: What was found between two named sets; None where rows were only set aside, since
            rows that would leak into each other stay on one side.
        dropped: Training rows left out because they leak.
    """

    read: Loaded
    train: Loaded
    evaluation: Loaded | None = None
    named: bool = False
    no_evaluation: str = ""
    leaks: LeakReport | None = None
    dropped: int = 0

    @property
    def rehearsed(self) -> tuple[Example, ...]:
        """Rows that a rehearsal looks at: those to train on, and those set aside, in order."""
        return self.train.examples if self.named else self.read.examples

    def line(self) -> str:
        """Say in one line what evaluation will use."""
        count = len(self.train.examples)
        if self.evaluation is None:
            return f"none, {count} rows to train on: {self.no_evaluation}"
        held = len(self.evaluation.examples)
        if self.named:
            names = ", ".join(source.name for source in self.evaluation.report.sources)
            return f"{held} rows of {names}, {count} to train on"
        return (
            f"{held} of {held + count} rows set aside (seed {SEED}), {count} to train on; rows "
            "that share a picture stay together"
        )


def load_training_sets(
    config: RunConfig, *, verify_images: bool = True, track: Track | None = None
) -> TrainingSets:
    """Load both sets: `data.eval_datasets`, or a share of the rows set aside.

    Args:
        config: The run.
        verify_images: As for `load_examples`; without it leaks are looked for by name only.
        track: Opens progress bars; without it nothing is shown.

    Returns:
        The sets. Where too few rows are there to set any aside, and nobody asked for a share of
        them, there is no evaluation set and `no_evaluation` says why.

    Raises:
        ConfigError: If a dataset or option is wrong.
        DataError: If no row can be used, rows leak and `data.on_leak` is "error", or
            `data.eval_fraction` was set and no row can be set aside.
    """
    track = track or _untracked
    with track("reading rows", config.data.max_samples or 0) as advance:
        read = load_examples(config, verify_images=verify_images, progress=advance)
    if config.data.eval_datasets is None:
        return _set_aside(read, config=config, track=track)
    wanted = _evaluation(config)
    with track("reading rows to evaluate", wanted.data.max_samples or 0) as advance:
        evaluation = load_examples(wanted, verify_images=verify_images, progress=advance)
    looked = _pictures((*read.examples, *evaluation.examples))
    with track("looking for leaks", looked) as advance:
        leaks = find_leaks(read.examples, evaluation.examples, look=verify_images, progress=advance)
    return _without_leaks(read, evaluation, leaks, on_leak=config.data.on_leak)


def _set_aside(read: Loaded, *, config: RunConfig, track: Track) -> TrainingSets:
    fraction = config.data.eval_fraction
    if fraction == 0:
        return TrainingSets(read=read, train=read, no_evaluation="data.eval_fraction is 0")
    with track("setting rows aside", _pictures(read.examples)) as advance:
        try:
            rest, aside = divide(
                read.examples,
                fraction=fraction,
                look=read.report.images_verified,
                progress=advance,
            )
        except DataError as error:
            if "eval_fraction" in config.data.model_fields_set:
                raise
            return TrainingSets(read=read, train=read, no_evaluation=str(error))
    return TrainingSets(read=read, train=_part(read, rest), evaluation=_part(read, aside))


def _without_leaks(
    read: Loaded, evaluation: Loaded, leaks: LeakReport, *, on_leak: str
) -> TrainingSets:
    """Stop, drop or allow.

    Raises:
        DataError: If rows leak and are not to, or none is left.
    """
    found = TrainingSets(read=read, train=read, evaluation=evaluation, named=True, leaks=leaks)
    if not leaks.rows or on_leak == "allow":
        return found
    clean = tuple(row for row in read.examples if row.id not in leaks.rows)
    if on_leak == "error" or not clean:
        raise DataError(
            f"evaluation would not be honest: {leaks.line()}; name other rows, leave these out "
            "with data.on_leak: drop, or keep them with data.on_leak: allow"
        )
    dropped = len(read.examples) - len(clean)
    return replace(found, train=_part(read, clean), dropped=dropped)


def _evaluation(config: RunConfig) -> RunConfig:
    """The same run, reading its evaluation sources from their start."""
    named = config.data.eval_datasets or []
    sources = [on_split(source, config.data.eval_split) for source in named]
    most = config.data.max_eval_samples or config.data.max_samples
    data = config.data.model_copy(
        update={
            "datasets": sources,
            "max_samples": most,
            "max_samples_per_dataset": None,
            "shuffle": False,
        }
    )
    return config.model_copy(update={"data": data})


def on_split(source: DatasetConfig, split: str) -> DatasetConfig:
    """Read a source from a split, unless it names one or is a file, which has no splits."""
    if "split" in source.model_fields_set or source.name.endswith((".jsonl", ".json", ".ndjson")):
        return source
    return source.model_copy(update={"split": split})


def _part(loaded: Loaded, rows: Sequence[Example]) -> Loaded:
    report = replace(
        loaded.report,
        fingerprint=fingerprint(rows, read_images=loaded.report.images_verified),
    )
    return Loaded(examples=tuple(rows), report=report)


def _pictures(rows: Sequence[Example]) -> int:
    """Count the files that a comparison decodes."""
    files = (image for row in rows for image in row.images if isinstance(image, FileImage))
    return len({image.path for image in files})


def _untracked(title: str, total: int) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return nullcontext(_ignore)


def _ignore(count: int) -> None:
    """Take a count that nobody watches."""
