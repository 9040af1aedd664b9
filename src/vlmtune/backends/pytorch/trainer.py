"""What we change about TRL's trainers, and it is no more than this.

    create_optimizer    AdamW with a rate for each part of the model
    create_scheduler    the schedule of backends/schedule.py, which MLX follows too
    _get_train_sampler  rows in the order of backends/order.py (sampler.py), as on MLX
    compute_loss        a loss that is not finite stops the run and names the rows
    _get_grad_norm      so does a gradient, before it reaches a weight
    _save               collected weights are written once (sharding.py)
    _save_checkpoint    sums between two log lines are kept too (counters.py)
    _prepare_for_training  FSDP2 keeps the head with the root (sharding.py)
    _run_epoch          a run that made all its updates makes none more when it goes on
    create_model_card   none: run.json says more

Everything that a run writes or is told goes through one callback to the run's journal.
"""

import contextlib
import copy
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers

from vlmtune.backends.choices import Rates, rates
from vlmtune.backends.job import Job
from vlmtune.backends.pytorch import counters, failures, processes, restore, sharding
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.sampler import PassSampler
from vlmtune.backends.pytorch.tuning import ADAPTER, hold_still, weight_groups
from vlmtune.backends.schedule import rate_factor, warmup_updates
from vlmtune.config import RunConfig
from vlmtune.protocols import Journal
from vlmtune.types import Stage, TrainResult

REFERENCE = "ref"
"""TRL's name of the frozen copy of a continued adapter."""
ROWS = "row"
"""Name of the batch's tensor that says which rows it came from."""


def places(job: Job) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """Make the datasets that a trainer shuffles and counts: one place in `job.rows` per row.

    The column `images` is there because TRL decides by it that rows are prepared batch by batch.

    Returns:
        Places to train on, and to evaluate on or None.
    """
    count = len(job.rows)
    return split(
        datasets.Dataset.from_dict({ROWS: list(range(count)), "images": [None] * count}), job
    )


def split(table: datasets.Dataset, job: Job) -> tuple[datasets.Dataset, datasets.Dataset | None]:
    """Part a table of `job.rows` into what is trained on, and what is evaluated on or None."""
    trained, count = len(job.lessons), len(table)
    held = table.select(range(trained, count)) if job.evaluation else None
    return table.select(range(trained)), held


