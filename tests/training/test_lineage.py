"""What a run starts from: published weights, an earlier run, a checkpoint, a bare adapter."""

import json
from pathlib import Path

import pytest

from vlmtune import config_file
from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models.resolve import PICO_FOLDER
from vlmtune.training import lineage


def config(**flags):
    return config_file.load(None, flags={"stage": "dpo", "backend": "pytorch", **flags})


def adapter(folder: Path, **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, object] = {
        "base_model_name_or_path": str(PICO_FOLDER),
        "r": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
    }
    about |= {"target_modules": r"model\.language_model\..*\.(?:q_proj|v_proj)"} | more
    (folder / "adapter_config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def run(tmp_path) -> Path:
    folder = adapter(tmp_path / "sft")
    record = {"made_by": "training", "stage": "sft", "start": {"model": "pico"}}
    (folder / "run.json").write_text(json.dumps(record | {"result": {"steps": 30}}))
    return folder


def test_without_a_start_the_named_model_is_loaded():
    start, parent, line = lineage.start(config())
    assert (start.model, start.adapter, parent) == ("pico", None, None)
    assert line == "pico, as published"


def test_a_runs_adapter_is_continued_and_its_story_is_told(run):
    start, parent, line = lineage.start(config(**{"model.start_from": str(run)}))
    assert start.adapter == run and not start.merge
    assert Path(start.model) == PICO_FOLDER
    assert parent is not None
    assert (parent.stage, parent.steps, parent.model) == ("sft", 30, "pico")
    assert "continued" in line


def test_naming_the_same_model_by_its_alias_is_no_contradiction(run):
    start, _, _ = lineage.start(config(**{"model.start_from": str(run), "model.name": "pico"}))
    assert start.model == "pico"


def test_an_adapter_of_another_model_is_refused(tmp_path):
    folder = adapter(tmp_path / "other", base_model_name_or_path="Qwen/Qwen2.5-VL-3B-Instruct")
    with pytest.raises(CheckpointError, match=r"was trained on Qwen/Qwen2\.5-VL-3B-Instruct"):
        lineage.start(config(**{"model.start_from": str(folder), "model.name": "pico"}))


@pytest.mark.parametrize("where", ["dpo/merged_base", "full_sft"])
def test_an_adapter_on_weights_that_a_run_made_stays_on_them_whatever_the_first_was(
    tmp_path, where
):
    weights = tmp_path / where
    weights.mkdir(parents=True)
    (weights / "config.json").write_text("{}")
    folder = adapter(tmp_path / "dpo", base_model_name_or_path=str(weights))
    record = {"made_by": "training", "stage": "dpo", "start": {"model": "pico"}}
    for run in {folder, weights if where == "full_sft" else folder}:
        (run / "run.json").write_text(json.dumps(record))
    settings = config(**{"model.start_from": str(folder), "model.name": "pico"})
    assert lineage.start(settings)[0].model == str(weights)
    assert lineage.asked(str(folder)).model == str(weights)
    with pytest.raises(CheckpointError, match="and --model_path says pico"):
        lineage.asked("pico", adapter=str(folder))


def test_a_merge_is_said(run):
    start, _, line = lineage.start(
        config(**{"model.start_from": str(run), "model.start_adapter": "merge"})
    )
    assert start.merge and "merged into" in line


def test_an_unfinished_run_gives_its_newest_checkpoint(tmp_path):
    for step in (2, 10):
        adapter(tmp_path / "sft" / "checkpoints" / f"step_{step:06d}")
    (tmp_path / "sft" / "run.json").write_text(json.dumps({"stage": "sft"}))
    start, parent, _ = lineage.start(config(**{"model.start_from": str(tmp_path / "sft")}))
    assert start.adapter == tmp_path / "sft" / "checkpoints" / "step_000010"
    assert parent is not None and parent.stage == "sft"


def test_whole_weights_take_the_place_of_the_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    start, _, line = lineage.start(config(**{"model.start_from": str(tmp_path)}))
    assert start.model == str(tmp_path) and start.adapter is None
    assert "weights" in line


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("Qwen/Qwen2.5-VL-3B-Instruct", "3b"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "3b-4bit"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "mlx-community/Qwen2.5-VL-3B-Instruct-8bit"),
        ("mlx-community/Qwen2.5-VL-3B-Instruct-4bit", "3b"),
        ("mlx-community/Qwen2.5-VL-3B-Instruct-4bit", "Qwen/Qwen2.5-VL-3B-Instruct"),
    ],
)
def test_an_adapter_may_go_on_over_fewer_or_more_bits_of_its_model(tmp_path, base, name):
    folder = adapter(tmp_path / "a", base_model_name_or_path=base)
    start, _, _ = lineage.start(config(**{"model.start_from": str(folder), "model.name": name}))
    assert (start.model, start.adapter) == (name, folder)


@pytest.mark.parametrize("name", ["7b-4bit", "Qwen/Qwen2.5-VL-32B-Instruct"])
def test_another_size_is_another_model(tmp_path, name):
    folder = adapter(tmp_path / "a", base_model_name_or_path="Qwen/Qwen2.5-VL-3B-Instruct")
    with pytest.raises(CheckpointError, match="was trained on Qwen/"):
        lineage.start(config(**{"model.start_from": str(folder), "model.name": name}))


def test_a_run_can_be_asked_by_its_folder_or_beside_its_model(run, tmp_path):
    alone, beside = lineage.asked(str(run)), lineage.asked("pico", adapter=str(run))
    assert Path(alone.model) == PICO_FOLDER and alone.adapter == beside.adapter == run
    assert beside.model == "pico"
    assert lineage.asked("pico").adapter is None
    with pytest.raises(CheckpointError, match=r"--adapter_path .* does not exist"):
        lineage.asked("pico", adapter=str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match="and --model_path says 3b"):
        lineage.asked("3b", adapter=str(run))
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds whole weights and no adapter"):
        lineage.asked("pico", adapter=str(whole))


BAD = [
    ({"model.tuning": "full"}, r"model\.tuning: full cannot continue the adapter"),
    ({"model.lora.rank": 4}, r"model\.lora\.rank is 4 and the adapter .* has 8"),
    ({"model.lora.alpha": 4.0}, r"model\.lora\.alpha is 4\.0 and the adapter .* has 16"),
    ({"model.lora.dropout": 0.5}, r"model\.lora\.dropout is 0\.5 and the adapter"),
    ({"model.lora.target_modules": ["o_proj"]}, r"target_modules names o_proj, which the adapter"),
    ({"model.tuning": "dora"}, r"model\.tuning is dora and the adapter .* is lora"),
]


@pytest.mark.parametrize(("flags", "message"), BAD)
def test_settings_that_a_continued_adapter_cannot_follow_are_refused(run, flags, message):
    with pytest.raises(ConfigError, match=message):
        lineage.start(config(**{"model.start_from": str(run)}, **flags))


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="neither an adapter nor weights"):
        lineage.start(config(**{"model.start_from": str(tmp_path)}))
    with pytest.raises(CheckpointError, match="does not exist"):
        lineage.start(config(**{"model.start_from": str(tmp_path / "x")}))
