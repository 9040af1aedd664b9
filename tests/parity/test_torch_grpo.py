"""GRPO's losses and gradients as TRL computes them in our hands, against `objectives.py`.

The other side shares nothing with the trainer: one plain forward pass per answer, a float64
log-softmax of all logits, and the gradient that the formulas give.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trl
from trl.trainer import grpo_trainer

from vlmtune.backends import policy
from vlmtune.backends.choices import Tuning
from vlmtune.backends.job import Job
from vlmtune.backends.pytorch import grpo, grpo_settings
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.collate import concatenated
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import load
from vlmtune.backends.pytorch.prompt_once import pack
from vlmtune.backends.pytorch.trainer import REFERENCE, ROWS
from vlmtune.backends.pytorch.tuning import adapt
from vlmtune.backends.rollouts import Grade, Rollout
from vlmtune.config import RunConfig
from vlmtune.data.datasets import scenes
from vlmtune.errors import RunFailed
from vlmtune.models.resolve import fetch, resolve
from vlmtune.objectives import policy_loss
from vlmtune.training.grpo import questions
from vlmtune.training.journal import RunJournal
from vlmtune.types import How, Reading, Score

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")
NOISE = 2e-7
"""What float32 leaves of a sum of terms of about 1 and of either sign, such as one near 0."""
PROMPTS, GENERATIONS, TEMPERATURE = 2, 4, 1.3


def config(**settings) -> RunConfig:
    return RunConfig.model_validate(
        {
            "stage": "grpo",
            "training": {"batch_size": PROMPTS * GENERATIONS, "precision": "fp32"},
            "grpo": {
                "num_generations": GENERATIONS,
                "max_completion_length": 48,
                "temperature": TEMPERATURE,
                "num_iterations": 2,
                "beta": 0.04,
                "epsilon": 0.1,
                "epsilon_high": 0.15,
                "delta": 1.3,
                **settings,
            },
        }
    )


def never(*_) -> None:
    """Scenes leave no row out, and nobody waits for progress."""


def unpaid(**_) -> list[float]:
    """A reward that is never asked."""
    return []


def uneven(prompts, completions):
    """Rewards that differ within each group, whatever the answers are."""
    reading = Reading(value=None, how=How.UNREADABLE)
    return [
        [
            Score(value=(place + 1) * (row + 1) / 8, parts={}, reading=reading, why="")
            for place, _ in enumerate(group)
        ]
        for row, group in enumerate(completions)
    ]


def partly(prompts, completions):
    """The same, but that no reward applies to the second answer of each, nor to the last group."""
    return [
        [replace(score, applies=place != 1 and row == 0) for place, score in enumerate(group)]
        for row, group in enumerate(uneven(prompts, completions))
    ]


class Bench:
    """pico with an adapter, its trainer, and one batch whose policy has moved on since."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        loaded = load(
            fetch(resolve("pico", backend="pytorch")), Loading(device="cpu", dtype="fp32")
        )
        self.loaded = adapt(loaded, Tuning(rank=4, alpha=8.0), seed=0)
        rows = scenes.load(split="train", seed=5, options={}, skip=never)
        self.lessons = questions([next(rows) for _ in range(PROMPTS)], style="spatial-v1")
        self.folder = folder
        self.seen: list[Rollout] = []
        trainer = self.trainer(config())
        self.move(0.02)
        self.batch = trainer._generate_and_score_completions(
            [{"row": row, "prompt": str(row)} for row in self.rows()]
        )
        self.old = [logps.detach() for logps in self.plain()]
        with self.without_adapter():
            self.reference = [logps.detach() for logps in self.plain()]
        # Whatever weights pico has: until the clip and the cap have something to do.
        while not (self.ratios() > 1.4).any() or not (self.ratios() < 0.8).any():
            self.move(0.01)

    def ratios(self) -> torch.Tensor:
        """How much likelier each sampled token has become."""
        pairs = zip(self.plain(), self.old, strict=True)
        return torch.cat([(now.detach() - old).exp() for now, old in pairs])

    def trainer(self, settings: RunConfig, grade: Grade = uneven):
        if REFERENCE in self.loaded.network.peft_config:
            self.loaded.network.delete_adapter(REFERENCE)
        journal = RunJournal(
            self.folder, model_folder=self.folder, resume_from=None, keep=1,
            advance=never,
        )  # fmt: skip
        made = grpo.build(
            self.loaded, Job(config=settings, lessons=self.lessons, journal=journal), grade=grade,
            observe=lambda rollout, *_: self.seen.append(rollout),
        )  # fmt: skip
        made.model.train()
        made.current_gradient_accumulation_steps = 1
        return made

    def rows(self) -> list[int]:
        """The prompt of each answer."""
        return [row for row in range(PROMPTS) for _ in range(GENERATIONS)]

    def move(self, spread: float) -> None:
        """Change the adapter that trains."""
        with torch.no_grad():
            for weight in self.weights():
                weight.add_(spread * torch.randn_like(weight))

    def weights(self) -> list[torch.Tensor]:
        named = self.loaded.network.named_parameters()
        return [weight for name, weight in named if weight.requires_grad]

    def without_adapter(self):
        # The reference was copied when the adapter was new, so it is the model without one.
        return self.loaded.network.disable_adapter()

    def plain(self) -> list[torch.Tensor]:
        """Log-probabilities of every answer, from a pass of its own."""
        return [
            self.one(group.prompt, completion.token_ids)
            for group in self.seen[0].groups
            for completion in group.completions
        ]

    def one(self, prompt, answer) -> torch.Tensor:
        inputs, more = self.loaded.reader.read(prompt), torch.tensor(answer)
        types = torch.cat([inputs.token_types_T, torch.zeros_like(more)])[None]
        logits = self.loaded.network(
            input_ids=torch.cat([inputs.ids_T, more])[None], mm_token_type_ids=types,
            attention_mask=torch.ones_like(types), use_cache=False, **inputs.pictures,
        ).logits[0, len(inputs.ids_T) - 1 : -1]  # fmt: skip
        return (logits.double() / TEMPERATURE).log_softmax(-1)[range(len(more)), more]

    def padded(self, logps: list[torch.Tensor]) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(logps, batch_first=True)

    def gradients(self) -> torch.Tensor:
        found = torch.cat([weight.grad.flatten() for weight in self.weights()])
        for weight in self.weights():
            weight.grad = None
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Iterator[Bench]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Bench(tmp_path_factory.mktemp("parity"))
    torch.set_num_threads(threads)


