"""Supervised fine-tuning: prompts and the answers to learn."""

from typing import Any

from vlmtune.config import RunConfig
from vlmtune.data.training_sets import TrainingSets
from vlmtune.protocols import Journal
from vlmtune.training.lessons import lessons
from vlmtune.types import Stage, Start, TrainResult


def train(
    config: RunConfig, backend: Any, start: Start, sets: TrainingSets, journal: Journal
) -> TrainResult:
    """Word the rows and hand them to the backend.

    Args:
        config: A checked config.
        backend: A package in `vlmtune.backends` that trains this stage.
        start: What to load.
        sets: The rows.
        journal: The run.
    """
    style = config.prompt.style
    evaluation = () if sets.evaluation is None else sets.evaluation.examples
    result: TrainResult = backend.train_sft(
        config,
        start,
        lessons(sets.train.examples, style=style, stage=Stage.SFT),
        lessons(evaluation, style=style, stage=Stage.SFT),
        journal,
    )
    return result
