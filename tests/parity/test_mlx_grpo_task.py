"""GRPO as MLX trains it: its loss and adapter gradient by the formulas, and a run that goes on."""

import dataclasses
import json
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from vlmtune.backends import policy
from vlmtune.backends.job import Job
from vlmtune.backends.mlx import prompt_once, trainer
from vlmtune.backends.mlx.grpo import GrpoTask, train_grpo
from vlmtune.backends.mlx.opening import open_model
from vlmtune.config import RunConfig
from vlmtune.data.datasets import scenes
from vlmtune.errors import DataError
from vlmtune.objectives import group_advantages, policy_loss
from vlmtune.training.grpo import questions
from vlmtune.training.journal import RunJournal
from vlmtune.types import Finish, How, Reading, Score, Start

PROMPTS, GENERATIONS, TEMPERATURE = 2, 4, 1.3


def config(*, batch_size=PROMPTS * GENERATIONS, more=None, **settings) -> RunConfig:
    return RunConfig.model_validate(
        {
            "stage": "grpo",
            "backend": "mlx",
            "model": {"lora": {"rank": 4, "alpha": 8, "target_modules": ["q_proj", "down_proj"]}},
            "training": {
                "batch_size": batch_size,
                "global_batch_size": PROMPTS * GENERATIONS,
                "learning_rate": 1e-3,
                "lr_scheduler": "constant",
                "max_steps": 4,
            },
            "save": {"steps": 1},
            "tracking": {"log_steps": 1},
            "grpo": {
                "num_generations": GENERATIONS,
                "max_completion_length": 16,
                "temperature": TEMPERATURE,
                "num_iterations": 2,
                "beta": 0.04,
                "epsilon": 0.1,
                "epsilon_high": 0.15,
                "delta": 1.3,
                **settings,
            },
            **(more or {}),
        }
    )


def uneven(prompts, completions):
    """Rewards that differ within each group, whatever the answers are."""
    reading = Reading(value=None, how=How.UNREADABLE)
    return [
        [
            Score(value=(place + 1) / 4, parts={}, reading=reading, why="")
            for place, _ in enumerate(group)
        ]
        for group in completions
    ]


@pytest.fixture(scope="module")
def lessons():
    rows = scenes.load(split="train", seed=5, options={}, skip=lambda *_: None)
    return questions([next(rows) for _ in range(3)], style="spatial-v1")


def journal(folder: Path, resume_from: Path | None = None) -> RunJournal:
    return RunJournal(
        folder, model_folder=folder / "model", resume_from=resume_from, keep=9,
        advance=lambda *_: None,
    )  # fmt: skip


class Bench:
    """pico with an adapter that has moved since two groups were drawn."""

    def __init__(self, folder: Path, lessons) -> None:
        settings = config()
        self.lessons = lessons[:PROMPTS]
        self.book = journal(folder)
        self.learner = open_model(settings, Start(model="pico"), self.book)
        self.move(0.02, seed=1)
        self.rollouts = []
        task = self.task(settings)
        task.work(0)
        self.rollout = self.rollouts[0]
        self.answers = [one.token_ids for group in self.rollout.groups for one in group.completions]
        self.rows = [group.row for group in self.rollout.groups for _ in group.completions]
        self.old = self.plain()
        with self.learner.as_started():
            self.reference = self.plain()
        for seed in range(2, 9):
            self.move(0.01, seed=seed)
            ratios = np.exp(self.plain() - self.old)
            if ratios.max() > 1.4 and ratios.min() < 0.8:
                return
        raise AssertionError("no ratio that the clip and the cap would act on")

    def task(self, settings: RunConfig) -> GrpoTask:
        return GrpoTask(
            self.learner, Job(config=settings, lessons=self.lessons, journal=self.book),
            grade=uneven,
            observe=lambda rollout, *_: self.rollouts.append(rollout),
        )  # fmt: skip

    def move(self, spread: float, *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.learner.put(
            {
                name: weight + spread * mx.array(rng.normal(size=weight.shape).astype(np.float32))
                for name, weight in self.learner.weights().items()
            }
        )

    def logps(self) -> mx.array:
        """One row per answer."""
        loaded = self.learner.loaded
        inputs = {row: loaded.reader.read(one.prompt) for row, one in enumerate(self.lessons)}
        packed = prompt_once.pack(loaded, inputs, self.rows, self.answers, together=False)
        return prompt_once.score(loaded, packed, temperature=TEMPERATURE)

    def plain(self) -> np.ndarray:
        return np.array(self.logps())

    @property
    def mask(self) -> np.ndarray:
        lengths = np.array(list(map(len, self.answers)))
        return np.arange(lengths.max()) < lengths[:, None]

    def gradient_of(self, gradient_BT: np.ndarray) -> dict[str, np.ndarray]:
        """By the adapter, of the sum of log-probabilities times these numbers."""
        slopes = mx.array(gradient_BT.astype(np.float32))

        class Sum:
            def loss(self, batch):
                return (bench_logps() * slopes).sum(), {}

        bench_logps = self.logps
        return arrays(trainer.graded(self.learner, Sum())(None)[2])


def arrays(weights) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in weights.items()}


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    apart = sum(float(np.square(one[name] - other[name]).sum()) for name in one)
    return float(np.sqrt(apart / sum(float(np.square(array).sum()) for array in one.values())))