class HouseTrainer(transformers.Trainer):
    """What is ours in a trainer; it stands before TRL's class, which it does not know.

    Attributes:
        house_config: The run.
        house_loaded: The adapted model.
        house_rates: Peak rates.
        house_names: Id of each row, by its place.
        house_rows: Rows of the batches since the last update.
    """

    optimizer: Any
    lr_scheduler: Any
    house_config: RunConfig
    house_loaded: LoadedModel
    house_rates: Rates
    house_names: Sequence[str] = ()
    house_rows: tuple[int, ...] = ()

    def create_optimizer(self, model: Any = None) -> Any:
        """Give each part its rate."""
        if self.optimizer is None:
            training = self.house_config.training
            groups = weight_groups(
                self.house_loaded, self.house_rates, weight_decay=training.weight_decay
            )
            self.optimizer = torch.optim.AdamW(
                groups,
                betas=(training.adam_beta1, training.adam_beta2),
                eps=training.adam_epsilon,
            )
            hold_still(self.optimizer, self.house_loaded)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Follow the schedule of the config."""
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer if optimizer is None else optimizer,
                _factors(self.house_config, num_training_steps),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: dict[str, Any], **more: Any) -> Any:
        """Take the batch's rows out for the record, and end where the loss is no number."""
        rows = inputs.pop(ROWS, None)
        taken = () if rows is None else tuple(rows.tolist())
        found = super().compute_loss(model, inputs, **more)
        loss = found[0] if isinstance(found, tuple) else found
        finite, team = bool(torch.isfinite(loss).all()), processes.team()
        if team.largest(int(not finite)):
            lost = [part for part in team.gather(None if finite else (float(loss), taken)) if part]
            raise self._runs_away(f"the loss is {lost[0][0]}", lost[0][1])
        self.house_rows += taken if model.training else ()
        return found

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        rows, self.house_rows = self.house_rows, ()
        if failures.runs_away(norm):
            # With fp16 this is usual: the scale is lowered and the update left out.
            if self.args.fp16:
                return None
            raise self._runs_away(f"the gradient's norm is {float(norm)}", rows)
        return norm

    def _runs_away(self, what: str, rows: Sequence[int]) -> Exception:
        names = [self.house_names[row] for row in rows]
        return failures.not_finite(what, self.state.global_step + 1, names)

    def _prepare_for_training(self, *arguments: Any, **more: Any) -> Any:
        whole = self.is_fsdp_enabled
        with sharding.as_one_block(self.model) if whole else contextlib.nullcontext():
            return super()._prepare_for_training(*arguments, **more)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # transformers saves the names that models are published under, and when it resumes looks
        # for its own: it would find none, say so in its log, and go on with the start's weights.
        if self.is_fsdp_enabled or self.house_loaded.is_adapted:
            super()._load_from_checkpoint(resume_from_checkpoint, model=model)
        else:
            restore.go_back(self.model if model is None else model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        # Of several processes without GPUs each is told its device is "cpu:0", and torch.load
        # knows no such place to put the optimizer's numbers.
        if self.args.device.type == "cpu":
            self.args.__dict__["_setup_devices"] = torch.device("cpu")
        super()._load_optimizer_and_scheduler(checkpoint)

    def _run_epoch(self, *arguments: Any, **more: Any) -> None:
        # transformers looks at the count after an update only: a run that was killed while it
        # wrote its finished model would make one more.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*arguments, **more)

    def _get_train_sampler(self, *arguments: Any, **more: Any) -> Any:
        return PassSampler.like(
            super()._get_train_sampler(*arguments, **more),
            rows=len(self.train_dataset),
            seed=self.house_config.seed,
            number=lambda: int(self.state.epoch or 0),
        )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        lost = [name for name in processes.team().gather(failures.lost_weight(model)) if name]
        if lost:
            raise self._runs_away(f"the weight {lost[0]} is not finite", ())
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial=trial))
        counters.save(self, folder / f"checkpoint-{self.state.global_step}")

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        found = None if state_dict is None else sharding.once(self.model, state_dict)
        super()._save(output_dir, state_dict=found)

    def create_model_card(self, *arguments: Any, **more: Any) -> None:
        """Write none."""


def house(trainer: type[Any]) -> type[Any]:
    """Put what is ours before one of TRL's classes.

    Args:
        trainer: SFTTrainer, DPOTrainer or GRPOTrainer.

    Returns:
        A class whose instances take the same arguments; `prepare` completes them.
    """
    return type(f"House{trainer.__name__}", (HouseTrainer, trainer), {})


class _Factors:
    """A schedule that can be saved with a checkpoint, unlike a function inside a function."""

    def __init__(self, config: RunConfig, total: int) -> None:
        training = config.training
        self.shape = training.lr_scheduler
        self.total = training.scheduler_steps or total
        self.warmup = warmup_updates(
            ratio=training.warmup_ratio, steps=training.warmup_steps, total=self.total
        )

    def __call__(self, update: int) -> float:
        return rate_factor(update, shape=self.shape, warmup=self.warmup, total=self.total)


def _factors(config: RunConfig, total: int) -> _Factors:
    return _Factors(config, total)


