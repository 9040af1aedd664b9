"""scripts/convert.py as users type it: every way from one layout to another, and every refusal."""

import json
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from vlmtune.backends.first_adapter import first_values
from vlmtune.cli_convert import main, parse
from vlmtune.errors import ConfigError
from vlmtune.models import adapters
from vlmtune.models.adapters import Adapter, AdapterConfig, AdapterLayer
from vlmtune.models.checkpoints import read_json
from vlmtune.models.resolve import PICO_FOLDER

CHECKOUT = Path(__file__).parents[1]


def convert(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def lora(tmp_path_factory) -> Path:
    """An adapter on three of pico's layers that moves its answers."""
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    names = [f"model.language_model.layers.{at}.self_attn.o_proj" for at in (0, 2, 4)]
    config = AdapterConfig(rank=4, alpha=8, targets=tuple(names), base_model="pico")
    layers = {}
    for name in names:
        a, b = (first_values(name + part, seed=1, rank=4, input_size=192) for part in "ab")
        layers[name] = AdapterLayer(a=a, b=20 * b.T, magnitude=None, scale=2.0)
    adapters.write(Adapter(config=config, layers=layers, whole={}), folder)
    return folder


def test_help_begins_with_a_line_that_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert convert("--help") == 0
    line = capsys.readouterr().out.splitlines()[0].split()
    assert line[:2] == ["python", "scripts/convert.py"]
    assert convert(*line[2:]) == 0
    assert "outputs/pico-nested" in capsys.readouterr().out
    assert (tmp_path / "outputs" / "pico-nested" / "model.safetensors").is_file()


def test_help_is_quick_and_loads_no_engine():
    started = time.perf_counter()
    code = (
        "import sys; from vlmtune.cli_convert import main; main(['--help']); "
        "print(sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(CHECKOUT / "src")},
    )  # fmt: skip
    assert not {"'torch'", "'numpy'", "'rich'"} & set(done.stdout.replace(",", "").split())
    assert time.perf_counter() - started < 10


def test_a_config_goes_from_flat_to_nested_and_back(tmp_path):
    assert convert("--source", "pico", "--to", "transformers", "--output_dir", tmp_path / "n") == 0
    assert "text_config" in read_json(tmp_path / "n" / "config.json")
    assert (
        convert("--source", tmp_path / "n", "--to", "mlx-vlm", "--output_dir", tmp_path / "f") == 0
    )
    assert read_json(tmp_path / "f" / "config.json") == read_json(PICO_FOLDER / "config.json")
    ours, theirs = (load_bytes(folder) for folder in (tmp_path / "f", PICO_FOLDER))
    assert ours == theirs


def load_bytes(folder: Path) -> dict[str, bytes]:
    from vlmtune.models.model_folder import weights_of

    return {name: entry.data() for name, entry in weights_of(folder).items()}


def test_transformers_and_mlx_read_both_layouts_alike(tmp_path):
    import torch
    import transformers

    from vlmtune.backends.mlx.probe import next_logits
    from vlmtune.training.agreement import questions

    assert convert("--source", "pico", "--to", "transformers", "--output_dir", tmp_path / "m") == 0
    kind, ids = transformers.AutoModelForImageTextToText, torch.arange(20, 60)[None]
    one, other = (
        kind.from_pretrained(path, dtype=torch.float32) for path in (tmp_path / "m", PICO_FOLDER)
    )
    with torch.no_grad():
        torch.testing.assert_close(one(ids).logits, other(ids).logits, rtol=0, atol=0)
    prompts = questions()[:1]
    ours, theirs = (next_logits(str(path), prompts)[0] for path in (tmp_path / "m", PICO_FOLDER))
    np.testing.assert_array_equal(ours, theirs)


def test_a_merge_is_held_against_base_and_adapter(lora, tmp_path, capsys):
    words = ("--source", lora, "--to", "merged", "--dtype", "fp32", "--backend", "pytorch")
    assert convert(*words, "--output_dir", tmp_path / "m") == 0
    said = capsys.readouterr().out
    assert "changed  3 of" in said
    assert "computed with pytorch" in said and "the adapter moves them by up to" in said
    found, before = load_file(tmp_path / "m" / "model.safetensors"), load_bytes(PICO_FOLDER)
    assert len(found) == len(before)
    assert all(weight.dtype == np.float32 for weight in found.values())


def test_a_merge_that_misses_leaves_nothing_and_says_by_how_much(lora, tmp_path, capsys):
    words = ("--source", lora, "--to", "merged", "--backend", "mlx", "--tolerance", "1e-9")
    assert convert(*words, "--output_dir", tmp_path / "m") == 1
    said = capsys.readouterr().err
    assert said.startswith("RunFailed: the merged model misses base and adapter by")
    assert "--dtype fp32 keeps all of the adapter" in said
    assert not list(tmp_path.iterdir())


def test_an_adapter_that_was_never_trained_is_not_merged(lora, tmp_path, capsys):
    found = adapters.read(lora)
    layers = {
        name: AdapterLayer(a=one.a, b=0 * one.b, magnitude=None, scale=one.scale)
        for name, one in found.layers.items()
    }
    adapters.write(Adapter(config=found.config, layers=layers, whole={}), tmp_path / "new")
    words = ("--source", tmp_path / "new", "--to", "merged", "--output_dir", tmp_path / "m")
    assert convert(*words) == 2
    assert "changed none of 116 tensors" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_mlx_vlm_itself_loads_what_is_written_for_it(lora, tmp_path):
    import mlx.core as mx
    from mlx_vlm.trainer.peft import apply_lora_layers
    from mlx_vlm.utils import load_model

    from vlmtune.backends.mlx import adapted

    assert convert("--source", lora, "--to", "mlx-vlm", "--output_dir", tmp_path / "mv") == 0
    theirs, ours = load_model(PICO_FOLDER), load_model(PICO_FOLDER)
    for network in (theirs, ours):
        network.set_dtype(mx.float32)
    ids = mx.arange(20, 60)[None]
    plain = np.array(ours.language_model(ids).logits)
    apply_lora_layers(theirs, str(tmp_path / "mv"))
    theirs.eval()
    adapted.load_adapter(ours, lora)
    one, other = (np.array(network.language_model(ids).logits) for network in (theirs, ours))
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert np.abs(one - plain).max() > 0.1
    words = ("--source", tmp_path / "mv", "--to", "peft", "--model_path", "pico")
    assert convert(*words, "--output_dir", tmp_path / "back") == 0
    back, first = adapters.read(tmp_path / "back"), adapters.read(lora)
    assert back.config.base_model == "pico"
    for name, layer in first.layers.items():
        np.testing.assert_array_equal(back.layers[name].a, layer.a)
        np.testing.assert_array_equal(back.layers[name].b, layer.b)


def full_weights(path: Path) -> Path:
    import torch
    from safetensors.torch import load_file as load_torch

    weights = load_torch(PICO_FOLDER / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"] * 2
    torch.save(weights, path)
    return path


def test_another_converters_file_is_read(tmp_path, capsys):
    file = tmp_path / "fsdp_model_convertor.yaml"
    keys = {
        "convertor": {
            "ckpt_path": str(full_weights(tmp_path / "full_weights.pt")),
            "save_path": str(tmp_path / "hf"),
        },
        "model": {"model_path": str(PICO_FOLDER), "model_type": "qwen2.5_vl"},
    }
    file.write_text(yaml.safe_dump(keys))
    assert convert("--config", file) == 0
    said = capsys.readouterr().out
    assert f"note: convertor.save_path: {tmp_path / 'hf'} is --output_dir" in said
    assert "changed  1 of 116 tensors" in said
    assert (tmp_path / "hf" / "preprocessor_config.json").is_file()
    file.write_text(yaml.safe_dump(keys | {"model": keys["model"] | {"model_type": "openvla"}}))
    assert convert("--config", file) == 2
    assert "model.model_type is openvla" in capsys.readouterr().err
    file.write_text(yaml.safe_dump(keys | {"convertor": {"ckpt": "x"}}))
    assert convert("--config", file) == 2
    assert "convertor.ckpt means nothing to a conversion" in capsys.readouterr().err


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("ran"),)


def test_weights_with_code_in_them_are_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full_weights.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    words = ("--source", "full_weights.pt", "--model_path", "pico", "--output_dir", "out")
    assert convert(*words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "refused" in said
    assert [path.name for path in tmp_path.iterdir()] == ["full_weights.pt"]


def test_a_packed_base_is_refused_with_what_to_do(lora, tmp_path, capsys):
    base = shutil.copytree(PICO_FOLDER, tmp_path / "mine-4bit")
    config = read_json(base / "config.json") | {"quantization": {"group_size": 64, "bits": 4}}
    (base / "config.json").write_text(json.dumps(config))
    about = json.loads((lora / "adapter_config.json").read_text())
    other = shutil.copytree(lora, tmp_path / "lora")
    about["base_model_name_or_path"] = str(base)
    (other / "adapter_config.json").write_text(json.dumps(about))
    words = ("--source", other, "--to", "merged", "--output_dir", tmp_path / "m")
    assert convert(*words) == 2
    said = capsys.readouterr().err
    assert "are packed in 4 bits" in said and "keep the adapter beside the packed weights" in said


BAD = [
    ([], "--source is missing; python scripts/convert.py"),
    (["--source", "pico"], "--output_dir is missing"),
    (["--sorce", "pico"], "did you mean '--source'"),
    (["--source", "pico", "--output_dir", "o", "--to", "gguf"], "invalid choice"),
    (["--source", "pico", "--output_dir", "o", "--tolerance", "2"], "above 0, up to 1"),
    (["--source", "pico", "--output_dir", "o"], "which becomes transformers or mlx-vlm"),
    (["--source", "pico", "--output_dir", "o", "--to", "merged"], "kind 'model', which becomes"),
    (["--source", "./gone", "--output_dir", "o"], "model path ./gone does not exist"),
    (["--source", "README.md", "--output_dir", "o"], "is a file that is none of .bin"),
    (["--source", "w.pt", "--output_dir", "o"], "--model_path is missing: the model that was"),
    (["--source", "pico", "--output_dir", "README.md", "--to", "mlx-vlm"], "is there already"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "w.pt").write_bytes(b"")
    assert convert(*words) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_flags_win_over_the_file(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("convertor: {ckpt_path: a.pt, save_path: out}\nmodel: {model_path: pico}\n")
    asked = parse(["--config", str(file), "--output_dir", "mine"])
    assert (asked.source, asked.model, str(asked.folder)) == ("a.pt", "pico", "mine")
    file.write_text("convertor: {ckpt_path: a.pt}\n")
    with pytest.raises(ConfigError, match=r"has no convertor\.save_path"):
        parse(["--config", str(file)])