@pytest.fixture(scope="module")
def bench(tmp_path_factory, lessons) -> Bench:
    return Bench(tmp_path_factory.mktemp("mlx_grpo"), lessons)


def batches_of(task: GrpoTask, bench: Bench):
    """The batches of what was drawn before the policy moved."""
    size = bench.mask.shape
    found, done = [], 0
    for batch in task.batches(bench.rollout):
        part = slice(done, done + len(batch.rows_B))
        done = part.stop
        assert batch.reference_BC is not None and batch.old_BC is not None
        width = batch.mask_BC.shape[1]
        assert width <= size[1]
        found.append((batch, bench.old[part, :width]))
    return found


def loss_and_gradient(task: GrpoTask, bench: Bench):
    total, gradient = 0.0, {}
    for batch, old in batches_of(task, bench):
        loss, numbers, found = trainer.graded(bench.learner, task)(
            dataclasses.replace(batch, old_BC=old)
        )
        total += loss
        gradient = {name: gradient.get(name, 0) + np.array(one) for name, one in found.items()}
    return total, gradient, numbers


@pytest.mark.parametrize(
    ("loss_type", "level"),
    [("grpo", "token"), ("dapo", "sequence"), ("cispo", "token"), ("sapo", "sequence")],
)
def test_loss_and_adapter_gradient_are_those_of_the_formulas(bench, loss_type, level) -> None:
    high = {"epsilon_high": 1.05} if loss_type == "cispo" else {}
    settings = config(loss_type=loss_type, importance_sampling_level=level, **high)
    value, gradient, numbers = loss_and_gradient(bench.task(settings), bench)
    wanted = policy_loss(
        bench.plain(),
        advantages_B=group_advantages(bench.rollout.rewards_PG).reshape(-1),
        mask_BT=bench.mask,
        objective=policy.objective(settings),
        old_BT=bench.old,
        reference_BT=bench.reference,
    )
    assert value == pytest.approx(wanted.value, rel=1e-5, abs=1e-6)
    assert distance(bench.gradient_of(wanted.gradient_BT), gradient) < 1e-4
    assert numbers["kl"] == pytest.approx(wanted.kl, rel=1e-4)


def test_batches_of_an_update_add_up_to_the_whole(bench) -> None:
    whole = loss_and_gradient(bench.task(config()), bench)
    parts = loss_and_gradient(bench.task(config(batch_size=4)), bench)
    assert len(bench.task(config(batch_size=4)).batches(bench.rollout)) == 2
    assert parts[0] == pytest.approx(whole[0], rel=1e-5, abs=1e-6)
    assert distance(whole[1], parts[1]) < 1e-5


