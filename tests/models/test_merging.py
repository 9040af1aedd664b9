"""An adapter in its model: the sums, what rounding leaves of them, and what cannot be merged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models import merging, model_folder, tensors
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer
from vlmtune.models.quantised import packed_bits
from vlmtune.models.resolve import PICO_FOLDER, float_checkpoint, resolve

OURS = "model.language_model.layers.0.mlp.up_proj"
STORED = "model.layers.0.mlp.up_proj.weight"
WEIGHT = np.array([[3.0, 4.0], [1.0, 0.0]], np.float32)


def model(folder: Path, *, kind: str = "F32", **config) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"torch_dtype": "float32"} | config))
    (folder / "tokenizer.json").write_text("{}")
    values = {STORED: WEIGHT, "model.norm.weight": np.ones(2, np.float32)}
    plan = {name: (kind, value.shape) for name, value in values.items()}
    tensors.write_stream(
        folder / "model.safetensors", plan, lambda name: tensors.encoded(values[name], kind)
    )
    return folder


def adapter(step: float = 0.5, *, magnitude: list[float] | None = None, **whole) -> Adapter:
    """Adds 2 x step to the first number of the first row."""
    layer = AdapterLayer(
        a=np.array([[1.0, 0.0]], np.float32),
        b=np.array([[step], [0.0]], np.float32),
        magnitude=None if magnitude is None else np.array(magnitude, np.float32),
        scale=2.0,
    )
    return Adapter(
        config=AdapterConfig(rank=1, alpha=2.0, dora=magnitude is not None),
        layers={OURS: layer},
        whole=whole,
    )


def merged(base: Path, one: Adapter, folder: Path, *, kind: str | None = None):
    folder.mkdir()
    seen: list[int] = []
    done = merging.merge(base, one, folder, kind=kind, progress=seen.append)
    assert sum(seen) == done.tensors == 2
    return done, {name: e.floats() for name, e in model_folder.weights_of(folder).items()}


def test_lora_adds_scale_b_a(tmp_path):
    done, found = merged(model(tmp_path / "base"), adapter(), tmp_path / "out")
    np.testing.assert_array_equal(found[STORED], [[4.0, 4.0], [1.0, 0.0]])
    np.testing.assert_array_equal(found["model.norm.weight"], [1.0, 1.0])
    assert (done.changed, done.rounded_away, done.kind) == (1, 0, "F32")
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_dora_gives_rows_the_length_that_was_learned(tmp_path):
    # The first row becomes (0, 4): length 4, learned 8. The second keeps (1, 0), learned 3.
    one = adapter(-1.5, magnitude=[8.0, 3.0])
    _, found = merged(model(tmp_path / "base"), one, tmp_path / "out")
    np.testing.assert_array_equal(found[STORED], [[0.0, 8.0], [3.0, 0.0]])


def test_modules_that_were_trained_whole_take_the_place_of_the_models(tmp_path):
    weight = {"model.language_model.norm.weight": np.array([5.0, 6.0], np.float32)}
    _, found = merged(model(tmp_path / "base"), adapter(**weight), tmp_path / "out")
    np.testing.assert_array_equal(found["model.norm.weight"], [5.0, 6.0])


def test_another_format_is_written_into_the_config_too(tmp_path):
    done, _ = merged(model(tmp_path / "base", kind="BF16"), adapter(), tmp_path / "o", kind="F32")
    assert done.kind == "F32"
    assert json.loads((tmp_path / "o" / "config.json").read_text())["torch_dtype"] == "float32"


def test_an_adapter_that_rounding_takes_away_whole_is_no_merge(tmp_path):
    # Numbers around 3 are 1/64 apart in bfloat16.
    base = model(tmp_path / "base", kind="BF16")
    with pytest.raises(CheckpointError, match="lost in rounding to the format of the weights"):
        merged(base, adapter(0.001), tmp_path / "out")
    done, _ = merged(base, adapter(0.001), tmp_path / "fine", kind="F32")
    assert done.changed == 1


def test_an_adapter_that_was_never_trained_changes_nothing_and_fails(tmp_path):
    with pytest.raises(CheckpointError, match="changed none of 2 tensors: it was never trained"):
        merged(model(tmp_path / "base"), adapter(0.0), tmp_path / "out")


def test_an_adapter_of_nan_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=rf"gives {STORED} numbers that are not finite"):
        merged(model(tmp_path / "base"), adapter(float("nan")), tmp_path / "out")


def test_an_adapter_of_another_model_is_refused(tmp_path):
    one = adapter()
    layers = {OURS.replace("up_proj", "down_proj"): one.layers[OURS]}
    other = Adapter(config=one.config, layers=layers, whole={})
    with pytest.raises(CheckpointError, match=r"down_proj.*and the model has no such tensor"):
        merged(model(tmp_path / "base"), other, tmp_path / "out")


@pytest.mark.parametrize(
    ("config", "bits"),
    [
        ({"quantization": {"group_size": 64, "bits": 4}}, 4),
        ({"quantization_config": {"load_in_4bit": True}}, 4),
        ({"quantization_config": {"load_in_8bit": True}}, 8),
        ({}, None),
    ],
)
def test_packed_weights_are_told_from_plain_ones(tmp_path, config, bits):
    assert packed_bits(model(tmp_path / "base", **config)) == bits


def test_a_packed_base_is_refused_with_the_float_weights_to_take(tmp_path):
    name = "Qwen2.5-VL-3B-Instruct-4bit"
    base = model(tmp_path / name, quantization={"group_size": 64, "bits": 4})
    with pytest.raises(ConfigError, match=r"merge into Qwen/Qwen2\.5-VL-3B-Instruct with"):
        merging.refuse_packed(base)


@pytest.mark.parametrize(
    ("name", "card", "expected"),
    [
        ("mlx-community/Qwen2.5-VL-7B-Instruct-8bit", "", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("qwen2.5-vl-3b-instruct-bf16", "", "Qwen/Qwen2.5-VL-3B-Instruct"),
        ("mine-4bit", "---\nbase_model: me/mine\n---\n", "me/mine"),
        ("mine-4bit", "---\nbase_model:\n- me/mine\n---\n", "me/mine"),
        ("mine-4bit", "---\nlicense: mit\n---\n", ""),
    ],
)
def test_the_float_checkpoint_is_known_by_its_name_or_the_card(tmp_path, name, card, expected):
    (tmp_path / "README.md").write_text(card)
    assert float_checkpoint(name, tmp_path) == expected


def test_pytorch_names_the_float_checkpoint_before_it_downloads_one_made_for_mlx():
    with pytest.raises(
        ConfigError, match=r"made for MLX.*; take Qwen/Qwen2\.5-VL-7B-Instruct, with"
    ):
        resolve("mlx-community/Qwen2.5-VL-7B-Instruct-4bit", backend="pytorch")
    assert not resolve("mlx-community/Qwen2.5-VL-7B-Instruct-4bit", backend="mlx").is_local


def test_pytorch_names_the_float_checkpoint_of_a_folder_packed_for_mlx(tmp_path):
    from vlmtune.backends.pytorch import load_generator

    base = shutil.copytree(PICO_FOLDER, tmp_path / "Qwen2.5-VL-3B-Instruct-8bit")
    config = json.loads((base / "config.json").read_text())
    packed = config | {"quantization": {"group_size": 64, "bits": 8}}
    (base / "config.json").write_text(json.dumps(packed))
    with pytest.raises(
        CheckpointError, match=r"8-bit weights in MLX's format.*Qwen2\.5-VL-3B-Instr"
    ):
        load_generator(str(base))


def test_an_existing_folder_is_never_written_to(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with (
        pytest.raises(ConfigError, match="is there already and is not overwritten"),
        model_folder.building(tmp_path / "out"),
    ):
        raise AssertionError("never reached")


def test_nothing_is_left_of_a_folder_that_was_not_finished(tmp_path):
    with (
        pytest.raises(ValueError, match="on the way"),
        model_folder.building(tmp_path / "a" / "b") as at,
    ):
        (at / "half").write_text("")
        raise ValueError("on the way")
    assert not list((tmp_path / "a").iterdir())
