"""SFT and DPO on MLX, start to end: what is left behind, what loads it, how it goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from rich.console import Console

from vlmtune import config_file
from vlmtune.backends.mlx import load_generator
from vlmtune.backends.mlx.memory import limit_gib
from vlmtune.errors import BackendUnavailable, CheckpointError, ConfigError, RunFailed
from vlmtune.models.resolve import PICO_FOLDER
from vlmtune.models.tensors import read_floats
from vlmtune.training import train

TINY = {
    "backend": "mlx",
    "data.max_samples": 5,
    "model.max_pixels": 6272,
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


def run(stage: str, folder: Path, **flags):
    shared = {"stage": stage, "output_dir": str(folder), **TINY}
    found = config_file.load(None, flags=shared | flags)
    return train.run(found, console=Console(quiet=True))


def record(folder: Path):
    return json.loads((folder / "run.json").read_text())


def metrics(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def weights(folder: Path):
    names = ("adapter_model.safetensors", "model.safetensors")
    return read_floats(next(folder / name for name in names if (folder / name).is_file()))


def assert_equal_runs(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    for name in ("loss", "grad_norm", "eval_loss", "rewards/margins", "train_loss"):
        assert metrics(one, name) == metrics(other, name)


@pytest.fixture(scope="module")
def sft(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mlx") / "sft"
    run("sft", folder, **{"evaluation.strategy": "steps", "evaluation.steps": 2})
    return folder


def test_a_run_says_what_it_was(sft):
    found = record(sft)
    assert found["status"] == "done" and found["backend"] == "mlx"
    assert found["result"]["steps"] == found["result"]["of"] == 4
    assert found["result"]["metrics"]["train_loss"] > 0


def test_losses_rates_and_evaluations_are_recorded(sft):
    assert len(metrics(sft, "grad_norm")) == 4
    # Warm-up of 1 and then three quarters of a half cosine: 0, 1, 0.75, 0.25 of the peak.
    assert metrics(sft, "learning_rate") == pytest.approx([0, 1e-3, 7.5e-4, 2.5e-4], rel=1e-6)
    # Four rows in batches of two: two updates are a pass.
    assert metrics(sft, "epoch")[0] == 0.5
    assert len(metrics(sft, "eval_loss")) == 2


def test_checkpoints_are_whole_and_the_scratch_folder_is_gone(sft):
    names = sorted(path.name for path in (sft / "checkpoints").iterdir())
    assert names == ["step_000002", "step_000004"]
    assert not (sft / ".writing").exists()


def test_the_result_loads_by_itself_on_both_engines(sft):
    import peft
    import transformers

    base = peft.PeftConfig.from_pretrained(sft).base_model_name_or_path
    model = transformers.AutoModelForImageTextToText.from_pretrained(base)
    peft.PeftModel.from_pretrained(model, sft)
    assert load_generator(base, adapter=sft).model.adapter == str(sft)
    assert (sft / "tokenizer.json").is_file()


def test_the_head_of_the_run_is_the_new_adapter_of_the_seed(sft, tmp_path):
    """A rate of 0 leaves A as it was drawn and B at 0: what PyTorch starts from too."""
    run("sft", tmp_path, **{"training.max_steps": 1})
    found = read_floats(tmp_path / "adapter_model.safetensors")
    assert all(not value.any() for name, value in found.items() if "lora_B" in name)
    assert all(
        value.any() for name, value in read_floats(sft / "adapter_model.safetensors").items()
    )


def test_dpo_goes_on_from_sft_and_is_its_own_reference(sft, tmp_path):
    flags = {"model.start_from": str(sft), "training.max_steps": 2}
    run("dpo", tmp_path, **flags)
    found = record(tmp_path)
    assert found["parent"]["stage"] == "sft" and "continued" in found["start"]["from"]
    assert metrics(tmp_path, "loss")[0] == pytest.approx(np.log(2), abs=1e-6)


@pytest.mark.parametrize(
    ("stage", "flags"),
    [
        ("sft", {"evaluation.strategy": "epoch", "training.gradient_accumulation_steps": 2}),
        ("dpo", {"tracking.log_steps": 3}),
        ("sft", {"model.tuning": "full", "training.max_steps": 3}),
    ],
)
def test_a_run_that_lost_its_last_updates_makes_them_again_bit_by_bit(tmp_path, stage, flags):
    run(stage, tmp_path / "whole", **flags)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    newest = max((tmp_path / "cut" / "checkpoints").iterdir())
    shutil.rmtree(newest)
    for path in (tmp_path / "cut").glob("*.safetensors"):
        path.unlink()
    run(stage, tmp_path / "cut", resume="auto", **flags)
    assert record(tmp_path / "cut")["resumed_from"].endswith("step_000002")
    assert_equal_runs(tmp_path / "cut", tmp_path / "whole")


def test_a_checkpoint_of_the_other_engine_is_refused(sft, tmp_path):
    pytest.importorskip("trl", reason="TRL needs Python 3.11")
    shutil.copytree(sft, tmp_path / "sft")
    flags = {"resume": "auto", "training.max_steps": 6}
    found = json.loads((tmp_path / "sft" / "run.json").read_text())
    found["config"]["backend"] = "pytorch"
    (tmp_path / "sft" / "run.json").write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match="written by backend mlx, and pytorch cannot go on"):
        run("sft", tmp_path / "sft", **{**flags, "backend": "pytorch"})


def test_layers_that_are_computed_twice_learn_the_same(sft, tmp_path):
    flags = {"evaluation.strategy": "steps", "evaluation.steps": 2}
    run("sft", tmp_path, **flags, **{"training.gradient_checkpointing": True})
    assert metrics(tmp_path, "loss") == pytest.approx(metrics(sft, "loss"), rel=1e-5)
    ours, theirs = weights(tmp_path), weights(sft)
    assert all(np.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)


def test_an_adapter_over_four_bits_learns_and_is_put_on_the_float_weights(tmp_path):
    flags = {"model.quantization": "4bit", "model.lora.dropout": 0.0, "training.max_steps": 8}
    run("sft", tmp_path, **flags, **{"save.steps": 8, "tracking.log_steps": 4})
    losses = metrics(tmp_path, "loss")
    assert losses[-1] < 0.8 * losses[0]
    assert load_generator("pico", adapter=tmp_path).model.architecture == "qwen2_5_vl"


def test_dora_and_a_projector_train_beside_each_other(tmp_path):
    flags = {"model.tuning": "dora", "model.freeze_projector": False, "training.max_steps": 2}
    run("sft", tmp_path, **flags)
    found = weights(tmp_path)
    kinds = {name.rpartition(".")[2] for name in found}
    assert "lora_magnitude_vector" in kinds
    source = read_floats(PICO_FOLDER / "model.safetensors")["visual.merger.mlp.0.weight"]
    (merger,) = (value for name, value in found.items() if name.endswith("merger.mlp.0.weight"))
    assert not np.array_equal(merger, source)


def test_all_weights_train_and_frozen_parts_stay(tmp_path):
    import transformers

    flags = {"model.tuning": "full", "model.freeze_vision": True, "training.max_steps": 2}
    run("sft", tmp_path, **flags)
    before, after = read_floats(PICO_FOLDER / "model.safetensors"), weights(tmp_path)
    assert before.keys() == after.keys()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert any(name.startswith("model.layers") for name in moved)
    assert any(name.startswith("visual.merger") for name in moved)
    assert not any("visual.blocks" in name or "patch_embed" in name for name in moved)
    _, told = transformers.AutoModelForImageTextToText.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert load_generator(str(tmp_path)).model.parameters > 0


def test_a_merged_adapter_is_the_reference_of_what_comes_after_it(sft, tmp_path):
    flags = {"model.start_from": str(sft), "model.start_adapter": "merge"}
    run("dpo", tmp_path, **flags, **{"training.max_steps": 1})
    assert metrics(tmp_path, "loss")[0] == pytest.approx(np.log(2), abs=1e-6)
    base = json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(base) == tmp_path / "merged_base"
    assert load_generator(base, adapter=tmp_path).model.parameters > 0


def test_a_loss_that_is_none_ends_the_run_and_names_its_rows(tmp_path):
    flags = {"training.learning_rate": 1e30, "training.warmup_steps": 0}
    with pytest.raises(RunFailed, match=r"at update \d on rows scenes/train/\d+.*finite weights"):
        run("sft", tmp_path, **flags)
    assert record(tmp_path)["status"] == "failed"


def test_a_training_that_does_not_fit_is_refused_with_numbers(tmp_path):
    assert limit_gib() > 0.1
    flags = {"training.batch_size": 100000, "save.steps": 5}
    with pytest.raises(BackendUnavailable, match=r"needs about .* GiB \(weights 0\.01, "):
        run("sft", tmp_path, **flags)
    assert mx.get_active_memory() < 2**30


def test_rows_are_evaluated_where_there_are_some(tmp_path):
    flags = {"evaluation.strategy": "epoch", "data.eval_fraction": 0.0}
    with pytest.raises(ConfigError, match="there are no rows to evaluate on"):
        run("sft", tmp_path / "x", **flags)


WITHOUT_TORCH = """
import importlib.machinery, sys
ABSENT = {"torch", "torchvision", "trl", "peft", "accelerate", "bitsandbytes"}
find = importlib.machinery.PathFinder.find_spec
def find_none(name, path=None, target=None):
    return None if name.partition(".")[0] in ABSENT else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_none
from pathlib import Path
from vlmtune import cli
code = cli.main("dpo", checkout=Path.cwd(), argv=sys.argv[1:])
print("code", code, ABSENT & set(sys.modules))
"""


def test_it_trains_where_pytorch_is_not_installed(tmp_path):
    settings = {key: value for key, value in TINY.items() if key != "backend"}
    settings |= {"training.max_steps": 1, "data.max_samples": 3, "data.eval_fraction": 0.0}
    words = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "--mlx", f"--output_dir={tmp_path / 'out'}", *words],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(train.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("code 0 set()\n"), done.stderr
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
