"""Group relative policy optimisation through TRL's GRPOTrainer.

TRL keeps its loop, its losses, its reference and its reuse of completions. What we override:

    _generate                            our generator draws, our rewards grade: `roll_out`
    _generate_and_score_completions      advantages are those of `objectives.py`
    _get_per_token_logps_and_entropies   every prompt is computed once for its answers
    compute_loss                         says which rows those answers belong to
    _get_eval_sampler                    evaluations ask in one order
    _save_checkpoint                     answers that later updates learn from are kept too

With `hardware.use_vllm` the generator is `vllm_rollouts.Rollouts`, and TRL corrects for the
difference between the log-probabilities that vLLM drew with and the trainer's own, as it does with
its own vLLM.

So token ids, pictures, completions, rewards and advantages are those that a rehearsal shows.
"""

# P prompts, G completions per prompt, B answers of a batch, C tokens of the longest of them

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
import transformers
import trl
from trl.trainer.utils import RepeatSampler, add_fused_lm_head

from vlmtune.backends import policy
from vlmtune.backends.groups import refuse_too_few
from vlmtune.backends.job import Job
from vlmtune.backends.pytorch import grpo_settings, processes, sharding
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.inputs import PromptInputs
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.prompt_once import can_pack, pack
from vlmtune.backends.pytorch.trainer import ROWS, house, prepare, split, train
from vlmtune.backends.rollouts import Grade, Observe, Rollout, advantages, gathered, roll_out
from vlmtune.config import RunConfig
from vlmtune.protocols import Generator, Journal
from vlmtune.types import Prompt, TrainResult

if TYPE_CHECKING:
    from vlmtune.backends.pytorch.vllm_rollouts import Rollouts

ROLLOUT = "rollout.pt"
"""Answers in the middle of their use, in a checkpoint."""


def train_grpo(loaded: LoadedModel, job: Job, *, grade: Grade, observe: Observe) -> TrainResult:
    """Train on groups of the model's own answers.

    Args:
        loaded: An adapted model.
        job: Prompts to train on, and those to evaluate on.
        grade: The reward.
        observe: Told of every rollout.

    Raises:
        DataError: If there are fewer prompts than one update takes.
        RunFailed: If the run cannot go on.
    """
    trainer = build(loaded, job, grade=grade, observe=observe)
    return train(trainer, loaded, job.config, job.journal)


def build(loaded: LoadedModel, job: Job, *, grade: Grade, observe: Observe) -> Any:
    """Build the trainer that `train_grpo` runs."""
    config = job.config
    batches = grpo_settings.batches(config)
    refuse_too_few(len(job.lessons), batches)
    prompts = [lesson.prompt for lesson in job.rows]
    arguments = grpo_settings.arguments(config, folder=job.journal.scratch, device=loaded.device)
    reference = None
    if config.grpo.beta and not loaded.is_adapted:
        # TRL would load the reference from the folder, without what was merged into these weights.
        reference = copy.deepcopy(loaded.network).requires_grad_(False).eval()
        arguments["beta"] = 0.0
    # Before vLLM starts: transformers would take its group of one for processes that train.
    args = sharding.admit(trl.GRPOConfig(**arguments))
    desk = Desk(
        loaded,
        config,
        prompts,
        trained=len(job.lessons),
        grade=grade,
        observe=observe,
        drawing=_drawing(loaded, config),
    )
    trained, held = split(_dataset(len(prompts)), job)
    trainer = GroupTrainer(
        model=loaded.network,
        reward_funcs=desk.total,
        args=args,
        train_dataset=trained,
        eval_dataset=held,
        processing_class=loaded.reader.processor,
    )
    if reference is not None:
        add_fused_lm_head(reference, temperature=config.grpo.temperature)
        trainer.beta, trainer.args.beta, trainer.ref_model = (
            config.grpo.beta,
            config.grpo.beta,
            sharding.as_reference(trainer, reference),
        )
    # After TRL was built, which would start a vLLM of its own.
    trainer.use_vllm = desk.drawing is not None
    trainer.desk = desk
    prepare(trainer, loaded, job)
    trainer.add_callback(_Resuming(trainer, job.journal))
    return trainer


def _drawing(loaded: LoadedModel, config: RunConfig) -> "Rollouts | None":
    """Start vLLM where it is to draw; elsewhere the model that trains draws itself."""
    if not config.hardware.use_vllm:
        return None
    from vlmtune.backends.pytorch import vllm_rollouts

    if config.hardware.vllm_mode == "server":
        return vllm_rollouts.served(loaded, config)
    return vllm_rollouts.colocated(loaded, config)


