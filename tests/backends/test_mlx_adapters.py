"""Adapters on MLX compute what peft computes over transformers, and start where PyTorch starts."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import peft
import pytest
import torch
from mlx.utils import tree_flatten
from rich.console import Console

from vlmtune import config_file
from vlmtune.backends.choices import Tuning
from vlmtune.backends.mlx import adapted
from vlmtune.backends.mlx.adapted_linear import AdaptedLinear
from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.mlx.model import load as load_mlx
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import load as load_torch
from vlmtune.backends.pytorch.tuning import adapt as adapt_torch
from vlmtune.errors import CheckpointError
from vlmtune.models import adapters
from vlmtune.models.adapters import AdapterLayer
from vlmtune.models.resolve import PICO_FOLDER, resolve
from vlmtune.training import rehearsal
from vlmtune.types import Sampling

LANGUAGE = r"model\.language_model\..*_proj"


def mlx_pico():
    return load_mlx(resolve("pico"))


def torch_pico():
    return load_torch(resolve("pico", backend="pytorch"), Loading(device="cpu", dtype="fp32"))


def random_adapter(folder: Path, *, kind: str) -> Path:
    """An adapter that moves the logits visibly: made by peft, filled with random numbers."""
    loaded = torch_pico()
    options = {"use_dora": kind == "dora", "use_rslora": kind == "rslora"}
    pattern = {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"down_proj": 3.0}}
    settings = peft.LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=LANGUAGE
        if kind != "vision"
        else r"model\.visual\.blocks\..*(qkv|down_proj)",
        modules_to_save=["model.visual.merger"] if kind == "vision" else None,
        **options,
        **(pattern if kind == "patterns" else {}),
    )
    network = peft.get_peft_model(loaded.network, settings)
    draw = torch.Generator().manual_seed(7)
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            noise = torch.randn(weight.shape, generator=draw)
            plain = "magnitude" in name or "lora_" not in name
            weight.data = weight.data * (1 + 0.05 * noise) if plain else 0.1 * noise
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["lora", "dora", "rslora", "patterns", "vision"])
def test_an_adapter_of_peft_gives_the_same_logits_on_mlx(kind, tmp_path, prompts):
    folder = random_adapter(tmp_path / kind, kind=kind)
    ours, theirs = mlx_pico(), torch_pico()
    plain = [
        np.array(p.logits_V)
        for p in ours.prefill_together([ours.reader.read(prompt) for prompt in prompts])
    ]
    adapted.load_adapter(ours.network, folder)
    object.__setattr__(theirs, "network", peft.PeftModel.from_pretrained(theirs.network, folder))
    theirs.network.eval()
    moved = []
    for prompt, before in zip(prompts, plain, strict=True):
        mine = np.array(ours.prefill(ours.reader.read(prompt)).logits_V)
        other = theirs.prefill(theirs.reader.read(prompt)).logits_V.detach().numpy()
        np.testing.assert_allclose(mine, other, atol=1e-4, rtol=0)
        moved.append(np.abs(mine - before).max())
    assert max(moved) > 0.1


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_greedy_answers_under_an_adapter_are_those_of_peft(kind, tmp_path, prompts):
    folder = random_adapter(tmp_path / kind, kind=kind)
    ours, theirs = mlx_pico(), torch_pico()
    adapted.load_adapter(ours.network, folder)
    object.__setattr__(theirs, "network", peft.PeftModel.from_pretrained(theirs.network, folder))
    greedy = Sampling(max_tokens=12, temperature=0.0)
    mine = MLXGenerator(ours).generate(prompts, greedy)
    other = TorchGenerator(theirs).generate(prompts, greedy)
    assert [row[0].token_ids for row in mine] == [row[0].token_ids for row in other]


def test_a_rehearsal_on_mlx_looks_at_the_model_that_training_would_start_from(tmp_path):
    folder = random_adapter(tmp_path / "lora", kind="lora")
    flags = {
        "stage": "sft",
        "backend": "mlx",
        "debug": True,
        "model.start_from": str(folder),
        "data.max_samples": 2,
        "rehearsal.train_steps": 0,
        "output_dir": str(tmp_path / "out"),
    }
    rehearsal.run(config_file.load(None, flags=flags), console=Console(quiet=True))
    found = json.loads((tmp_path / "out" / "run.json").read_text())["model"]
    assert found["adapter"] == str(folder) and Path(found["path"]) == PICO_FOLDER


@pytest.mark.parametrize("dora", [False, True])
def test_both_engines_start_from_the_same_adapter(dora):
    ours, theirs = mlx_pico(), torch_pico()
    pattern = adapted.targets(ours.network, theirs.family, names={"q_proj", "down_proj"})
    config = adapted.adapt(ours.network, rank=3, alpha=6, targets_regex=pattern, dora=dora, seed=5)
    tuning = Tuning(
        method="dora" if dora else "lora", rank=3, alpha=6, targets=("q_proj", "down_proj")
    )
    other = peft.get_peft_model_state_dict(adapt_torch(theirs, tuning, seed=5).network)
    mine = adapted.adapter_weights(ours.network, config)
    assert set(mine) == set(other)
    for name, value in mine.items():
        np.testing.assert_allclose(value, other[name].numpy(), rtol=1e-5, err_msg=name)
        if "lora_" in name and "magnitude" not in name:
            np.testing.assert_array_equal(value, other[name].numpy(), err_msg=name)
    assert any(np.ptp(value) for name, value in mine.items() if "lora_A" in name)


def test_a_new_adapter_trains_alone_and_changes_nothing(prompts):
    ours = mlx_pico()
    before = np.array(ours.prefill(ours.reader.read(prompts[1])).logits_V)
    adapted.adapt(ours.network, rank=2, alpha=4, targets_regex=LANGUAGE, seed=0)
    after = np.array(ours.prefill(ours.reader.read(prompts[1])).logits_V)
    np.testing.assert_array_equal(before, after)
    names = {
        name.rpartition(".")[2] for name, _ in tree_flatten(ours.network.trainable_parameters())
    }
    assert names == {"lora_a", "lora_b"}


def test_a_stacked_adapter_begins_where_its_predecessor_ended_and_trains_its_own_ranks(
    tmp_path, prompts
):
    below = random_adapter(tmp_path / "below", kind="lora")
    ours, theirs = mlx_pico(), torch_pico()
    inputs = ours.reader.read(prompts[1])
    pattern = adapted.targets(ours.network, theirs.family, names={"q_proj"})
    config = adapted.stack(ours.network, below, rank=2, alpha=1.0, targets_regex=pattern, seed=3)
    alone = mlx_pico()
    adapted.load_adapter(alone.network, below)
    mine, other = (np.array(one.prefill(inputs).logits_V) for one in (ours, alone))
    np.testing.assert_allclose(mine, other, atol=1e-4)
    trained = dict(tree_flatten(ours.network.trainable_parameters()))
    assert {weight.shape[0] for name, weight in trained.items() if "lora_a" in name} == {2}

    tuning = Tuning(rank=2, alpha=1.0, targets=("q_proj",))
    same = adapt_torch(theirs, tuning, seed=3, adapter=below, stack=True)
    expected = peft.get_peft_model_state_dict(same.network)
    found = adapted.adapter_weights(ours.network, config)
    assert set(found) == set(expected)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name].numpy(), err_msg=name)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_over_packed_weights_an_adapter_adds_what_it_adds_over_their_numbers(
    tmp_path, prompts, kind, bits
):
    folder = random_adapter(tmp_path, kind=kind)
    packed, plain = mlx_pico(), mlx_pico()
    nn.quantize(packed.network.language_model.model, group_size=64, bits=bits)
    layers = dict(plain.network.named_modules())
    for name, layer in packed.network.named_modules():
        if hasattr(layer, "bits"):
            layers[name].weight = mx.dequantize(
                layer.weight, layer.scales, layer.biases, group_size=64, bits=bits
            )
    for loaded in (packed, plain):
        adapted.load_adapter(loaded.network, folder)
    inputs = packed.reader.read(prompts[1])
    mine, other = (np.array(one.prefill(inputs).logits_V) for one in (packed, plain))
    np.testing.assert_allclose(mine, other, atol=2e-4)


def test_switched_off_an_adapter_gives_back_the_model_below(tmp_path, prompts):
    ours = mlx_pico()
    inputs = ours.reader.read(prompts[1])
    before = np.array(ours.prefill(inputs).logits_V)
    adapted.load_adapter(ours.network, random_adapter(tmp_path, kind="dora"))
    moved = np.array(ours.prefill(inputs).logits_V)
    with adapted.adapters_off(ours.network):
        np.testing.assert_array_equal(np.array(ours.prefill(inputs).logits_V), before)
    np.testing.assert_array_equal(np.array(ours.prefill(inputs).logits_V), moved)
    assert np.abs(moved - before).max() > 0.1


@pytest.mark.parametrize("dora", [False, True])
def test_gradients_of_an_adapter_are_those_of_peft(dora):
    rng = np.random.default_rng(3)
    weight, bias = rng.normal(size=(6, 5)), rng.normal(size=6)
    a, b, x = rng.normal(size=(2, 5)), rng.normal(size=(6, 2)), rng.normal(size=(4, 5))
    magnitude = np.linalg.norm(weight, axis=1) * 1.1 if dora else None
    values = AdapterLayer(
        a=a.astype(np.float32),
        b=b.astype(np.float32),
        magnitude=None if magnitude is None else magnitude.astype(np.float32),
        scale=1.5,
    )
    linear = nn.Linear(5, 6)
    linear.update({"weight": mx.array(weight, mx.float32), "bias": mx.array(bias, mx.float32)})
    layer = AdaptedLinear(linear, values, dropout=0.0)
    _, mine = nn.value_and_grad(layer, lambda m: mx.square(m(mx.array(x, mx.float32))).sum())(layer)

    below = torch.nn.Sequential(torch.nn.Linear(5, 6))
    below[0].load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
    settings = peft.LoraConfig(r=2, lora_alpha=3, target_modules=["0"], use_dora=dora)
    network = peft.get_peft_model(below, settings)
    theirs = network.base_model.model[0]
    theirs.lora_A["default"].weight.data = torch.tensor(a, dtype=torch.float32)
    theirs.lora_B["default"].weight.data = torch.tensor(b, dtype=torch.float32)
    if dora:
        vector = theirs.lora_magnitude_vector["default"].weight
        vector.data = torch.tensor(magnitude, dtype=torch.float32)
    network(torch.tensor(x, dtype=torch.float32)).square().sum().backward()
    found = {"lora_a": theirs.lora_A["default"].weight, "lora_b": theirs.lora_B["default"].weight}
    if dora:
        found["magnitude"] = vector
    assert {name for name, _ in tree_flatten(mine)} == set(found)
    for name, weight in found.items():
        np.testing.assert_allclose(np.array(mine[name]), weight.grad.numpy(), rtol=1e-4)


@pytest.mark.parametrize("kind", ["lora", "dora", "vision"])
def test_what_mlx_writes_peft_reads_with_the_same_logits(kind, tmp_path, prompts):
    ours, theirs = mlx_pico(), torch_pico()
    config = adapted.load_adapter(ours.network, random_adapter(tmp_path / "a", kind=kind))
    adapted.save_adapter(ours.network, config, tmp_path / "b")
    object.__setattr__(
        theirs, "network", peft.PeftModel.from_pretrained(theirs.network, tmp_path / "b")
    )
    mine = np.array(ours.prefill(ours.reader.read(prompts[2])).logits_V)
    other = theirs.prefill(theirs.reader.read(prompts[2])).logits_V.detach().numpy()
    np.testing.assert_allclose(mine, other, atol=1e-4, rtol=0)
    first, second = adapters.read(tmp_path / "a"), adapters.read(tmp_path / "b")
    for name, layer in first.layers.items():
        np.testing.assert_array_equal(layer.a, second.layers[name].a)


def test_an_adapter_of_another_model_is_refused_with_the_layer(tmp_path):
    folder = random_adapter(tmp_path / "a", kind="lora")
    found = adapters.read(folder)
    name = next(iter(found.layers))
    wider = np.zeros((4, 999), np.float32)
    layers = dict(found.layers) | {
        name: AdapterLayer(a=wider, b=found.layers[name].b, magnitude=None, scale=2.0)
    }
    adapters.write(adapters.Adapter(config=found.config, layers=layers, whole={}), tmp_path / "b")
    with pytest.raises(CheckpointError, match=f"{name} goes from 999"):
        adapted.load_adapter(mlx_pico().network, tmp_path / "b")
