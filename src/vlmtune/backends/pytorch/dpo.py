"""Direct preference optimisation through TRL's DPOTrainer.

The reference is the policy as training found it. Where an adapter is continued, TRL keeps a frozen
copy of it under the name "ref"; a new adapter needs no copy, since switching it off gives the
reference; full fine-tuning keeps a second model.
"""

import copy
from typing import Any

import trl

from vlmtune.backends.job import Job
from vlmtune.backends.pytorch import settings, sharding
from vlmtune.backends.pytorch.collate import Collator
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.trainer import REFERENCE, house, places, prepare, train
from vlmtune.types import TrainResult


def train_dpo(loaded: LoadedModel, job: Job, *, continued: bool) -> TrainResult:
    """Train on chosen against rejected answers.

    Args:
        loaded: An adapted model.
        job: Rows with two answers each.
        continued: Whether the adapter comes from an earlier stage.

    Raises:
        RunFailed: If the run cannot go on.
    """
    trainer = build(loaded, job, continued=continued)
    return train(trainer, loaded, job.config, job.journal)


def build(loaded: LoadedModel, job: Job, *, continued: bool) -> Any:
    """Build the trainer that `train_dpo` runs."""
    arguments = settings.dpo_arguments(job.config, folder=job.journal.scratch, device=loaded.device)
    trained, held = places(job)
    trainer = house(trl.DPOTrainer)(
        model=loaded.network,
        ref_model=None if loaded.is_adapted else _frozen(loaded.network),
        args=sharding.admit(trl.DPOConfig(**arguments)),
        data_collator=Collator(loaded, job.rows, paired=True),
        train_dataset=trained,
        eval_dataset=held,
        processing_class=loaded.reader.processor,
    )
    if loaded.is_adapted and not continued:
        loaded.network.delete_adapter(REFERENCE)
    prepare(trainer, loaded, job)
    return trainer


def _frozen(network: Any) -> Any:
    """Copy a model as it is now; loading it again would miss whatever was merged into it."""
    reference = copy.deepcopy(network)
    reference.requires_grad_(False)
    return reference.eval()