def _dataset(count: int) -> datasets.Dataset:
    """Make the rows that TRL counts, repeats and shuffles: places, written as its prompts."""
    return datasets.Dataset.from_dict(
        {ROWS: range(count), "prompt": [str(row) for row in range(count)]}
    )


class Desk:
    """Where groups are drawn and graded, and where the trainer looks up what it needs of them.

    Attributes:
        prompts: All prompts, those to train on first.
        rollout: The groups that this process drew last.
        everywhere: Those of all processes; the same where there is one.
        drawing: vLLM, where it draws.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        config: RunConfig,
        prompts: Sequence[Prompt],
        *,
        trained: int,
        grade: Grade,
        observe: Observe,
        drawing: "Rollouts | None" = None,
    ) -> None:
        self.prompts = prompts
        self.drawing = drawing
        self.rollout: Rollout | None = None
        self.everywhere: Rollout | None = None
        self._loaded = loaded
        self._generator: Generator = drawing or TorchGenerator(
            loaded, batch_rows=config.hardware.generation_batch_size
        )
        self._config = config
        self._trained = trained
        self._grade = grade
        self._observe = observe
        self._read: dict[int, PromptInputs] = {}

    def draw(self, rows: Sequence[int], *, number: int, step: int, training: bool) -> Rollout:
        """Draw and grade one group for each row; evaluation draws alike every time."""
        resample = self._config.grpo.resample_flat_groups
        self.rollout = roll_out(
            self._generator,
            rows,
            self.prompts[: self._trained] if training else self.prompts,
            grade=self._grade,
            sampling=policy.sampling(self._config),
            number=number if training else 0,
            resample=resample if training else 0,
            team=processes.team(),
        )
        self.everywhere = gathered(self.rollout, self.prompts, team=processes.team())
        kept = {group.row for group in self.rollout.groups}
        self._read = {row: self.inputs(row) for row in kept}
        self._observe(self.everywhere, step, training)
        return self.rollout

    def inputs(self, row: int) -> PromptInputs:
        """Read a prompt, or remember it from the groups drawn last."""
        found = self._read.get(row)
        return self._loaded.reader.read(self.prompts[row]) if found is None else found

    def total(self, *, prompts: Sequence[str], **columns: object) -> list[float | None]:
        """Tell TRL what the answers drawn last have earned; they were graded when drawn.

        TRL logs it as rewards/total, and warns of those to which no reward applies.
        """
        assert self.rollout is not None
        scores = [score for group in self.rollout.groups for score in group.scores]
        found = [score.value if score.applies else None for score in scores]
        assert len(found) == len(prompts)
        return found


class GroupTrainer(house(trl.GRPOTrainer)):  # type: ignore[misc]
    """TRL's trainer with our generator, rewards and forward pass.

    Attributes:
        desk: Draws and grades.
    """

    desk: Desk

    def _generate(self, prompts: list[str]) -> tuple[Any, ...]:
        """Draw our way; TRL lists every prompt G times."""
        training = bool(self.model.training)
        rows = [int(prompt) for prompt in prompts[:: self.num_generations]]
        every = self.args.steps_per_generation * self.num_iterations
        with self.accelerator.autocast(), sharding.undivided(self):
            rollout = self.desk.draw(
                rows,
                number=self._step // every,
                step=self.state.global_step,
                training=training,
            )
        self._rows_B = [group.row for group in rollout.groups for _ in group.completions]
        answers = [one for group in rollout.groups for one in group.completions]
        prompt_ids = [self.desk.inputs(row).ids_T.tolist() for row in self._rows_B]
        self._count(sum(map(len, prompt_ids)), training=training)
        texts = [one.text for one in answers]
        ids = [list(one.token_ids) for one in answers]
        logprobs = [list(one.logprobs or ()) for one in answers] if self.use_vllm else None
        return prompt_ids, ids, None, texts, logprobs, {}, None, []

    def _count(self, prompt_tokens: int, *, training: bool) -> None:
        """Keep the numbers that TRL takes where it generates, and our own beside them."""
        metrics, rollout = self._metrics["train" if training else "eval"], self.desk.everywhere
        assert rollout is not None
        lengths = [len(one.token_ids) for group in rollout.groups for one in group.completions]
        if training:
            asked = sum(processes.team().gather(prompt_tokens))
            self.state.num_input_tokens_seen += sum(lengths) + asked
        metrics["num_tokens"] = [self.state.num_input_tokens_seen]
        found = rollout.metrics() | {
            "completions/mean_length": sum(lengths) / len(lengths),
            "completions/min_length": float(min(lengths)),
            "completions/max_length": float(max(lengths)),
        }
        if self.desk.drawing is not None:
            found |= self.desk.drawing.take_told()
        # The trainer averages over batches; a short last one counts for as many as it holds.
        times = 1 if training else len(rollout.groups)
        for name, value in found.items():
            metrics[name] += [value] * times

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        rollout, everywhere = self.desk.rollout, self.desk.everywhere
        if self.desk.drawing is not None:
            self.desk.drawing.watch(self._metrics["train" if self.model.training else "eval"])
        assert rollout is not None
        assert everywhere is not None
        gained_PG = advantages(everywhere.rewards_PG, scale=self.house_config.grpo.scale_rewards)
        first = processes.team().rank * len(rollout.groups)
        own = torch.tensor(gained_PG[first : first + len(rollout.groups)].reshape(-1))
        found["advantages"] = own.to(found["advantages"])
        found[ROWS] = torch.tensor(self._rows_B)
        return found

    def compute_loss(self, model: Any, inputs: dict[str, Any], **more: Any) -> Any:
        """Remember which prompts the batch answers, for the forward pass inside."""
        self._rows_B = inputs[ROWS].tolist()
        # Reused completions come here again, and the house takes the rows out.
        return super().compute_loss(model, dict(inputs), **more)

    def _get_per_token_logps_and_entropies(  # noqa: PLR0917 - TRL calls it by position
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **unused: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Score answers with each prompt computed once; TRL's pictures and masks are not needed."""
        answers_BC, kept_BC = input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:]
        answers = [ids[kept.bool()].tolist() for ids, kept in zip(answers_BC, kept_BC, strict=True)]
        # Without gradients memory does not limit a batch, and groups stay whole.
        size = len(answers) if batch_size is None else max(batch_size, self.num_generations)
        parts = [
            self._scored(model, slice(start, start + size), answers, logits_to_keep)
            for start in range(0, len(answers), size)
        ]
        logps, entropies = (torch.cat([part[side] for part in parts]) for side in (0, 1))
        return logps, entropies if compute_entropy else None, None

    def _scored(
        self, model: Any, part: slice, answers: Sequence[list[int]], width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self._rows_B[part]
        packed = pack(
            self.house_loaded,
            {row: self.desk.inputs(row) for row in dict.fromkeys(rows)},
            rows,
            answers[part],
            together=can_pack(self.house_loaded),
        )
        with self.accelerator.autocast():
            out = model(**packed.inputs, shift_labels=packed.labels_RT, fused_lm_head=True)
        lengths = [len(ids) for ids in answers[part]]
        return (
            packed.unpack(out.log_probs, lengths, width),
            packed.unpack(out.entropy, lengths, width)
            if out.entropy is not None
            else torch.zeros((len(rows), width), device=out.log_probs.device),
        )

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Ask in one order always; TRL's depends on the number of evaluations before."""
        return RepeatSampler(eval_dataset, self.num_generations_eval, shuffle=False)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        every = self.args.steps_per_generation * self.num_iterations
        if self._step % every and self._buffered_inputs is not None:
            folder = (
                Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            )
            torch.save(self._buffered_inputs, folder / _rollout_file())


def _rollout_file() -> str:
    team = processes.team()
    return ROLLOUT if team.size == 1 else ROLLOUT.replace(".", f"_{team.rank}.")


class _Resuming(transformers.TrainerCallback):
    """Sets TRL's count of batches, and the answers in use, to where a checkpoint left them."""

    def __init__(self, trainer: GroupTrainer, journal: Journal) -> None:
        self._trainer = trainer
        self._folder = journal.resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Count what was done before; TRL would start a new drawing at any place."""
        self._trainer._step = state.global_step * args.gradient_accumulation_steps
        kept = None if self._folder is None else self._folder / _rollout_file()
        if kept is not None and kept.is_file():
            self._trainer._buffered_inputs = torch.load(
                kept, weights_only=True, map_location=self._trainer.accelerator.device
            )
