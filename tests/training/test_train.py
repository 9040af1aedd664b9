"""SFT and DPO on pico, start to end: what is left behind, what loads it, how it goes on."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from vlmtune import config_file
from vlmtune.errors import BackendUnavailable, ConfigError, DataError
from vlmtune.training import train

pytest.importorskip("trl", reason="TRL needs Python 3.11")

CHECKOUT = Path(__file__).parents[2]
TINY = {
    "backend": "pytorch",
    "hardware.device": "cpu",
    "data.max_samples": 5,
    "data.eval_fraction": 0.2,
    "training.max_steps": 4,
    "training.batch_size": 2,
    "training.learning_rate": 1e-3,
    "training.warmup_steps": 1,
    "model.lora.rank": 4,
    "model.lora.dropout": 0.1,
    "tracking.log_steps": 1,
    "save.steps": 2,
}


def config(stage: str, folder: Path, **flags):
    shared = {"stage": stage, "output_dir": str(folder), **TINY}
    return config_file.load(None, flags=shared | flags)


def run(stage: str, folder: Path, **flags):
    return train.run(config(stage, folder, **flags), console=Console(quiet=True))


def record(folder: Path):
    return json.loads((folder / "run.json").read_text())


def metrics(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


@pytest.fixture(scope="module")
def sft(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "sft"
    run("sft", folder, **{"evaluation.strategy": "steps", "evaluation.steps": 2})
    return folder


def test_a_run_says_what_it_was(sft):
    found = record(sft)
    assert found["status"] == "done"
    assert found["stage"] == "sft" and found["backend"] == "pytorch"
    assert found["result"]["steps"] == found["result"]["of"] == 4
    assert found["start"]["model"] == "pico" and found["parent"] is None
    assert found["versions"]["trl"].startswith("1.16")
    assert found["data"]["train"]["rows"] == 4


def test_losses_rates_and_evaluations_are_recorded(sft):
    assert len(metrics(sft, "loss")) == 4
    assert all(np.isfinite(metrics(sft, "loss")))
    # Warm-up of 1 and then three quarters of a half cosine: 0, 1, 0.75, 0.25 of the peak.
    assert metrics(sft, "learning_rate") == pytest.approx([0, 1e-3, 7.5e-4, 2.5e-4], rel=1e-6)
    assert len(metrics(sft, "eval_loss")) == 2


def test_checkpoints_are_whole_and_the_scratch_folder_is_gone(sft):
    names = sorted(path.name for path in (sft / "checkpoints").iterdir())
    assert names == ["step_000002", "step_000004"]
    assert not (sft / ".writing").exists()
    assert not list(sft.rglob("*.bin"))


def test_plain_peft_and_transformers_load_the_result(sft):
    import peft
    import transformers

    adapter = peft.PeftConfig.from_pretrained(sft)
    base = transformers.AutoModelForImageTextToText.from_pretrained(adapter.base_model_name_or_path)
    model = peft.PeftModel.from_pretrained(base, sft)
    moved = [w for name, w in model.named_parameters() if "lora_B" in name]
    assert any(float(weight.detach().abs().max()) > 0 for weight in moved)
    assert (sft / "tokenizer.json").is_file()


def test_dpo_goes_on_from_sft_and_names_its_parent(sft, tmp_path):
    # The adapter keeps its shape, so the settings that would give it another are left out.
    flags = {"model.lora.rank": 4, "model.start_from": str(sft), "training.max_steps": 2}
    run("dpo", tmp_path / "dpo", **flags)
    found = record(tmp_path / "dpo")
    assert found["parent"]["stage"] == "sft" and found["parent"]["steps"] == 4
    assert "continued" in found["start"]["from"]
    assert metrics(tmp_path / "dpo", "loss")[0] == pytest.approx(np.log(2), abs=1e-4)
    assert (tmp_path / "dpo" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "dpo" / "ref").exists()


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_run_that_lost_its_last_updates_makes_them_again_bit_by_bit(sft, tmp_path, stage):
    flags = {"model.start_from": str(sft)}
    run(stage, tmp_path / "whole", **flags)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "checkpoints" / "step_000004")
    (tmp_path / "cut" / "adapter_model.safetensors").unlink()
    run(stage, tmp_path / "cut", resume="auto", **flags)
    assert record(tmp_path / "cut")["resumed_from"].endswith("step_000002")
    assert_equal_runs(tmp_path / "cut", tmp_path / "whole")


def assert_equal_runs(one: Path, other: Path) -> None:
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert metrics(one, "loss") == metrics(other, "loss")


def test_an_adapter_over_four_bits_trains_and_merges_into_the_float_weights(tmp_path):
    import peft
    import torch
    import transformers

    run("sft", tmp_path, **{"model.quantization": "4bit", "training.max_steps": 2})
    adapter = peft.PeftConfig.from_pretrained(tmp_path)
    path = adapter.base_model_name_or_path
    base = transformers.AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    merged = peft.PeftModel.from_pretrained(base, tmp_path).merge_and_unload().state_dict()
    moved = {name for name, weight in merged.items() if not torch.equal(weight, before[name])}
    assert moved and all(".language_model." in name for name in moved)


def test_a_folder_with_a_run_is_not_overwritten(sft):
    with pytest.raises(ConfigError, match="go on with it by --resume auto"):
        run("sft", sft)


def test_rows_that_are_too_long_stop_the_run_or_are_left_out(tmp_path):
    with pytest.raises(DataError, match=r"4 of 4 rows are too long.*on_overlong to drop or resize"):
        run("sft", tmp_path / "a", **{"training.max_length": 20})
    assert record(tmp_path / "a")["status"] == "failed"


def test_a_backend_that_cannot_train_is_refused_before_rows_are_read(tmp_path):
    with pytest.raises(BackendUnavailable, match="cannot train sft"):
        run("sft", tmp_path, backend="scripted")


def test_evaluation_without_rows_is_refused(tmp_path):
    flags = {"evaluation.strategy": "epoch", "data.eval_fraction": 0.0}
    with pytest.raises(ConfigError, match="there are no rows to evaluate on"):
        run("sft", tmp_path / "x", **flags)


@pytest.fixture(scope="module")
def begin(forked_runs):
    """Train in a process of its own.

    Weights can be equal bit by bit only where the arithmetic is; other tests of this process may
    have loaded a BLAS or set a number of threads.
    """

    def started(folder: Path, *more: str):
        settings = {key: value for key, value in TINY.items() if key != "backend"}
        settings["training.max_steps"] = 30
        words = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        return forked_runs.start(
            "sft", [*words, "--backend=pytorch", f"--output_dir={folder}", *more]
        )

    return started


@pytest.fixture(scope="module")
def whole(begin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train") / "whole"
    assert begin(folder).wait() == 0
    return folder


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 1), (signal.SIGINT, 130)]
)
def test_a_run_that_was_ended_goes_on_to_the_same_weights(begin, whole, tmp_path, number, code):
    training = begin(tmp_path / "cut")
    while training.alive() and not (tmp_path / "cut" / "checkpoints" / "step_000004").is_dir():
        time.sleep(0.02)
    training.send(number)
    assert training.wait() == code
    assert not (tmp_path / "cut" / "checkpoints" / "step_000030").exists()
    assert begin(tmp_path / "cut", "--resume=auto").wait() == 0
    assert_equal_runs(tmp_path / "cut", whole)
