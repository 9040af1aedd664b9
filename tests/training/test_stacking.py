"""A chain that stacks: the predecessor's adapter stays as it is, a new one trains above it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from vlmtune import config_file
from vlmtune.backends.first_adapter import first_values
from vlmtune.backends.stacked import stacked
from vlmtune.errors import ConfigError
from vlmtune.models import adapters
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer
from vlmtune.training import lineage, train

pytest.importorskip("trl", reason="TRL needs Python 3.11")

TINY = {
    "backend": "pytorch",
    "hardware.device": "cpu",
    "data.max_samples": 5,
    "data.eval_fraction": 0.2,
    "training.max_steps": 3,
    "training.batch_size": 2,
    "training.learning_rate": 3e-3,
    "training.weight_decay": 0.1,
    "model.lora.rank": 4,
    "model.lora.alpha": 12.0,
    "model.lora.target_modules": ["q_proj", "v_proj"],
    "tracking.log_steps": 1,
    "save.steps": 2,
}
ABOVE = {
    "model.start_adapter": "stack",
    "model.lora.rank": 2,
    "model.lora.alpha": 2.0,
    "model.lora.target_modules": ["q_proj", "o_proj"],
}


def config(stage: str, folder: Path, **flags):
    return config_file.load(
        None, flags={"stage": stage, "output_dir": str(folder), **TINY, **flags}
    )


def run(stage: str, folder: Path, **flags) -> Path:
    train.run(config(stage, folder, **flags), console=Console(quiet=True))
    return folder


def metrics(folder: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


@pytest.fixture(scope="module")
def sft(tmp_path_factory) -> Path:
    return run("sft", tmp_path_factory.mktemp("stack") / "sft")


@pytest.fixture(scope="module")
def dpo(sft, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stack") / "dpo"
    return run("dpo", folder, **{"model.start_from": str(sft)}, **ABOVE)


def deltas(folder: Path, ranks: slice = slice(None)) -> dict[str, np.ndarray]:
    """What an adapter, or some of its ranks, adds to each layer's matrix."""
    layers = adapters.read(folder).layers.items()
    return {name: one.scale * (one.b[:, ranks] @ one.a[ranks]) for name, one in layers}


def test_two_adapters_are_one_of_both_ranks():
    draw = np.random.default_rng(0).normal
    a, b = draw(size=(3, 5)).astype(np.float32), draw(size=(6, 3)).astype(np.float32)
    below = Adapter(
        config=AdapterConfig(rank=3, alpha=6.0, targets=r"one"),
        layers={"one": AdapterLayer(a=a, b=b, magnitude=None, scale=2.0)},
        whole={},
    )
    both = stacked(below, {"two": (4, 5)}, rank=2, alpha=1.0, dropout=0.0, targets="two", seed=3)
    one, two = both.adapter.layers["one"], both.adapter.layers["two"]
    assert both.held == 3
    assert both.adapter.config.rank == 5 and both.adapter.config.alpha == 2.5
    assert one.scale == two.scale == 0.5
    np.testing.assert_allclose(one.scale * one.b @ one.a, 2.0 * b @ a, rtol=1e-6)
    np.testing.assert_array_equal(two.a[3:], first_values("two", seed=3, rank=2, input_size=5))
    assert not two.b.any() and not two.a[:3].any() and not one.a[3:].any()


def test_the_log_and_the_record_say_that_it_is_stacked(dpo, sft):
    found = json.loads((dpo / "run.json").read_text())
    assert f"the adapter in {sft}, held still" in found["start"]["from"]
    assert "saved as one of rank 6" in found["start"]["from"]
    assert found["parent"]["stage"] == "sft"


def test_the_predecessor_is_the_reference_of_dpo(dpo):
    # Policy and reference agree before the first update, so every pair's loss is log 2.
    assert metrics(dpo, "loss")[0] == pytest.approx(np.log(2), abs=1e-5)


def test_the_predecessor_does_not_move_and_the_new_adapter_does(dpo, sft):
    before, kept, new = deltas(sft), deltas(dpo, slice(4)), deltas(dpo, slice(4, 6))
    for name, values in kept.items():
        expected = before.get(name, np.zeros_like(values))
        np.testing.assert_allclose(values, expected, atol=1e-9, err_msg=name)
    moved = {name.rpartition(".")[2] for name, values in new.items() if values.any()}
    assert moved == {"q_proj", "o_proj"}
    first = adapters.read(dpo / "checkpoints" / "step_000002").layers
    for name, layer in adapters.read(dpo).layers.items():
        np.testing.assert_array_equal(layer.a[:4], first[name].a[:4])
        np.testing.assert_array_equal(layer.b[:, :4], first[name].b[:, :4])


