"""Supervised fine-tuning: prompts and the answers to learn."""

from vlmtune.protocols import Journal
from vlmtune.training.lessons import worded
from vlmtune.training.work import Work
from vlmtune.types import TrainResult


def train(work: Work, journal: Journal) -> TrainResult:
    """Word the rows with their answers and hand them to the backend."""
    result: TrainResult = work.backend.train_sft(worded(work, journal), work.start)
    return result
