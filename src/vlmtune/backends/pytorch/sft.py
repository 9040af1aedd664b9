"""Supervised fine-tuning through TRL's SFTTrainer: the loss is on the answer's tokens alone.

TRL gets our batches (`collate.py`), so that the ids are those of the rehearsal, and a dataset of
places in the list of rows, so that it shuffles and resumes as it does with any other.
"""

from typing import Any

import trl

from vlmtune.backends.job import Job
from vlmtune.backends.pytorch import settings, sharding
from vlmtune.backends.pytorch.collate import Collator
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.trainer import house, places, prepare, train
from vlmtune.types import TrainResult


def train_sft(loaded: LoadedModel, job: Job) -> TrainResult:
    """Train on prompts and their answers.

    Args:
        loaded: An adapted model.
        job: Rows with their answers.

    Raises:
        RunFailed: If the run cannot go on.
    """
    return train(build(loaded, job), loaded, job.config, job.journal)


def build(loaded: LoadedModel, job: Job) -> Any:
    """Build the trainer that `train_sft` runs."""
    arguments = settings.sft_arguments(job.config, folder=job.journal.scratch, device=loaded.device)
    trained, held = places(job)
    trainer = house(trl.SFTTrainer)(
        model=loaded.network,
        args=sharding.admit(trl.SFTConfig(**arguments)),
        data_collator=Collator(loaded, job.rows, paired=False),
        train_dataset=trained,
        eval_dataset=held,
        processing_class=loaded.reader.processor,
    )
    # Qwen's models say that they take no count of an update's tokens; transformers then averages
    # the batches' means, in which a short answer weighs more. TRL's loss takes the count itself.
    trainer.model_accepts_loss_kwargs = True
    prepare(trainer, loaded, job)
    return trainer
