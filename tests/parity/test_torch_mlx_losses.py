"""SFT and DPO on MLX against `objectives.py`, and against TRL's trainers from the same adapter."""

from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch

from vlmtune import config_file
from vlmtune.backends.choices import Tuning
from vlmtune.backends.job import Job
from vlmtune.backends.mlx import dpo as mlx_dpo
from vlmtune.backends.mlx import opening, prompt_once
from vlmtune.backends.mlx import sft as mlx_sft
from vlmtune.backends.mlx.trainer import graded
from vlmtune.backends.order import pass_order
from vlmtune.backends.pytorch import dpo, sft
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.model import load
from vlmtune.backends.pytorch.tuning import adapt
from vlmtune.data.load import load_examples
from vlmtune.language.prompts import build
from vlmtune.models import layer_names
from vlmtune.models.resolve import resolve
from vlmtune.objectives import preference_loss, supervised_loss
from vlmtune.types import Example, Lesson, Start, Turn

ANSWERS = ("<think>red cube (2,7)</think><answer>2</answer>", "yes", "left of", "blue")
WORSE = ("<answer>7</answer>", "no", "<answer>above</answer>", "a red cube")
DPO = [
    ("sigmoid", 0.0, 0.0),
    ("sigmoid", 0.2, 0.0),
    ("robust", 0.2, 0.0),
    ("hinge", 0.0, 0.0),
    ("ipo", 0.0, 0.0),
    ("sigmoid", 0.0, 0.7),
]
"""Loss, label smoothing and weight of the chosen answers' own loss."""


class Quiet:
    """A journal that remembers the numbers and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.scratch, self.model_folder, self.resume_from = folder / "s", folder / "m", None
        self.folder, self.stopping = folder, False
        self.losses: list[float] = []
        self.last: Mapping[str, float] = {}
        self.model_folder.mkdir(parents=True, exist_ok=True)

    def begin(self, *, step: int, total: int) -> None: ...

    def advance(self, *, step: int) -> None: ...

    def record(self, numbers: Mapping[str, float], *, step: int) -> None:
        self.last = {**self.last, **numbers}
        self.losses += [numbers["loss"]] if "loss" in numbers else []

    def keep(self, *, step: int) -> None: ...


def settings(stage, backend="mlx", **more):
    device = {"hardware.device": "cpu"} if backend == "pytorch" else {}
    flags = {
        "stage": stage,
        "backend": backend,
        "data.max_samples": 4,
        "training.batch_size": 4,
        "model.lora.rank": 2,
        "model.lora.target_modules": ["q_proj", "down_proj"],
        **device,
    }
    return config_file.load(None, flags=flags | more)


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


def nudges(learner) -> dict[str, np.ndarray]:
    """Values for every B, so that the adapter does something; by transformers' names."""
    draw = np.random.default_rng(1)
    return {
        layer_names.canonical(name): draw.normal(0, 0.05, weight.shape).astype(np.float32)
        for name, weight in sorted(learner.weights().items())
        if name.endswith("lora_b")
    }


@pytest.fixture
def learner(tmp_path):
    return opening.open_model(settings("sft"), Start(model="pico"), Quiet(tmp_path / "mlx"))


def job(stage, lessons, folder, **flags) -> Job:
    return Job(config=settings(stage, **flags), lessons=lessons, journal=Quiet(folder / "mlx"))


def nudge(learner) -> None:
    found = nudges(learner)
    now = learner.weights()
    learner.put(
        now
        | {
            name: mx.array(found[layer_names.canonical(name)])
            for name in now
            if layer_names.canonical(name) in found
        }
    )


def torch_model():
    loaded = load(resolve("pico", backend="pytorch"), Loading(device="cpu"))
    return adapt(loaded, Tuning(rank=2, targets=("q_proj", "down_proj")), seed=0)


def torch_weights(loaded) -> dict[str, torch.nn.Parameter]:
    """The adapter's weights by transformers' names of their layers, as on MLX."""
    leaves = {"lora_A.default.weight": "lora_a", "lora_B.default.weight": "lora_b"}
    return {
        f"{name.removeprefix('base_model.model.').removesuffix(end)}{leaf}": weight
        for name, weight in loaded.network.named_parameters()
        for end, leaf in leaves.items()
        if name.endswith(end)
    }


def nudge_torch(loaded, learner) -> None:
    mine = torch_weights(loaded)
    with torch.no_grad():
        for name, value in nudges(learner).items():
            mine[name].copy_(torch.tensor(value))


def torch_loss(trainer):
    """The loss and gradients of one batch of all rows, as the trainer's own step computes them."""
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    counted = (batch["labels"] != -100).sum() if "labels" in batch else None
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counted)
    loss.backward()
    return float(loss.detach())


def assert_same_gradient(found, loaded) -> None:
    theirs = {name: weight.grad.numpy() for name, weight in torch_weights(loaded).items()}
    ours = {layer_names.canonical(name): np.array(value) for name, value in found.items()}
    assert ours.keys() == theirs.keys()
    apart = sum(float(np.square(ours[name] - theirs[name]).sum()) for name in ours)
    length = sum(float(np.square(value).sum()) for value in theirs.values())
    assert (apart / length) ** 0.5 < 1e-4


