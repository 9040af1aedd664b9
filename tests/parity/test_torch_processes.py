"""Two processes against one: the same rows, answers, losses and weights, whatever divides them.

Ten updates of pico each, at the same global batch, over gloo. What is saved is read back by plain
peft and transformers. The default run takes each engine once; `-m long` takes every stage, tuned by
an adapter and whole, and goes on from a checkpoint under every engine.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch

from vlmtune.cli import main
from vlmtune.data.datasets import scenes
from vlmtune.training import launch

CHECKOUT = Path(__file__).resolve().parents[2]
WORKER = CHECKOUT / "tests" / "fixtures" / "process_runs.py"
UPDATES, HALF = 10, 5
ENGINES = {
    "plain": (),
    "zero2": ("hardware.deepspeed=zero2",),
    "zero3": ("hardware.deepspeed=zero3",),
    "fsdp2": ("hardware.fsdp=full_shard",),
    "zero2-offload": (f"hardware.deepspeed={CHECKOUT / 'configs' / 'deepspeed_zero2.json'}",),
    "zero3-offload": (f"hardware.deepspeed={CHECKOUT / 'configs' / 'deepspeed_zero3.json'}",),
}
Cases: TypeAlias = list[tuple[str, str, str]]
COMMON = {
    "model": {"name": "pico", "dtype": "fp32", "lora": {"rank": 4, "alpha": 8, "dropout": 0.0}},
    "training": {
        "epochs": 2,
        "max_steps": UPDATES,
        "precision": "fp32",
        "max_grad_norm": 1.0,
        "lr_scheduler": "linear",
    },
    "save": {"steps": HALF},
    "tracking": {"log_steps": 1, "sample_steps": None},
    "hardware": {"device": "cpu"},
}
STAGES = {
    "sft": {"training": {"batch_size": 2, "global_batch_size": 4}},
    "dpo": {"training": {"batch_size": 2, "global_batch_size": 4}},
    "grpo": {
        "training": {"batch_size": 4, "global_batch_size": 8},
        "grpo": {
            "num_generations": 4,
            "max_completion_length": 24,
            "temperature": 1.2,
            "beta": 0.04,
            "loss_type": "dapo",
            "resample_flat_groups": 1,
        },
        "tracking": {"sample_steps": 5},
    },
}
RATES = {"lora": 1e-3, "full": 1e-4}
EPSILONS = {"lora": 1e-8, "full": 1e-6}
"""Adam moves a weight by its whole rate even where its gradient is nothing but rounding, which two
processes add up otherwise than one. Of all weights together many are such."""


class Runs:
    """Where runs lie, what they have in common, and those of one process, each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows = self._write_rows()

    def _write_rows(self) -> Path:
        lines = []
        drawn = scenes.load(split="train", seed=0, options={}, skip=lambda *_: None)
        for number, example in zip(range(25), drawn, strict=False):
            picture = self.folder / f"{number}.png"
            example.images[0].open().save(picture)
            lines.append(
                {
                    "id": example.id,
                    "kind": example.kind.value,
                    "image": str(picture),
                    "prompt": example.question,
                    "answer": example.answer,
                    "chosen": example.answer,
                    "rejected": example.rejected,
                }
            )
        path = self.folder / "rows.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        return path

    def words(self, name: str, stage: str, tuning: str, more: tuple[str, ...]) -> list[str]:
        settings: dict = {"stage": stage, "data": {"datasets": [{"name": str(self._rows)}]}}
        for part in (COMMON, STAGES[stage]):
            for section, values in part.items():
                settings[section] = settings.get(section, {}) | values
        path = self.folder / f"{name.replace(' ', '_')}.yaml"
        path.write_text(json.dumps(settings))
        chosen = (
            f"model.tuning={tuning}",
            f"training.learning_rate={RATES[tuning]}",
            f"training.adam_epsilon={EPSILONS[tuning]}",
            *more,
        )
        sets = [word for one in chosen for word in ("--set", one)]
        output = str(self.folder / name)
        return ["--config", str(path), "--backend", "pytorch", "--output_dir", output, *sets]

    def alone(self, stage: str, tuning: str) -> Path:
        name = f"alone {stage} {tuning}"
        if not (self.folder / name).exists():
            words = self.words(name, stage, tuning, ())
            assert main(stage, checkout=CHECKOUT, argv=words) == 0
        return self.folder / name

    def together(self, cases: Cases, *, resume: bool = False) -> list[Path]:
        """Run (engine, stage, tuning) one after another, in one pair of processes where that goes.

        An engine leaves marks in its process, so that plain ones come first and one engine follows.
        DeepSpeed holds on to its first group of processes: each run of it gets a pair of its own.
        """
        names = [f"{' '.join(case)}{' again' * resume}" for case in cases]
        plan = []
        for name, (engine, stage, tuning) in zip(names, cases, strict=True):
            more = ("hardware.processes=2", *ENGINES[engine])
            words = self.words(name, stage, tuning, more) + ["--resume", "must"] * resume
            run = {"stage": stage, "words": words}
            if engine.startswith("zero"):
                self._start([run])
            else:
                plan.append(run)
        self._start(plan)
        return [self.folder / name for name in names]

    def _start(self, plan: list[dict]) -> None:
        spec = self.folder / "plan.json"
        spec.write_text(json.dumps(plan))
        if plan:
            assert launch.start([sys.executable, str(WORKER), str(spec)], 2, gpus=None) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("processes"))