class JournalCallback(transformers.TrainerCallback):
    """Passes what happens on to the run's journal, and its wish to stop back.

    Where there is an exhibit, the model is asked after an update.
    """

    def __init__(self, loaded: LoadedModel, job: Job) -> None:
        self._journal = job.journal
        self._exhibit = job.exhibit
        self._generator = TorchGenerator(
            loaded, batch_rows=job.config.hardware.generation_batch_size
        )

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Say how many updates there will be, and how many there were."""
        self._journal.begin(step=state.global_step, total=state.max_steps)

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Count an update; save and end when somebody asks the run to stop."""
        self._journal.advance(step=state.global_step)
        if self._exhibit is not None:
            self._exhibit.show(self._generator, step=state.global_step)
        if processes.team().largest(int(self._journal.stopping)):
            self._journal.stop()
            control.should_save = True
            control.should_training_stop = True

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **more: Any
    ) -> None:
        """Record numbers; of several processes all look at them, and the first writes."""
        numbers = {name: value for name, value in logs.items() if isinstance(value, int | float)}
        self._journal.record(numbers, step=state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Put a checkpoint in place once all of it is written.

        The reference adapter is left out: with a second adapter in the checkpoint, transformers
        loads that one alone when it resumes, and training would go on from the start. The run's
        own start brings the reference back.
        """
        team = processes.team()
        team.gather(None)  # all have written their part
        if team.rank == 0:
            written = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            shutil.rmtree(written / REFERENCE, ignore_errors=True)
            self._journal.keep(step=state.global_step)
        team.gather(None)


def prepare(trainer: Any, loaded: LoadedModel, job: Job) -> None:
    """Complete a trainer of ours after TRL built it.

    Args:
        trainer: An instance of what `house` returns.
        loaded: The adapted model that it was given.
        job: Settings, the rows that it was given, and where everything is recorded.

    Raises:
        ConfigError: If a rate is set that no weight takes.
    """
    trainer.house_config, trainer.house_loaded = job.config, loaded
    trainer.house_rates, trainer.house_names = rates(job.config), job.names
    for module in loaded.network.modules():
        # In evaluation bitsandbytes packs 4-bit weights for the CPU, and then has no gradient.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    for name, weight in loaded.network.named_parameters():
        if weight.requires_grad and "lora_" in name and f".{ADAPTER}." not in name:
            weight.requires_grad_(False)
        # TRL rounds adapters of quantised models to bf16, which loses their smallest steps.
        if weight.requires_grad and "lora_" in name:
            weight.data = weight.data.float()
    weight_groups(loaded, trainer.house_rates, weight_decay=0.0)
    _tell_repeats(job.config, len(trainer.train_dataset))
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    trainer.add_callback(JournalCallback(loaded, job))
    trainer.add_callback(counters.Counters(trainer, job.journal.resume_from))


def _tell_repeats(config: RunConfig, rows: int) -> None:
    """Several processes take equally many rows, so a pass may end with some of its first again."""
    team, stage = processes.team(), config.stage
    short = -rows % (config.training.batch_size * team.size)
    if team.size > 1 and short and stage is not Stage.GRPO:
        logging.getLogger("vlmtune").warning(
            "each pass over %d rows ends with %d of its first rows again, so that all %d processes "
            "have as many",
            rows,
            short,
            team.size,
        )


def train(trainer: Any, loaded: LoadedModel, config: RunConfig, journal: Journal) -> TrainResult:
    """Run a prepared trainer to its end, and write the finished model.

    Raises:
        RunFailed: If memory or disk space runs out, or a loss is not finite.
        CheckpointError: If the checkpoint to resume from does not fit.
    """
    from vlmtune.backends.pytorch.export import export

    resume = None if journal.resume_from is None else str(journal.resume_from)
    generation = copy.deepcopy(loaded.base.generation_config)
    with failures.explained(lambda: int(trainer.state.global_step) + 1):
        trainer.train(resume_from_checkpoint=resume)
        # The trainer replaces the list of end tokens by the tokenizer's one.
        loaded.base.generation_config = generation
        if not journal.stopping:
            weights = sharding.full_weights(trainer)
            if processes.team().rank == 0:
                export(loaded, config, journal.model_folder, weights=weights)
    if config.tracking.wandb and processes.team().rank == 0:
        import wandb

        # Or a later stage of the same process would write into this one's run.
        wandb.finish()
    return TrainResult(
        steps=trainer.state.global_step,
        metrics=journal.last,
        model=journal.model_folder,
    )
