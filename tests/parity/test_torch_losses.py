"""The losses that TRL's trainers compute on pico, against `objectives.py` from scored answers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from vlmtune import config_file
from vlmtune.backends.choices import Tuning
from vlmtune.backends.job import Job
from vlmtune.backends.pytorch import dpo, sft
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import load
from vlmtune.backends.pytorch.tuning import adapt
from vlmtune.data.load import load_examples
from vlmtune.language.prompts import build
from vlmtune.models.resolve import resolve
from vlmtune.objectives import preference_loss, supervised_loss
from vlmtune.types import Example, Lesson, Turn

ANSWERS = ("<think>red cube (2,7)</think><answer>2</answer>", "yes", "left of", "blue")
WORSE = ("<answer>7</answer>", "no", "<answer>above</answer>", "a red cube")


class Quiet:
    """A journal that remembers the numbers and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.scratch, self.model_folder, self.resume_from = folder / "s", folder / "m", None
        self.stopping = False
        self.last: Mapping[str, float] = {}

    def begin(self, *, step: int, total: int) -> None: ...

    def advance(self, *, step: int) -> None: ...

    def record(self, numbers: Mapping[str, float], *, step: int) -> None:
        self.last = {**self.last, **numbers}

    def keep(self, *, step: int) -> None: ...


def settings(stage, **more):
    flags = {
        "stage": stage,
        "backend": "pytorch",
        "hardware.device": "cpu",
        "training.batch_size": 4,
        "data.max_samples": 3,
        **more,
    }
    return config_file.load(None, flags=flags)


@pytest.fixture(scope="module")
def lessons():
    """Rows with one picture, without any, with two, and with a turn before the question."""
    rows = load_examples(settings("sft")).examples
    plain = Example(id="plain", question="Which colour is the sky?")
    two = Example(
        id="two",
        images=(*rows[1].images, *rows[2].images),
        turns=(Turn(user="Hello.", assistant="Hello, what do you see?"),),
        question="Is there a red cube in both?",
    )
    asked = [build(row, style="spatial-v1") for row in (rows[0], plain, two, rows[2])]
    return [
        Lesson(prompt=prompt, answer=answer, rejected=worse)
        for prompt, answer, worse in zip(asked, ANSWERS, WORSE, strict=True)
    ]


def fresh(*, nudged: bool):
    loaded = load(resolve("pico", backend="pytorch"), Loading(device="cpu"))
    loaded = adapt(loaded, Tuning(rank=2, targets=("q_proj", "down_proj")), seed=0)
    if nudged:
        torch.manual_seed(1)
        with torch.no_grad():
            for name, weight in loaded.network.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0.0, 0.05)
    return loaded


def loss_of(trainer):
    """The loss of one batch of all rows, as the trainer's own step computes it."""
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    counted = (batch["labels"] != -100).sum() if "labels" in batch else None
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counted)
    return float(loss.detach())


def scored(loaded, lessons, texts):
    """Score answers one by one: prompts that share a pass are rounded otherwise, past 1e-6."""
    generator = TorchGenerator(loaded)
    pairs = zip(lessons, texts, strict=True)
    return [generator.score([lesson.prompt], [text])[0] for lesson, text in pairs]


def test_the_sft_loss_is_the_mean_over_answer_tokens(lessons, tmp_path):
    loaded = fresh(nudged=True)
    scores = scored(loaded, lessons, ANSWERS)
    trainer = sft.build(
        loaded, Job(config=settings("sft"), lessons=lessons, journal=Quiet(tmp_path))
    )
    width = max(map(len, scores))
    logps = np.array([[*row, *[0.0] * (width - len(row))] for row in scores])
    marked = np.array([[1] * len(row) + [0] * (width - len(row)) for row in scores])
    assert loss_of(trainer) == pytest.approx(supervised_loss(logps, marked), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "smoothing", "beside"),
    [
        ("sigmoid", 0.0, 0.0),
        ("sigmoid", 0.2, 0.0),
        ("robust", 0.2, 0.0),
        ("hinge", 0.0, 0.0),
        ("ipo", 0.0, 0.0),
        ("sigmoid", 0.2, 0.7),
        ("ipo", 0.0, 0.7),
    ],
)
def test_a_dpo_loss_is_that_of_whole_answers_against_the_base(
    lessons, tmp_path, kind, smoothing, beside
):
    more = {"dpo.loss_type": kind, "dpo.label_smoothing": smoothing, "dpo.sft_weight": beside}
    config = settings("dpo", **more, **{"dpo.beta": 0.3})
    loaded = fresh(nudged=False)
    job = Job(config=config, lessons=lessons, journal=Quiet(tmp_path))
    trainer = dpo.build(loaded, job, continued=False)
    assert set(loaded.network.peft_config) == {"default"}
    with torch.no_grad():
        for name, weight in loaded.network.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.02)
    policy = [[sum(r) for r in scored(loaded, lessons, texts)] for texts in (ANSWERS, WORSE)]
    lengths = [[len(r) for r in scored(loaded, lessons, texts)] for texts in (ANSWERS, WORSE)]
    with loaded.network.disable_adapter():
        base = [[sum(r) for r in scored(loaded, lessons, texts)] for texts in (ANSWERS, WORSE)]
    expected = preference_loss(
        policy,
        base,
        beta=0.3,
        kind=kind,
        label_smoothing=smoothing,
        sft_weight=beside,
        lengths_CB=lengths,
    )
    assert loss_of(trainer) == pytest.approx(expected, rel=1e-6)


def test_a_continued_adapter_is_its_own_reference(lessons, tmp_path):
    loaded = fresh(nudged=True)
    reference = [[sum(r) for r in scored(loaded, lessons, t)] for t in (ANSWERS, WORSE)]
    job = Job(config=settings("dpo"), lessons=lessons, journal=Quiet(tmp_path))
    trainer = dpo.build(loaded, job, continued=True)
    assert loss_of(trainer) == pytest.approx(np.log(2), rel=1e-6)
    trained = [n for n, w in loaded.network.named_parameters() if w.requires_grad]
    assert trained and not any(".ref." in name for name in trained)
    with torch.no_grad():
        for name, weight in loaded.network.named_parameters():
            if "lora_B.default" in name:
                weight.mul_(1.5)
    policy = [[sum(r) for r in scored(loaded, lessons, t)] for t in (ANSWERS, WORSE)]
    expected = preference_loss(policy, reference, beta=0.1)
    assert loss_of(trainer) == pytest.approx(expected, rel=1e-6)