def lines(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    found = [line["loss"] for line in lines(folder, "metrics.jsonl") if "loss" in line]
    assert len(found) == UPDATES
    return found


def answers(folder: Path) -> list:
    """What a run of GRPO drew and what it earned; [] for other stages."""
    if not (folder / "samples.jsonl").exists():
        return []
    return [
        [line["example_id"], [(one["text"], one["reward"]) for one in line["completions"]]]
        for line in lines(folder, "samples.jsonl")
    ]


def read_back(folder: Path):
    """Load what a run left with nothing of ours."""
    import transformers

    kind = transformers.AutoModelForImageTextToText
    if not (folder / "adapter_config.json").is_file():
        return kind.from_pretrained(folder, dtype=torch.float32).eval()
    import peft

    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = kind.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, folder).eval()


def logits(folder: Path) -> np.ndarray:
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        return read_back(folder)(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.numpy()


def hold_alike(alone: Path, together: Path) -> None:
    """Compare a run of two processes with that of one."""
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-4, atol=2e-6)
    assert answers(together) == answers(alone)
    for place in ("", f"checkpoints/step_{HALF:06d}", f"checkpoints/step_{UPDATES:06d}"):
        np.testing.assert_allclose(
            logits(together / place), logits(alone / place), rtol=0, atol=2e-3
        )
    assert not np.array_equal(logits(together), logits(together / f"checkpoints/step_{HALF:06d}"))
    record = json.loads((together / "run.json").read_text())
    assert (record["status"], record["config"]["hardware"]["processes"]) == ("done", 2)
    assert not (together / ".writing").exists()


def hold_all(runs: Runs, cases: Cases, *, resume: bool = False) -> None:
    for together, (_, stage, tuning) in zip(
        runs.together(cases, resume=resume), cases, strict=True
    ):
        hold_alike(runs.alone(stage, tuning), together)


def test_two_processes_train_as_one(runs):
    hold_all(runs, [("plain", "grpo", "lora"), ("fsdp2", "sft", "full")])


@pytest.mark.long
@pytest.mark.parametrize("engine", ["plain", "zero2", "zero3", "fsdp2"])
def test_every_stage_under_every_engine_is_that_of_one_process(runs, engine):
    hold_all(runs, [(engine, stage, tuning) for stage in STAGES for tuning in RATES])


@pytest.mark.long
@pytest.mark.parametrize("engine", ["zero2-offload", "zero3-offload"])
def test_weights_that_wait_in_the_machines_memory_are_the_same(runs, engine):
    hold_all(runs, [(engine, "sft", "lora"), (engine, "sft", "full")])


@pytest.mark.long
@pytest.mark.parametrize("engine", ["plain", "zero2", "zero3", "fsdp2"])
def test_a_run_goes_on_with_its_optimizer_under_every_engine(runs, engine):
    cases = [(engine, "sft", "full"), (engine, "grpo", "lora")]
    for case in cases:
        whole = runs.folder / " ".join(case)
        if not whole.exists():
            runs.together([case])
        again = whole.with_name(f"{whole.name} again")
        shutil.copytree(whole, again)
        shutil.rmtree(again / "checkpoints" / f"step_{UPDATES:06d}")
    hold_all(runs, cases, resume=True)
