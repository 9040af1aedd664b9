"""Adapters as files: peft's layout of any version, mlx-vlm's, and what is not carried over."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlmtune.errors import CheckpointError
from vlmtune.models import adapters, layer_names, mlx_vlm_adapters, tensors
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer

LAYER = "model.language_model.layers.0.self_attn.q_proj"
draw = np.random.default_rng(1).normal


def layer(rank: int = 2, *, scale: float = 2.0, dora: bool = False) -> AdapterLayer:
    return AdapterLayer(
        a=draw(size=(rank, 5)).astype(np.float32),
        b=draw(size=(3, rank)).astype(np.float32),
        magnitude=draw(size=3).astype(np.float32) if dora else None,
        scale=scale,
    )


def adapter(*, dora: bool = False, **config) -> Adapter:
    about = {"rank": 2, "alpha": 4.0, "targets": ("q_proj",), "dora": dora, **config}
    return Adapter(config=AdapterConfig(**about), layers={LAYER: layer(dora=dora)}, whole={})


def settings(folder: Path, **changed) -> Path:
    path = folder / adapters.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return folder


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("model.layers.3.mlp.up_proj", "model.language_model.layers.3.mlp.up_proj"),
        ("language_model.model.layers.3.mlp.up_proj", "model.language_model.layers.3.mlp.up_proj"),
        ("language_model.layers.3.mlp.up_proj", "model.language_model.layers.3.mlp.up_proj"),
        ("model.language_model.layers.3.mlp", "model.language_model.layers.3.mlp"),
        ("visual.blocks.1.attn.qkv", "model.visual.blocks.1.attn.qkv"),
        ("vision_tower.blocks.1.attn.qkv", "model.visual.blocks.1.attn.qkv"),
        ("model.visual.merger.mlp.0", "model.visual.merger.mlp.0"),
        ("lm_head", "lm_head"),
        ("language_model.lm_head", "lm_head"),
    ],
)
def test_layers_of_all_versions_have_one_name(name, ours):
    assert layer_names.canonical(name) == ours
    assert layer_names.canonical(layer_names.mlx(ours)) == ours


@pytest.mark.parametrize("dora", [False, True])
def test_what_is_written_is_read_back_equal(tmp_path, dora):
    one = adapter(dora=dora, base_model="pico", dropout=0.1)
    adapters.write(one, tmp_path)
    found = adapters.read(tmp_path)
    assert found.config == one.config
    np.testing.assert_array_equal(found.layers[LAYER].a, one.layers[LAYER].a)
    np.testing.assert_array_equal(found.layers[LAYER].b, one.layers[LAYER].b)
    assert (found.layers[LAYER].magnitude is None) is not dora
    assert not list(tmp_path.glob("*.writing"))


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.{}.weight",
        "base_model.model.model.language_model.layers.0.self_attn.q_proj.{}.default.weight",
        "base_model.model.language_model.model.layers.0.self_attn.q_proj.{}.weight",
        "language_model.layers.0.self_attn.q_proj.{}.weight",
    ],
)
def test_keys_of_older_versions_are_read(key):
    one = layer()
    weights = {key.format("lora_A"): one.a, key.format("lora_B"): one.b}
    found = adapters.assembled(adapter().config, weights, where=Path("x"))
    assert list(found.layers) == [LAYER]


def test_ranks_and_scales_follow_the_patterns_as_in_peft():
    config = AdapterConfig(
        rank=8, alpha=16.0, rank_pattern={"q_proj": 4}, alpha_pattern={r"layers\.1\..*": 2.0}
    )
    assert config.scale_of("model.layers.0.mlp.up_proj") == 2.0
    assert config.scale_of("model.layers.0.self_attn.q_proj") == 4.0
    assert config.scale_of("model.layers.1.mlp.up_proj") == 0.25
    # Rank-stabilised: alpha over the root of the rank, arXiv:2312.03732.
    assert AdapterConfig(rank=16, alpha=8.0, rslora=True).scale_of("x") == 2.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bias": "all"}, "has bias: 'all', which is not supported; merge the adapter with peft"),
        ({"peft_type": "IA3"}, "is no LoRA of peft: it is IA3"),
        ({"trainable_token_indices": [1]}, "has trainable_token_indices"),
        ({"r": None}, "is no complete LoRA config"),
        ({"r": 3}, "its config says rank 3"),
        ({"use_dora": True}, rf"has no {LAYER}\.lora_magnitude_vector"),
    ],
)
def test_what_is_not_carried_over_is_refused_in_one_line(tmp_path, changed, message):
    adapters.write(adapter(), tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        adapters.read(settings(tmp_path, **changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x.lora_embedding_A", f"{LAYER}.lora_B.bias"])
def test_adapters_of_embeddings_and_biases_are_refused(name):
    one = layer()
    weights = {f"{LAYER}.lora_A.weight": one.a, f"{LAYER}.lora_B.weight": one.b, name: one.a}
    with pytest.raises(CheckpointError, match="adapters of embeddings and biases in adapters"):
        adapters.assembled(adapter().config, weights, where=Path("x"))


def test_an_adapter_in_a_pickle_is_refused(tmp_path):
    adapters.write(adapter(), tmp_path)
    (tmp_path / adapters.WEIGHTS).rename(tmp_path / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights run code when opened"):
        adapters.read(tmp_path)


def test_modules_that_were_trained_whole_are_kept_apart():
    one = layer()
    weights = {
        f"base_model.model.{LAYER}.lora_A.weight": one.a,
        f"base_model.model.{LAYER}.lora_B.weight": one.b,
        "base_model.model.visual.merger.modules_to_save.default.mlp.0.weight": one.a,
    }
    found = adapters.assembled(adapter().config, weights, where=Path("x"))
    assert list(found.whole) == ["model.visual.merger.mlp.0.weight"]


@pytest.mark.parametrize("dora", [False, True])
def test_to_mlx_vlm_and_back_adds_the_same_to_each_layer(tmp_path, dora):
    one = adapter(dora=dora)
    mlx_vlm_adapters.write(one, tmp_path)
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    assert about["fine_tune_type"] == ("dora" if dora else "lora")
    assert about["lora_parameters"]["keys"] == ["language_model.model.layers.0.self_attn.q_proj"]
    shapes = {
        name: e.shape for name, e in tensors.entries(tmp_path / "adapters.safetensors").items()
    }
    key = "language_model.model.layers.0.self_attn.q_proj"
    assert shapes[f"{key}.lora_a"] == (5, 2) and shapes[f"{key}.lora_b"] == (2, 3)
    found = mlx_vlm_adapters.read(tmp_path, base_model="pico")
    ours, theirs = found.layers[LAYER], one.layers[LAYER]
    np.testing.assert_array_equal(ours.scale * ours.b @ ours.a, theirs.scale * theirs.b @ theirs.a)
    assert found.config.alpha == 4.0 and found.config.base_model == "pico"


def test_layers_of_unlike_rank_and_scale_become_alike_for_mlx_vlm(tmp_path):
    other = LAYER.replace("q_proj", "v_proj")
    one = Adapter(
        config=AdapterConfig(rank=4, alpha=4.0, rank_pattern={"v_proj": 1}),
        layers={LAYER: layer(4, scale=1.0), other: layer(1, scale=4.0)},
        whole={},
    )
    mlx_vlm_adapters.write(one, tmp_path)
    found = mlx_vlm_adapters.read(tmp_path)
    assert found.config.rank == 4
    for name, expected in one.layers.items():
        ours = found.layers[name]
        want = expected.scale * expected.b @ expected.a
        np.testing.assert_allclose(ours.scale * ours.b @ ours.a, want, rtol=1e-5)


def test_a_whole_model_of_mlx_vlm_is_no_adapter(tmp_path):
    mlx_vlm_adapters.write(adapter(), tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"fine_tune_type": "full"}')
    with pytest.raises(CheckpointError, match="holds a whole model that mlx-vlm trained"):
        mlx_vlm_adapters.read(tmp_path)


def test_bfloat16_comes_and_goes_as_torch_rounds_it(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    values = torch.tensor([1.0, 1.00390625, 1.01171875, -3.3e38, 1e-40, float("inf"), 0.1])
    save_file({"a": values.bfloat16()}, tmp_path / "a.safetensors")
    found = tensors.read_floats(tmp_path / "a.safetensors")["a"]
    np.testing.assert_array_equal(found, values.bfloat16().float().numpy())
    data = tensors.encoded(values.numpy(), "BF16")
    plan = {"a": ("BF16", (7,))}
    tensors.write_stream(tmp_path / "b.safetensors", plan, lambda _: data)
    assert torch.equal(load_file(tmp_path / "b.safetensors")["a"], values.bfloat16())


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x05\0\0\0\0\0\0\0nojso"])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        tensors.entries(tmp_path / "a.safetensors")
