"""Settings that exclude each other, and what several settings mean together."""

import pytest

from vlmtune import config_file
from vlmtune.config_rules import accumulation, frozen, rehearsed, unused
from vlmtune.errors import ConfigError


def load(*overrides: str):
    return config_file.load(None, overrides=["stage=grpo", *overrides])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ("model.name=initialize", "'initialize' builds a new nanoVLM"),
        ("model.quantization=4bit model.tuning=full", "4bit weights cannot be trained themselves"),
        ("model.freeze_vision=true training.lr_vision_backbone=1e-5", "freeze_vision is true"),
        ("model.freeze_language=true", "all parts are frozen"),
        ("model.freeze_vision=false training.lr_vision_backbone=0", "0 freezes, and model.freeze"),
        ("model.min_pixels=9 model.max_pixels=4", "more than model.max_pixels 4"),
        ("training.global_batch_size=8 training.gradient_accumulation_steps=2", "keep one"),
        ("training.global_batch_size=9 training.batch_size=2", "no multiple of training.batch"),
        ("training.warmup_steps=5 training.warmup_ratio=0.1", "says the same otherwise"),
        ("training.lr_lora=1e-4 model.tuning=full", "which has no adapters"),
        ("training.max_prompt_length=4096", "more than training.max_length 2048"),
        ("grpo.epsilon_high=0.1", "less than grpo.epsilon 0.2"),
        ("grpo.delta=1.1", "a cap below 1 + grpo.epsilon (1.2)"),
        ("grpo.epsilon=1.5", "use less than 1"),
        ("dpo.loss_type=hinge dpo.label_smoothing=0.1", "loss hinge has none"),
        ("save.push_to_hub=true", "Set save.hub_model_id: owner/name"),
        ("hardware.gpus=[0,1] hardware.processes=3", "3 processes and 2 GPUs"),
        ("hardware.deepspeed=zero2 hardware.fsdp=full_shard", "keep one of the two"),
        ("hardware.use_vllm=true hardware.vllm_mode=server", "Set hardware.vllm_server_url"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(overrides: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*overrides.split())
    assert told in str(caught.value)
    assert " in --set " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ("", {"vision", "projector"}),
        ("model.tuning=dora", {"vision", "projector"}),
        ("model.tuning=full", set()),
        ("model.tuning=full model.freeze_vision=true", {"vision"}),
        ("training.lr_mp=5e-3", {"vision"}),
        ("training.lr_mp=0", {"vision", "projector"}),
        ("model.freeze_vision=false", {"projector"}),
        ("model.tuning=full training.lr_vision_backbone=0", {"vision"}),
        ("model.freeze_language=true training.lr_mp=1e-3", {"vision", "language"}),
        ("model.tuning=full training.lr_language_backbone=0", {"language"}),
    ],
)
def test_parts_are_frozen_by_switch_by_rate_and_by_tuning(overrides: str, parts: set[str]) -> None:
    assert frozen(load(*overrides.split())) == parts


def test_a_global_batch_is_divided_among_devices() -> None:
    training = load("training.global_batch_size=256", "training.batch_size=4").training
    # 256 rows = 8 batches of 4 rows on each of 8 devices.
    assert accumulation(training, devices=8) == 8
    assert accumulation(training, devices=1) == 64
    with pytest.raises(ConfigError, match="use a multiple of 12"):
        accumulation(training, devices=3)
    assert accumulation(load("training.gradient_accumulation_steps=3").training, devices=8) == 3


def test_a_setting_that_another_switches_off_is_told() -> None:
    assert unused(load()) == ()
    assert unused(load("grpo.sapo_temperature_pos=2.0")) == (
        "grpo.sapo_temperature_pos counts with loss_type sapo only, and it is grpo",
    )
    assert unused(load("grpo.loss_type=sapo", "grpo.delta=10.0")) == (
        "grpo.delta has no use in loss_type sapo, which clips nothing",
    )
    assert unused(load("save.hub_model_id=a/b")) == (
        "save.hub_model_id waits for save.push_to_hub: true",
    )
    assert unused(load("hardware.vllm_gpu_memory_utilization=0.8")) == (
        "hardware.vllm_gpu_memory_utilization waits for hardware.use_vllm: true",
    )


def test_a_rehearsal_looks_at_few_rows_unless_told() -> None:
    assert rehearsed(load()).data.max_samples == 24
    assert rehearsed(load("rehearsal.max_samples=4")).data.max_samples == 4
    assert rehearsed(load("data.max_samples=100")).data.max_samples == 100