def test_plain_peft_computes_base_and_both_adapters(dpo, sft):
    import peft
    import torch
    import transformers

    about = peft.PeftConfig.from_pretrained(dpo)

    def base():
        kind = transformers.AutoModelForImageTextToText
        path = about.base_model_name_or_path
        return kind.from_pretrained(path, dtype=torch.float32).eval()

    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        plain = base()(input_ids=ids).logits
        together = peft.PeftModel.from_pretrained(base(), dpo).eval()(input_ids=ids).logits
        by_hand = base()
        for source in (deltas(sft), deltas(dpo, slice(4, 6))):
            for name, values in source.items():
                by_hand.get_submodule(name).weight += torch.from_numpy(values)
        expected = by_hand(input_ids=ids).logits
    assert float((together - plain).abs().max()) > 1e-3
    torch.testing.assert_close(together, expected, atol=2e-5, rtol=0)


def test_a_stacked_run_goes_on_to_the_same_weights(dpo, sft, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(dpo, cut)
    shutil.rmtree(cut / "checkpoints" / "step_000003", ignore_errors=True)
    (cut / "adapter_model.safetensors").unlink()
    run("dpo", cut, resume="auto", **{"model.start_from": str(sft)}, **ABOVE)
    ours, theirs = (load_file(one / "adapter_model.safetensors") for one in (cut, dpo))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_grpo_measures_its_distance_from_the_predecessor(sft, tmp_path):
    reward = tmp_path / "odd.py"
    reward.write_text(
        "def odd(completions, **kwargs):\n"
        '    """Earn something different for nearly every answer."""\n'
        "    return [(sum(map(ord, text)) % 97) / 97 for text in completions]\n"
    )
    flags = {
        "model.start_from": str(sft),
        "grpo.num_generations": 2,
        "grpo.max_completion_length": 8,
        "grpo.beta": 0.05,
        "training.max_steps": 2,
        "reward.file": str(reward),
    }
    folder = run("grpo", tmp_path / "grpo", **ABOVE, **flags)
    assert metrics(folder, "kl")[0] == pytest.approx(0.0, abs=1e-6)
    assert adapters.read_config(folder).rank == 6


def test_mlx_stacks_what_pytorch_trained_and_pytorch_goes_on_with_both(dpo, sft, tmp_path):
    mlx = {"backend": "mlx", "hardware.device": "auto", "training.max_steps": 2}
    start = {"model.start_from": str(sft)}
    folder = run("dpo", tmp_path / "mlx", **ABOVE, **start, **mlx)
    assert metrics(folder, "loss")[0] == pytest.approx(np.log(2), abs=1e-5)
    assert adapters.read_config(folder) == adapters.read_config(dpo)
    ours, theirs = deltas(folder, slice(4)), deltas(dpo, slice(4))
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])
    moved = {name for name, values in deltas(folder, slice(4, 6)).items() if values.any()}
    assert {name.rpartition(".")[2] for name in moved} == {"q_proj", "o_proj"}
    # Later updates differ in their last digits; both engines took the same direction.
    one, other = (deltas(one, slice(4, 6)) for one in (folder, dpo))
    pairs = [(one[name].ravel(), other[name].ravel()) for name in sorted(moved)]
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.5


@pytest.mark.parametrize(
    ("about", "flags", "message"),
    [
        ({"use_dora": True}, {}, r"stack cannot keep the adapter in .*, which has dora"),
        ({"modules_to_save": ["x"]}, {}, r"which has modules_to_save; continue it, or merge it"),
        ({}, {"model.tuning": "dora"}, r"stack needs model\.tuning: lora, found dora"),
        ({}, {"model.tuning": "full"}, r"full cannot stack the adapter"),
    ],
)
def test_what_cannot_be_stacked_is_refused_before_anything_loads(
    sft, tmp_path, about, flags, message
):
    folder = tmp_path / "adapter"
    folder.mkdir()
    found = json.loads((sft / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(found | about))
    shutil.copy(sft / "adapter_model.safetensors", folder)
    asked = config("dpo", tmp_path, **ABOVE, **{"model.start_from": str(folder)}, **flags)
    with pytest.raises(ConfigError, match=message):
        lineage.start(asked)
