"""Direct preference optimisation: prompts with a chosen and a rejected answer each."""

from vlmtune.protocols import Journal
from vlmtune.training.exhibits import exhibited
from vlmtune.training.lessons import worded
from vlmtune.training.work import Work
from vlmtune.types import TrainResult


def train(work: Work, journal: Journal) -> TrainResult:
    """Word the pairs and hand them to the backend."""
    job = exhibited(worded(work, journal), work)
    result: TrainResult = work.backend.train_dpo(job, work.start)
    return result
