"""Engines that divide weights among processes: what is refused, and what they are told."""

import json
import sys
from pathlib import Path

import pytest

from vlmtune.backends.pytorch import engines, grpo_settings, settings
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, DataError, MissingDependency

CONFIGS = Path(__file__).parents[3] / "configs"


def config(**keys) -> RunConfig:
    values: dict = {"stage": "sft"}
    for key, value in keys.items():
        section, _, name = key.partition("__")
        if name:
            values.setdefault(section, {})[name] = value
        else:
            values[key] = value
    return RunConfig.model_validate(values)


def written(folder: Path, **more) -> str:
    path = folder / "own.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 2}} | more))
    return str(path)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({}, "plain"),
        ({"hardware__processes": 4}, "plain"),
        ({"hardware__deepspeed": "zero2"}, "zero2"),
        ({"hardware__deepspeed": "zero3"}, "zero3"),
        ({"hardware__deepspeed": str(CONFIGS / "deepspeed_zero3.json")}, "zero3"),
        ({"hardware__fsdp": "shard_grad_op", "hardware__processes": 2}, "fsdp2"),
    ],
)
def test_the_engine_is_what_the_settings_name(found, name):
    assert engines.engine(config(**found)) == name


@pytest.mark.parametrize("stage", [2, 3])
def test_a_file_in_configs_is_the_engine_of_that_name_with_offload(stage):
    found = json.loads((CONFIGS / f"deepspeed_zero{stage}.json").read_text())
    optimization = found["zero_optimization"]
    assert optimization.pop("offload_optimizer") == {"device": "cpu", "pin_memory": True}
    assert (optimization.pop("offload_param", None) is not None) == (stage == 3)
    assert found == engines.deepspeed(f"zero{stage}")


def test_weights_of_a_7b_model_are_divided_among_eight_gpus_by_a_config_that_loads():
    from vlmtune import config_file

    found = config_file.resolve(CONFIGS / "fsdp.yaml", overrides=(), flags={}).config
    engines.check(found)
    assert engines.engine(found) == "fsdp2"
    assert settings.accumulation(found) == 64 // (2 * 8)


@pytest.mark.parametrize("engine", ["zero3", "fsdp2"])
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_packed_weights_cannot_be_divided(engine, bits):
    asked = (
        {"hardware__fsdp": "full_shard", "hardware__processes": 2}
        if engine == "fsdp2"
        else {"hardware__deepspeed": "zero3"}
    )
    with pytest.raises(ConfigError, match=r"use hardware\.deepspeed: zero2"):
        engines.check(config(model__quantization=bits, **asked))


def test_packed_weights_train_under_zero2():
    engines.check(config(model__quantization="4bit", hardware__deepspeed="zero2"))


def test_dora_reads_weights_that_zero3_has_divided():
    with pytest.raises(ConfigError, match=r"model\.tuning: dora reads whole weights"):
        engines.check(config(model__tuning="dora", hardware__deepspeed="zero3"))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"optimizer": {"type": "AdamW"}}, "sets optimizer to .* training.learning_rate"),
        ({"train_batch_size": 16}, "sets train_batch_size to 16.* training.global_batch_size"),
        ({"bf16": {"enabled": True}}, "sets bf16.enabled to True.* training.precision"),
        ({"zero_optimization": {"stage": 0}}, "has zero_optimization.stage 0"),
    ],
)
def test_a_deepspeed_file_does_not_decide_what_settings_decide(tmp_path, more, why):
    with pytest.raises(ConfigError, match=why):
        engines.check(config(hardware__deepspeed=written(tmp_path, **more)))


def test_a_deepspeed_file_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "own.json"
    path.write_text("{stage: 2}")
    with pytest.raises(ConfigError, match=r"own\.json is no JSON"):
        engines.check(config(hardware__deepspeed=str(path)))


def test_deepspeed_keeps_what_a_file_says_and_gets_our_optimizer(tmp_path):
    offload = {"stage": 2, "offload_optimizer": {"device": "cpu"}}
    asked = config(hardware__deepspeed=written(tmp_path, zero_optimization=offload))
    told = settings.arguments(asked, folder=tmp_path, device="cpu")["deepspeed"]
    assert told["zero_optimization"] == offload
    assert told["zero_force_ds_cpu_optimizer"] is False
    assert told["train_micro_batch_size_per_gpu"] == "auto"


def test_deepspeed_that_is_not_installed_is_named_with_what_to_use(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(MissingDependency, match=r"needs the package deepspeed.*hardware\.fsdp"):
        engines.check(config(hardware__deepspeed="zero2"))


def test_what_accelerate_launch_was_told_does_not_win_in_silence(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"hardware\.fsdp is not set"):
        engines.check(config())


def test_rows_with_and_without_pictures_do_not_mix_where_weights_are_divided():
    divided = config(hardware__fsdp="full_shard", hardware__processes=2)
    engines.refuse_mixed(divided, [1, 2, 1])
    engines.refuse_mixed(divided, [0, 0])
    engines.refuse_mixed(config(hardware__deepspeed="zero2"), [0, 1])
    with pytest.raises(DataError, match=r"1 of 3 rows have no picture"):
        engines.refuse_mixed(divided, [1, 0, 1])


def test_an_update_of_several_processes_is_as_large_as_one_of_a_single_process():
    one = config(training__batch_size=2, training__global_batch_size=16)
    four = config(training__batch_size=2, training__global_batch_size=16, hardware__processes=4)
    assert (settings.accumulation(one), settings.accumulation(four)) == (8, 2)


def test_an_update_that_processes_cannot_share_is_refused():
    three = config(training__batch_size=2, training__global_batch_size=16, hardware__processes=3)
    with pytest.raises(ConfigError, match=r"on 3 devices \(6 at once\); use a multiple of 6"):
        settings.check(three)


def test_groups_stay_whole_on_every_process():
    found = grpo_settings.batches(
        config(stage="grpo", training__batch_size=4, grpo__num_generations=8, hardware__processes=2)
    )
    assert (found.accumulation, found.prompts) == (2, 2)


def test_an_update_without_whole_groups_on_every_process_is_refused():
    asked = config(
        stage="grpo",
        training__batch_size=2,
        training__global_batch_size=12,
        grpo__num_generations=4,
        hardware__processes=2,
    )
    with pytest.raises(ConfigError, match=r"no whole groups .* on 2 devices; use a multiple of 8"):
        grpo_settings.batches(asked)


def test_started_processes_are_held_against_those_asked_for(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"2 processes were started, and hardware\.processes 4"):
        settings.check(config(hardware__processes=4))