def expected(bench: Bench, settings: RunConfig):
    """The loss by the formulas, and the adapter's gradient that follows from it."""
    logps = bench.plain()
    mask = bench.padded([torch.ones_like(one) for one in logps])
    loss = policy_loss(
        bench.padded(logps).detach().numpy(),
        advantages_B=bench.batch["advantages"].numpy(),
        mask_BT=mask.numpy(),
        objective=policy.objective(settings),
        old_BT=bench.padded(bench.old).numpy(),
        reference_BT=bench.padded(bench.reference).numpy(),
    )
    (bench.padded(logps) * torch.from_numpy(loss.gradient_BT)).sum().backward()
    return loss, bench.gradients()


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_loss_and_gradient_are_those_of_the_formulas(bench, loss_type, level) -> None:
    high = {"epsilon_high": 1.05} if loss_type == "cispo" else {}
    settings = config(loss_type=loss_type, importance_sampling_level=level, **high)
    trainer = bench.trainer(settings)
    found = trainer.compute_loss(trainer.model, bench.batch)
    found.backward()
    gradient = bench.gradients()
    loss, wanted = expected(bench, settings)
    assert float(found) == pytest.approx(loss.value, rel=1e-6, abs=NOISE)
    assert float((gradient - wanted).norm() / wanted.norm()) < 1e-5
    assert trainer._metrics["train"]["kl"][-1] == pytest.approx(loss.kl, rel=1e-4)


@pytest.mark.parametrize("loss_type", ["dapo", "sapo"])
def test_trls_own_trainer_gives_the_same_loss_with_its_own_forward_pass(bench, loss_type) -> None:
    settings = config(loss_type=loss_type)
    ours = bench.trainer(settings)
    stock = trl.GRPOTrainer(
        model=bench.loaded.network,
        reward_funcs=unpaid,
        args=trl.GRPOConfig(
            **grpo_settings.arguments(settings, folder=bench.folder, device="cpu") | {"beta": 0.0}
        ),
        train_dataset=ours.train_dataset,
        processing_class=bench.loaded.reader.processor,
    )
    stock.beta, stock.current_gradient_accumulation_steps = settings.grpo.beta, 1
    stock.model.train()
    inputs = [bench.loaded.reader.read(bench.lessons[row].prompt) for row in bench.rows()]
    batch = {name: value for name, value in bench.batch.items() if name != ROWS}
    types = torch.zeros_like(torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1))
    types[:, : batch["prompt_ids"].shape[1]] = (
        batch["prompt_ids"] == bench.loaded.reader.image_token_id
    )
    batch |= concatenated(inputs) | {"mm_token_type_ids": types, "num_images": [1] * len(inputs)}
    assert float(stock.compute_loss(stock.model, batch)) == pytest.approx(
        float(ours.compute_loss(ours.model, bench.batch)), rel=1e-6, abs=NOISE
    )


def test_the_batch_is_one_that_tells_losses_apart(bench) -> None:
    """Ratios on both sides of the clip, lengths that differ, a reference that is far."""
    ratios = bench.ratios()
    assert (ratios > 1.3).any()
    assert (ratios < 0.9).any()
    assert len({len(one) for one in bench.old}) > 1
    apart = torch.cat([a - b for a, b in zip(bench.old, bench.reference, strict=True)])
    assert apart.abs().max() > 1e-3


def test_prompt_ids_are_those_that_a_rehearsal_counts(bench) -> None:
    generator = TorchGenerator(bench.loaded)
    for row, lesson in enumerate(bench.lessons):
        kept = bench.batch["prompt_mask"][row * GENERATIONS].bool()
        ids = tuple(bench.batch["prompt_ids"][row * GENERATIONS][kept].tolist())
        assert ids == generator.encode(lesson.prompt, "").prompt_ids


