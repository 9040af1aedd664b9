"""Supervised fine-tuning through TRL's SFTTrainer: the loss is on the answer's tokens alone.

TRL gets our batches (`collate.py`), so that the ids are those of the rehearsal, and a dataset of
places in the list of rows, so that it shuffles and resumes as it does with any other.
"""

from collections.abc import Sequence
from typing import Any

import trl

from vlmtune.backends.choices import rates
from vlmtune.backends.pytorch import settings, sharding
from vlmtune.backends.pytorch.collate import Collator
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.trainer import house, places, prepare, train
from vlmtune.config import RunConfig
from vlmtune.protocols import Journal
from vlmtune.types import Lesson, TrainResult


def train_sft(
    loaded: LoadedModel,
    config: RunConfig,
    lessons: Sequence[Lesson],
    evaluation: Sequence[Lesson],
    journal: Journal,
) -> TrainResult:
    """Train on prompts and their answers.

    Args:
        loaded: An adapted model.
        config: A checked config.
        lessons: Rows to train on.
        evaluation: Rows whose loss is measured, where `evaluation.strategy` asks for it.
        journal: The run.

    Raises:
        RunFailed: If the run cannot go on.
    """
    return train(build(loaded, config, lessons, evaluation, journal), loaded, config, journal)


def build(
    loaded: LoadedModel,
    config: RunConfig,
    lessons: Sequence[Lesson],
    evaluation: Sequence[Lesson],
    journal: Journal,
) -> Any:
    """Build the trainer that `train_sft` runs."""
    rows = [*lessons, *evaluation]
    arguments = settings.sft_arguments(config, folder=journal.scratch, device=loaded.device)
    all_places = places(rows)
    trainer = house(trl.SFTTrainer)(
        model=loaded.network,
        args=sharding.admit(trl.SFTConfig(**arguments)),
        data_collator=Collator(loaded, rows, paired=False),
        train_dataset=all_places.select(range(len(lessons))),
        eval_dataset=all_places.select(range(len(lessons), len(rows))) if evaluation else None,
        processing_class=loaded.reader.processor,
    )
    # Qwen's models say that they take no count of an update's tokens; transformers then averages
    # the batches' means, in which a short answer weighs more. TRL's loss takes the count itself.
    trainer.model_accepts_loss_kwargs = True
    names = [lesson.prompt.example_id for lesson in rows]
    prepare(trainer, loaded, config, rates(config), journal, names=names)
    return trainer