def padded(scores_BC, lengths):
    width = np.array(scores_BC).shape[1]
    return np.array(scores_BC), np.arange(width) < np.array(lengths)[:, None]


def test_the_sft_loss_is_the_objective_and_that_of_trl(learner, lessons, tmp_path):
    nudge(learner)
    task = mlx_sft.SftTask(learner, job("sft", lessons, tmp_path))
    batch = task.batch(lessons, range(4))
    loss, _, gradients = graded(learner, task)(batch)
    logps, marked = padded(
        prompt_once.score(learner.loaded, batch.packed), batch.packed.packing.lengths_B
    )
    assert loss == pytest.approx(supervised_loss(logps, marked), rel=1e-6)
    loaded = torch_model()
    nudge_torch(loaded, learner)
    trainer = sft.build(
        loaded,
        Job(config=settings("sft", "pytorch"), lessons=lessons, journal=Quiet(tmp_path / "torch")),
    )
    assert loss == pytest.approx(torch_loss(trainer), rel=1e-5)
    assert_same_gradient(gradients, loaded)


@pytest.mark.parametrize("wanted", DPO)
def test_a_dpo_loss_is_the_objective_and_that_of_trl(learner, lessons, tmp_path, wanted):
    kind, smoothing, beside = wanted
    more = {"dpo.loss_type": kind, "dpo.label_smoothing": smoothing, "dpo.sft_weight": beside}
    more |= {"dpo.beta": 0.3}
    # The reference is the adapter as the run began, which adds nothing; the policy is nudged.
    nudge(learner)
    task = mlx_dpo.DpoTask(learner, job("dpo", lessons, tmp_path, **more))
    batch = task.batch(lessons, range(4))
    loss, numbers, gradients = graded(learner, task)(batch)
    policy_B = prompt_once.score(learner.loaded, batch.packed).sum(axis=-1)
    expected = preference_loss(
        np.array(policy_B).reshape(2, -1),
        batch.reference_CB,
        beta=0.3,
        kind=kind,
        label_smoothing=smoothing,
        sft_weight=beside,
        lengths_CB=batch.lengths_CB,
    )
    assert loss == pytest.approx(expected, rel=1e-6)
    loaded = torch_model()
    config = settings("dpo", "pytorch", **more)
    journal = Quiet(tmp_path / "torch")
    trainer = dpo.build(
        loaded, Job(config=config, lessons=lessons, journal=journal), continued=False
    )
    nudge_torch(loaded, learner)
    assert loss == pytest.approx(torch_loss(trainer), rel=1e-5)
    assert_same_gradient(gradients, loaded)
    assert numbers["rewards/margins"] == pytest.approx(
        float(trainer._metrics["train"]["rewards/margins"][-1]), rel=1e-4
    )


def test_twenty_updates_from_one_adapter_end_in_one_adapter(lessons, tmp_path):
    """Ten passes of unlike batches, accumulated, with clipping, decay, warm-up and a schedule."""
    flags = {
        "training.batch_size": 1,
        "training.gradient_accumulation_steps": 3,
        "training.max_steps": 20,
        "training.learning_rate": 1e-2,
        "training.warmup_steps": 3,
        "training.weight_decay": 0.1,
        "training.max_grad_norm": 0.5,
        "tracking.log_steps": 1,
        "save.steps": 100,
    }
    journal = Quiet(tmp_path / "mlx")
    learner = opening.open_model(settings("sft", **flags), Start(model="pico"), journal)
    mlx_sft.train_sft(
        learner, Job(config=settings("sft", **flags), lessons=lessons, journal=journal)
    )
    other, loaded = Quiet(tmp_path / "torch"), torch_model()
    config = settings("sft", "pytorch", **flags)
    trainer = sft.build(loaded, Job(config=config, lessons=lessons, journal=other))
    trainer.train()
    assert len(journal.losses) == 20
    assert journal.losses == pytest.approx(other.losses[:20], rel=1e-3)
    assert journal.losses[-1] < 0.5 * journal.losses[0]
    theirs = {name: weight.detach().numpy() for name, weight in torch_weights(loaded).items()}
    ours = {layer_names.canonical(name): np.array(w) for name, w in learner.weights().items()}
    one = np.concatenate([ours[name].ravel() for name in sorted(ours)])
    two = np.concatenate([theirs[name].ravel() for name in sorted(ours)])
    assert one @ two / (np.linalg.norm(one) * np.linalg.norm(two)) > 0.999


def test_both_engines_read_the_rows_in_one_order(lessons, tmp_path):
    config = settings("sft", "pytorch", **{"training.batch_size": 1, "seed": 5})
    trainer = sft.build(torch_model(), Job(config=config, lessons=lessons, journal=Quiet(tmp_path)))
    read = [int(batch["row"][0]) for batch in trainer.get_train_dataloader()]
    assert read == pass_order(4, seed=5, number=0).tolist()
