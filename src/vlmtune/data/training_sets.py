"""The rows to train on and those to evaluate on, kept apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vlmtune.config import DatasetConfig, RunConfig
from vlmtune.data.division import divide
from vlmtune.data.leaks import LeakReport, find_leaks
from vlmtune.data.load import Loaded, fingerprint, load_examples
from vlmtune.errors import DataError
from vlmtune.types import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSets:
    """Both sets and what they share.

    Attributes:
        train: Rows to train on.
        evaluation: Rows to evaluate on, or None when none are wanted.
        leaks: What was found between the two; None where rows were only set aside.
        dropped: Training rows left out because they leak.
    """

    train: Loaded
    evaluation: Loaded | None
    leaks: LeakReport | None = None
    dropped: int = 0


def load_training_sets(
    config: RunConfig,
    *,
    verify_images: bool = True,
    progress: Callable[[int], None] | None = None,
) -> TrainingSets:
    """Load both sets: `data.eval_datasets`, or a share of the rows set aside by picture.

    Args:
        config: The run.
        verify_images: As for `load_examples`.
        progress: As for `load_examples`.

    Raises:
        ConfigError: If a dataset or option is wrong.
        DataError: If no row can be used, or rows leak and `data.on_leak` is "error".
    """
    train = load_examples(config, verify_images=verify_images, progress=progress)
    if config.data.eval_datasets is None:
        if config.data.eval_fraction == 0:
            return TrainingSets(train=train, evaluation=None)
        rest, aside = divide(train.examples, fraction=config.data.eval_fraction)
        return TrainingSets(train=_part(train, rest), evaluation=_part(train, aside))
    evaluation = load_examples(_evaluation(config), verify_images=verify_images, progress=progress)
    leaks = find_leaks(train.examples, evaluation.examples, look=verify_images)
    if not leaks.rows or config.data.on_leak == "allow":
        return TrainingSets(train=train, evaluation=evaluation, leaks=leaks)
    clean = tuple(row for row in train.examples if row.id not in leaks.rows)
    if config.data.on_leak == "error" or not clean:
        raise DataError(
            f"evaluation would not be honest: {leaks.line()}; name other rows, leave these out "
            "with data.on_leak: drop, or keep them with data.on_leak: allow"
        )
    dropped = len(train.examples) - len(clean)
    return TrainingSets(
        train=_part(train, clean), evaluation=evaluation, leaks=leaks, dropped=dropped
    )


def _evaluation(config: RunConfig) -> RunConfig:
    """The same run, reading its evaluation sources from their start."""
    named = config.data.eval_datasets or []
    sources = [_on_split(source, config.data.eval_split) for source in named]
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


def _on_split(source: DatasetConfig, split: str) -> DatasetConfig:
    if "split" in source.model_fields_set or source.name.endswith((".jsonl", ".json", ".ndjson")):
        return source
    return source.model_copy(update={"split": split})


def _part(loaded: Loaded, rows: Sequence[Example]) -> Loaded:
    report = replace(
        loaded.report,
        fingerprint=fingerprint(rows, read_images=loaded.report.images_verified),
    )
    return Loaded(examples=tuple(rows), report=report)
