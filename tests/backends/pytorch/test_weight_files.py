"""Weights as engines leave them are read whole, and no line of code in their files runs."""

import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed import checkpoint as shards

from vlmtune.backends.pytorch.assemble import assemble
from vlmtune.backends.pytorch.weight_files import holds_weights, read
from vlmtune.errors import CheckpointError
from vlmtune.models import adapters, model_folder
from vlmtune.models.resolve import PICO_FOLDER

DEEPSPEED = Path(__file__).parents[2] / "fixtures" / "deepspeed"


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def sharded(folder: Path, state) -> Path:
    with pytest.warns(UserWarning):  # that there is one process, which is so
        shards.save(state, checkpoint_id=folder, no_dist=True)
    return folder


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_deepspeeds_parts_become_what_its_own_program_makes_of_them(stage):
    found = read(DEEPSPEED / stage)
    expected = load_file(DEEPSPEED / stage / "expected.safetensors")
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=0)


def test_a_lost_part_is_told(tmp_path):
    folder = tmp_path / "zero"
    folder.mkdir()
    whole = sorted((DEEPSPEED / "zero2" / "global_step2").iterdir())
    for path in whole[:-1]:
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"has 1 of 2 files \*_optim_states\.pt"):
        read(folder)


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_frozen_weights_that_were_left_out_are_not_missed(tmp_path, stage):
    folder = tmp_path / stage
    shutil.copytree(DEEPSPEED / stage / "global_step2", folder)
    for path in folder.glob("*_model_states.pt"):
        about = torch.load(path, weights_only=True)
        about |= {"frozen_param_fragments": None, "shared_params": {"1.tied": "1.weight"}}
        torch.save(about, path)
    expected = load_file(DEEPSPEED / stage / "expected.safetensors")
    assert read(folder).keys() == expected.keys() - {"1.weight", "1.bias"}


def test_shards_of_fsdp_lose_their_optimizer_and_keep_their_format(tmp_path):
    weight = torch.arange(12.0).reshape(4, 3).bfloat16()
    state = {"model": {"a.weight": weight}, "optimizer": {"a": torch.ones(2)}, "step": 3}
    found = read(sharded(tmp_path / "shards", state))
    assert list(found) == ["model.a.weight"]
    assert found["model.a.weight"].dtype == torch.bfloat16
    assert torch.equal(found["model.a.weight"], weight)


@pytest.mark.parametrize(
    "wrap", [lambda w: w, lambda w: {"state_dict": w}, lambda w: {"epoch": 1, "model": w}]
)
def test_weights_are_found_under_whatever_key_they_lie(tmp_path, wrap):
    torch.save(wrap({"a": torch.ones(2)}), tmp_path / "full_weights.pt")
    assert holds_weights(tmp_path / "full_weights.pt")
    assert torch.equal(read(tmp_path / "full_weights.pt")["a"], torch.ones(2))


@pytest.mark.parametrize("kind", ["zip", "plain", "newer"])
def test_a_file_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path, kind):
    path, mark = tmp_path / "full_weights.pt", tmp_path / "ran"
    if kind == "zip":
        torch.save({"a": torch.ones(2), "b": Evil(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(mark), protocol=2 if kind == "plain" else 4))
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert "system in it beside weights" in str(caught.value) or kind == "newer"
    assert not mark.exists()


def test_a_plan_of_shards_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path):
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match=r"system in it, which is no part of such a plan"):
        read(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello world", "is damaged, or no file of weights"),
        (b"PK\x03\x04 and no more", "is damaged, or no file of weights"),
        (b"", "is damaged, or no file of weights"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, content, message):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path / "w.pt")


def pico() -> dict[str, torch.Tensor]:
    return load_file(PICO_FOLDER / "model.safetensors")


def written(source: Path, folder: Path, *, kind: str | None = None):
    folder.mkdir()
    return assemble(source, PICO_FOLDER, folder, kind=kind, count=lambda _: lambda _: None)


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: f"module.{name}",
        lambda name: f"model.{name}",
        lambda name: name.replace("model.", "model.language_model.").replace(
            "visual.", "model.visual."
        ),
        lambda name: f"_fsdp_wrapped_module.{name}",
    ],
)
def test_weights_under_any_engines_names_become_the_models_own(tmp_path, rename):
    state = {rename(name): weight for name, weight in pico().items()}
    name = rename("model.norm.weight")
    state[name] = state[name] + 1
    torch.save({"model": state}, tmp_path / "w.pt")
    done = written(tmp_path / "w.pt", tmp_path / "out")
    assert (done.tensors, done.changed) == (len(pico()), 1)
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == pico().keys()
    assert torch.equal(found["model.norm.weight"], pico()["model.norm.weight"] + 1)


def test_a_folder_out_of_shards_loads_in_plain_transformers(tmp_path):
    import transformers

    source = sharded(tmp_path / "shards", {"model": {n: w.float() for n, w in pico().items()}})
    written(source, tmp_path / "out", kind="F32")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    original = transformers.AutoModelForImageTextToText.from_pretrained(
        PICO_FOLDER, dtype=torch.float32
    )
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, original(ids).logits, rtol=0, atol=0)
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_weights_of_another_model_are_refused_with_what_is_missing(tmp_path):
    state = pico()
    state["extra.weight"] = state.pop("model.norm.weight")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError, match=r"1 of \d+ are missing \(model\.language_model\.norm"
    ):
        written(tmp_path / "w.pt", tmp_path / "out")


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    state = pico()
    state["model.norm.weight"] = state["model.norm.weight"] * float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"NaN or infinity in model\.norm\.weight"):
        written(tmp_path / "w.pt", tmp_path / "out")


def test_an_adapters_shards_become_an_adapter_with_the_settings_beside_them(tmp_path):
    config = adapters.AdapterConfig(rank=2, alpha=4, targets=("q_proj",), base_model="pico")
    layer = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    state = {
        f"{layer}.lora_A.default.weight": torch.ones(2, 192),
        f"{layer}.lora_B.default.weight": torch.ones(192, 2),
        f"{layer}.base_layer.weight": torch.ones(192, 192),
    }
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"stand in adapter_config\.json; put that file"):
        written(tmp_path / "w.pt", tmp_path / "a")
    adapters.write_config(config, tmp_path)
    assert written(tmp_path / "w.pt", tmp_path / "b").is_adapter
    found = adapters.read(tmp_path / "b")
    assert list(found.layers) == ["model.language_model.layers.0.self_attn.q_proj"]
    assert not found.whole and found.config.alpha == 4


def test_large_models_are_written_in_several_files_with_an_index(tmp_path, monkeypatch):
    import transformers

    monkeypatch.setattr(model_folder, "SHARD_BYTES", 1_000_000)
    torch.save(pico(), tmp_path / "w.pt")
    written(tmp_path / "w.pt", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) > 2
    assert len(model_folder.weights_of(tmp_path / "out")) == len(pico())
    loaded = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    assert torch.equal(loaded.model.language_model.norm.weight, pico()["model.norm.weight"])