def test_completions_are_the_generators_own(bench) -> None:
    told = [list(one.token_ids) for group in bench.seen[0].groups for one in group.completions]
    pairs = zip(bench.batch["completion_ids"], bench.batch["completion_mask"], strict=True)
    assert [ids[mask.bool()].tolist() for ids, mask in pairs] == told


def test_old_log_probabilities_are_those_of_the_sampler(bench) -> None:
    told = [one.logprobs for group in bench.seen[0].groups for one in group.completions]
    for found, logps, plain in zip(
        bench.batch["old_per_token_logps"], told, bench.old, strict=True
    ):
        assert found[: len(logps)].tolist() == pytest.approx(list(logps), abs=1e-4)
        assert found[: len(logps)].tolist() == pytest.approx(plain.tolist(), rel=1e-5, abs=1e-5)


def test_advantages_are_those_of_the_objectives(bench) -> None:
    # Rewards 1/8 ... 4/8: mean 0.3125, deviation 0.1613743; (0.125 - 0.3125) / 0.1614743
    assert float(bench.batch["advantages"][0]) == pytest.approx(-1.1611755, abs=1e-6)
    # The second group's are twice as far apart, which the scale takes out again up to epsilon.
    assert float(bench.batch["advantages"][4]) == pytest.approx(-1.1615351, abs=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_trl_leaves_out_the_same_answers_where_no_reward_applies(bench, scale, monkeypatch) -> None:
    warned = []
    monkeypatch.setattr(grpo_trainer.logger, "warning", warned.append)
    trainer = bench.trainer(config(scale_rewards=scale), partly)
    inputs = [{"row": row, "prompt": str(row)} for row in bench.rows()]
    ours = trainer._generate_and_score_completions(inputs)["advantages"]
    trls = super(grpo.GroupTrainer, trainer)._generate_and_score_completions(inputs)["advantages"]
    assert ours == pytest.approx(trls, abs=1e-5)
    assert ours[[1, 4, 5, 6, 7]].tolist() == [0.0] * 5
    assert ours[[0, 2, 3]].abs().min() > 0.01
    # Rewards 1/8, 3/8 and 4/8 are left: mean 1/3.
    if scale == "none":
        assert ours[[0, 2, 3]].tolist() == pytest.approx([-5 / 24, 1 / 24, 4 / 24], abs=1e-6)
    assert "All reward functions returned None" in warned[0]
    assert trainer._metrics["train"]["reward"][-1] == pytest.approx(1 / 3)


def test_a_prompt_computed_once_gives_what_a_row_for_each_answer_gives(bench) -> None:
    inputs = {row: bench.loaded.reader.read(one.prompt) for row, one in enumerate(bench.lessons)}
    answers = [list(one.token_ids) for group in bench.seen[0].groups for one in group.completions]
    asked = bench.rows()
    lengths, width = [len(ids) for ids in answers], max(map(len, answers))
    found = []
    for together in (True, False):
        packed = pack(bench.loaded, inputs, asked, answers, together=together)
        out = bench.loaded.network(
            **packed.inputs, shift_labels=packed.labels_RT, fused_lm_head=True
        )
        logps = packed.unpack(out.log_probs, lengths, width)
        logps.square().sum().backward()
        found.append((logps.detach(), bench.gradients(), len(packed.labels_RT)))
    (once, gradient, rows), (apart, plain, each) = found
    assert (rows, each) == (PROMPTS, PROMPTS * GENERATIONS)
    assert torch.allclose(once, apart, atol=1e-5)
    assert float((gradient - plain).norm() / plain.norm()) < 1e-5


def test_a_masked_completion_takes_no_part(bench) -> None:
    settings = config(loss_type="dapo")
    trainer = bench.trainer(settings)
    batch = dict(bench.batch)
    batch["completion_mask"] = batch["completion_mask"].clone()
    batch["completion_mask"][1:] = 0
    batch["num_items_in_batch"] = batch["completion_mask"].sum()
    found = trainer.compute_loss(trainer.model, batch)
    logps = [bench.plain()[0]]
    loss = policy_loss(
        bench.padded(logps).detach().numpy(),
        advantages_B=batch["advantages"][:1].numpy(),
        mask_BT=torch.ones((1, len(logps[0]))).numpy(),
        objective=policy.objective(settings),
        old_BT=bench.padded(bench.old[:1]).numpy(),
        reference_BT=bench.padded(bench.reference[:1]).numpy(),
    )
    assert float(found) == pytest.approx(loss.value, rel=1e-6, abs=NOISE)


def test_a_loss_that_is_not_finite_names_the_rows(bench) -> None:
    trainer = bench.trainer(config())
    batch = dict(bench.batch)
    batch["advantages"] = batch["advantages"] * float("nan")
    with pytest.raises(RunFailed, match=bench.lessons[1].prompt.example_id):
        trainer.compute_loss(trainer.model, batch)
