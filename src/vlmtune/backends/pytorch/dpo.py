"""Direct preference optimisation through TRL's DPOTrainer.

The reference is the policy as training found it. Where an adapter is continued, TRL keeps a frozen
copy of it under the name "ref"; a new adapter needs no copy, since switching it off gives the
reference; full fine-tuning keeps a second model.
"""

import copy
from collections.abc import Sequence
from typing import Any

import trl

from vlmtune.backends.choices import rates
from vlmtune.backends.pytorch import settings, sharding
from vlmtune.backends.pytorch.collate import Collator
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.trainer import REFERENCE, house, places, prepare, train
from vlmtune.config import RunConfig
from vlmtune.protocols import Journal
from vlmtune.types import Lesson, TrainResult


def train_dpo(
    loaded: LoadedModel,
    config: RunConfig,
    lessons: Sequence[Lesson],
    evaluation: Sequence[Lesson],
    journal: Journal,
    *,
    continued: bool,
) -> TrainResult:
    """Train on chosen against rejected answers.

    Args:
        loaded: An adapted model.
        config: A checked config.
        lessons: Pairs to train on.
        evaluation: Pairs whose loss is measured, where `evaluation.strategy` asks for it.
        journal: The run.
        continued: Whether the adapter comes from an earlier stage.

    Raises:
        RunFailed: If the run cannot go on.
    """
    trainer = build(loaded, config, lessons, evaluation, journal, continued=continued)
    return train(trainer, loaded, config, journal)


def build(
    loaded: LoadedModel,
    config: RunConfig,
    lessons: Sequence[Lesson],
    evaluation: Sequence[Lesson],
    journal: Journal,
    *,
    continued: bool,
) -> Any:
    """Build the trainer that `train_dpo` runs."""
    rows = [*lessons, *evaluation]
    arguments = settings.dpo_arguments(config, folder=journal.scratch, device=loaded.device)
    all_places = places(rows)
    trainer = house(trl.DPOTrainer)(
        model=loaded.network,
        ref_model=None if loaded.is_adapted else _frozen(loaded.network),
        args=sharding.admit(trl.DPOConfig(**arguments)),
        data_collator=Collator(loaded, rows, paired=True),
        train_dataset=all_places.select(range(len(lessons))),
        eval_dataset=all_places.select(range(len(lessons), len(rows))) if evaluation else None,
        processing_class=loaded.reader.processor,
    )
    if loaded.is_adapted and not continued:
        loaded.network.delete_adapter(REFERENCE)
    names = [lesson.prompt.example_id for lesson in rows]
    prepare(trainer, loaded, config, rates(config), journal, names=names)
    return trainer


def _frozen(network: Any) -> Any:
    """Copy a model as it is now; loading it again would miss whatever was merged into it."""
    reference = copy.deepcopy(network)
    reference.requires_grad_(False)
    return reference.eval()
