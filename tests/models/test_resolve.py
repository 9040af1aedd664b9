import json
from pathlib import Path

import pytest

from vlmtune.errors import BackendUnavailable, CheckpointError, ConfigError
from vlmtune.models.resolve import (
    PICO_FOLDER,
    Resolved,
    aliases,
    check_memory,
    fetch,
    machine_memory_gib,
    resolve,
)


def model_folder(folder: Path, *, model_type: str = "qwen2_5_vl") -> Path:
    """A folder that has every file of a model, with next to nothing in them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / "model.safetensors").write_bytes(b"\0" * 1024)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "preprocessor_config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("alias", "hub_id", "ram_gib"),
    [
        ("3b-4bit", "mlx-community/Qwen2.5-VL-3B-Instruct-4bit", 4),
        ("3b-8bit", "mlx-community/Qwen2.5-VL-3B-Instruct-8bit", 6),
        ("7b-4bit", "mlx-community/Qwen2.5-VL-7B-Instruct-4bit", 8),
        ("7b-8bit", "mlx-community/Qwen2.5-VL-7B-Instruct-8bit", 14),
        ("32b-4bit", "mlx-community/Qwen2.5-VL-32B-Instruct-4bit", 20),
    ],
)
def test_an_alias_stands_for_published_weights(alias, hub_id, ram_gib):
    resolved = resolve(alias)
    assert (resolved.location, resolved.ram_gib, resolved.is_local) == (hub_id, ram_gib, False)
    assert resolved.name == alias
    assert resolved.family is not None
    assert resolved.family.name == "qwen2_5_vl"


def test_there_are_no_other_aliases():
    assert list(aliases()) == ["3b-4bit", "3b-8bit", "7b-4bit", "7b-8bit", "32b-4bit"]


def test_a_backend_has_aliases_of_its_own():
    assert not set(aliases("pytorch")) & set(aliases())
    assert aliases("scripted") == {}


def test_pico_lies_inside_the_package():
    assert PICO_FOLDER.parent.name == "models"
    assert PICO_FOLDER.parent.parent.name == "vlmtune"


@pytest.mark.parametrize(("typed", "meant"), [("3b4bit", "3b-4bit"), ("piko", "pico")])
def test_a_misspelt_alias_is_told_the_right_one(typed, meant):
    with pytest.raises(ConfigError) as caught:
        resolve(typed)
    message = str(caught.value)
    assert f"model '{typed}' not found; did you mean '{meant}'?" in message
    assert "32b-4bit" in message
    assert "\n" not in message


@pytest.mark.parametrize("typed", ["", "zebra"])
def test_a_strange_name_gets_the_list_without_a_guess(typed):
    with pytest.raises(ConfigError, match=r"not found; Available: pico, 3b-4bit"):
        resolve(typed)


def test_a_hub_id_is_taken_as_it_is():
    resolved = resolve("Qwen/Qwen2.5-VL-3B-Instruct")
    assert resolved.location == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert (resolved.is_local, resolved.ram_gib, resolved.family) == (False, None, None)


def test_a_folder_is_local_and_its_memory_follows_from_its_weights(tmp_path):
    folder = model_folder(tmp_path / "mine")
    resolved = resolve(str(folder))
    assert (resolved.location, resolved.is_local) == (str(folder), True)
    # 1024 bytes and a fifth on top.
    assert resolved.ram_gib == pytest.approx(1.2 * 1024 / 2**30)


def test_a_folder_that_looks_like_a_hub_id_is_a_folder(tmp_path, monkeypatch):
    model_folder(tmp_path / "outputs" / "sft")
    monkeypatch.chdir(tmp_path)
    assert resolve("outputs/sft").is_local


@pytest.mark.parametrize("typed", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c"])
def test_a_path_that_does_not_exist_is_named(typed):
    with pytest.raises(CheckpointError, match="does not exist") as caught:
        resolve(typed)
    assert typed in str(caught.value)


def test_a_file_is_not_a_model_folder(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file"):
        resolve(str(path))


@pytest.mark.parametrize(
    "lost", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"]
)
def test_an_incomplete_folder_names_what_is_missing(tmp_path, lost):
    folder = model_folder(tmp_path / "mine")
    (folder / lost).unlink()
    with pytest.raises(CheckpointError) as caught:
        resolve(str(folder))
    expected = "*.safetensors weights" if lost == "model.safetensors" else lost
    assert f"has no {expected};" in str(caught.value)


def test_an_empty_folder_names_everything(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        resolve(str(tmp_path))
    for part in ("config.json", "weights", "tokenizer.json", "preprocessor_config.json"):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickled_weights_are_refused(tmp_path, name):
    folder = model_folder(tmp_path / "mine")
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(CheckpointError, match="run code when opened") as caught:
        resolve(str(folder))
    assert name in str(caught.value)


def test_a_lost_shard_is_named(tmp_path):
    folder = model_folder(tmp_path / "mine")
    weight_map = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = json.dumps({"weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError, match=r"has no model-00002-of-00002\.safetensors"):
        resolve(str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_folder_that_wants_to_run_its_own_code_is_refused(tmp_path, name):
    folder = model_folder(tmp_path / "mine")
    content = {"model_type": "qwen2_5_vl", "auto_map": {"AutoModel": "evil.Model"}}
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="'auto_map'"):
        resolve(str(folder))


def test_another_architecture_is_told_which_are_supported(tmp_path):
    folder = model_folder(tmp_path / "mine", model_type="llava")
    with pytest.raises(CheckpointError, match=r"model_type 'llava'.*supported: qwen2_5_vl"):
        resolve(str(folder))


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_a_damaged_config_is_one_line(tmp_path, content):
    folder = model_folder(tmp_path / "mine")
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        resolve(str(folder))
    assert "\n" not in str(caught.value)


def test_without_network_a_hub_id_says_what_works_instead(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        fetch(resolve("3b-4bit"))
    message = str(caught.value)
    assert message.startswith("hub unreachable, and mlx-community/Qwen2.5-VL-3B-Instruct-4bit")
    assert "'pico'" in message
    assert "local folder" in message
    assert "\n" not in message


def test_a_local_folder_is_not_fetched(tmp_path):
    resolved = resolve(str(model_folder(tmp_path / "mine")))
    assert fetch(resolved) is resolved


def needing(ram_gib: float | None) -> Resolved:
    return Resolved(name="big", location="x/y", is_local=False, ram_gib=ram_gib, family=None)


def test_a_model_larger_than_the_memory_is_refused_with_numbers():
    with pytest.raises(BackendUnavailable, match=r"'big' needs about 20\.0 GiB of 16\.0 GiB"):
        check_memory(needing(20), available_gib=16)


def test_a_model_that_fills_most_of_the_memory_is_warned_about():
    warning = check_memory(needing(14), available_gib=16)
    assert warning is not None
    assert "14.0 GiB of 16.0 GiB" in warning


@pytest.mark.parametrize("ram_gib", [None, 4, 12])
def test_a_model_that_fits_is_not_mentioned(ram_gib):
    assert check_memory(needing(ram_gib), available_gib=16) is None


def test_this_machine_has_memory():
    assert 0.5 < machine_memory_gib() < 100_000