def test_a_truncated_answer_counts_in_its_group_and_teaches_nothing(bench) -> None:
    rollout = every_other_cut(bench.rollout)
    task = bench.task(config(mask_truncated_completions=True, loss_type="dapo"))
    batch = task.batches(rollout)[0]
    told = [one for group in rollout.groups for one in group.completions]
    for ids, one in zip(batch.answers_B, told, strict=True):
        assert ids == (one.token_ids if one.finish is Finish.STOP else ())
    assert batch.tokens == sum(len(one.token_ids) for one in told if one.finish is Finish.STOP)
    plain = bench.task(config()).batches(rollout)[0]
    assert batch.advantages_B.tolist() == plain.advantages_B.tolist()


def every_other_cut(rollout):
    """The same answers, of which every second is said to have been cut off."""

    def marked(place, one):
        return dataclasses.replace(one, finish=Finish.LENGTH if place % 2 else Finish.STOP)

    groups = tuple(
        dataclasses.replace(
            group,
            completions=tuple(marked(place, one) for place, one in enumerate(group.completions)),
        )
        for group in rollout.groups
    )
    return dataclasses.replace(rollout, groups=groups)


def test_nothing_is_learned_where_every_answer_is_truncated(bench) -> None:
    group = bench.rollout.groups[0]
    cut = tuple(dataclasses.replace(one, finish=Finish.LENGTH) for one in group.completions)
    rollout = dataclasses.replace(
        bench.rollout, groups=(dataclasses.replace(group, completions=cut),)
    )
    task = bench.task(config(mask_truncated_completions=True))
    (batch,) = task.batches(rollout)
    assert batch.mask_BC.tolist() == [[0.0]] * GENERATIONS
    loss, numbers, gradient = trainer.graded(bench.learner, task)(batch)
    assert (loss, numbers["kl"]) == (0.0, 0.0)
    assert all(not np.array(one).any() for one in gradient.values())


def test_too_few_rows_for_an_update_are_refused(bench, tmp_path) -> None:
    with pytest.raises(DataError, match="not enough for one update"):
        train_grpo(
            bench.learner,
            Job(config=config(), lessons=bench.lessons[:1], journal=journal(tmp_path)),
            grade=uneven, observe=lambda *_: None,
        )  # fmt: skip


class Run:
    """Four updates on two drawings, whole or from a checkpoint on."""

    def __init__(self, folder: Path, lessons, resume_from: Path | None = None) -> None:
        self.folder = folder
        self.observed = []
        book = journal(folder, resume_from)
        learner = open_model(config(), Start(model="pico"), book)
        self.started = arrays(learner.weights())
        self.result = train_grpo(
            learner,
            Job(config=config(), lessons=lessons, evaluation=lessons[:1], journal=book),
            grade=uneven,
            observe=lambda rollout, step, training: self.observed.append(
                (step, training, rollout.number, [group.row for group in rollout.groups])
            ),
        )  # fmt: skip
        self.weights = arrays(learner.weights())


@pytest.fixture(scope="module")
def whole(tmp_path_factory, lessons) -> Run:
    return Run(tmp_path_factory.mktemp("whole"), lessons)


def test_answers_are_drawn_once_for_as_many_updates_as_asked(whole) -> None:
    assert whole.result.steps == 4
    training = [(step, number) for step, training, number, _ in whole.observed if training]
    assert training == [(0, 0), (2, 1)]
    assert all(len(rows) == PROMPTS for *_, rows in whole.observed)
    lines = [json.loads(line) for line in (whole.folder / "metrics.jsonl").read_text().splitlines()]
    kl = [line["kl"] for line in lines if "kl" in line]
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[3] > 1e-4
    assert [("reward/mean" in line) for line in lines if "kl" in line] == [True, False, True, False]


def test_a_run_that_goes_on_in_the_middle_of_its_answers_ends_alike(
    whole, lessons, tmp_path
) -> None:
    found = sorted((whole.folder / "checkpoints").iterdir())
    middle = next(path for path in found if path.name.endswith("3"))
    again = Run(tmp_path, lessons, resume_from=middle)
    assert [step for step, *_ in again.observed] == []
    for name, weight in whole.weights.items():
        assert not np.array_equal(weight, whole.started[name])
        assert np.array_equal(weight, again.weights[name]), name
