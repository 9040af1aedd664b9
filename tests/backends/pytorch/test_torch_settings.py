"""Every setting is honoured, translated or refused by the PyTorch side."""

import dataclasses
from pathlib import Path

import pytest
from pydantic import BaseModel

from vlmtune import config_file
from vlmtune.backends import choices
from vlmtune.backends.pytorch import settings
from vlmtune.backends.pytorch.honoured import HONOURED
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, MissingDependency, VlmtuneError


def config(stage="sft", **flags):
    return config_file.load(None, flags={"stage": stage, "backend": "pytorch", **flags})


def leaves(section: type[BaseModel], prefix: str = ""):
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def produced(name: str, found: RunConfig):
    """What a function of settings.py makes of a config, in a form that can be compared."""
    if name in ("arguments", "dpo_arguments"):
        return getattr(settings, name)(found, folder=Path("f"), device="cpu")
    if name == "environment":
        return settings.environment(found, folder=Path("f"))
    room = choices if name in ("tuning", "rates") else settings
    return dataclasses.asdict(getattr(room, name)(found))


# A value that differs from the default, and what else has to be set for it to be allowed.
OTHER = {
    "seed": 7,
    "debug": True,
    "run_name": "mine",
    "model.tuning": "dora",
    "model.quantization": "4bit",
    "model.dtype": "bf16",
    "model.attention": "eager",
    "model.lora.rank": 3,
    "model.lora.alpha": 5.0,
    "model.lora.dropout": 0.5,
    "model.lora.target_modules": ["q_proj"],
    "model.freeze_vision": False,
    "model.freeze_projector": False,
    "model.freeze_language": True,
    "model.min_pixels": 9,
    "model.max_pixels": 99,
    "data.num_workers": 2,
    "training.epochs": 2.5,
    "training.max_steps": 9,
    "training.batch_size": 4,
    "training.gradient_accumulation_steps": 3,
    "training.global_batch_size": 6,
    "training.learning_rate": 0.3,
    "training.lr_mp": 0.3,
    "training.lr_vision_backbone": 0.3,
    "training.lr_language_backbone": 0.3,
    "training.lr_lora": 0.3,
    "training.adam_beta1": 0.5,
    "training.adam_beta2": 0.5,
    "training.adam_epsilon": 0.5,
    "training.weight_decay": 0.5,
    "training.max_grad_norm": 0.5,
    "training.precision": "bf16",
    "training.gradient_checkpointing": True,
    "dpo.beta": 0.4,
    "dpo.loss_type": "hinge",
    "dpo.label_smoothing": 0.1,
    "dpo.sft_weight": 0.5,
    "evaluation.strategy": "epoch",
    "evaluation.steps": 3,
    "evaluation.batch_size": 3,
    "save.steps": 3,
    "hardware.device": "cpu",
    "hardware.gpus": [1],
    "hardware.ds_skip_cuda_check": True,
    "tracking.wandb": True,
    "tracking.wandb_mode": "offline",
    "tracking.tensorboard": True,
    "tracking.trackio": True,
    "tracking.project": "mine",
    "tracking.entity": "team",
    "tracking.log_steps": 3,
}
BESIDE = {
    "model.freeze_language": {"model.freeze_vision": False},
    "debug": {"tracking.wandb": True},
    "evaluation.steps": {"evaluation.strategy": "steps"},
    "tracking.wandb_mode": {"tracking.wandb": True},
    "tracking.entity": {"tracking.wandb": True},
}
BY_FUNCTION = [
    key
    for key, who in HONOURED.items()
    if who in ("arguments", "dpo_arguments", "environment", "loading", "tuning", "rates")
]


def test_every_setting_has_somebody_who_honours_it():
    assert set(HONOURED) == set(leaves(RunConfig))


@pytest.mark.parametrize("key", BY_FUNCTION)
def test_another_value_of_a_setting_changes_what_the_libraries_are_told(key):
    beside = BESIDE.get(key, {})
    before, after = config(**beside), config(**beside, **{key: OTHER[key]})
    assert produced(HONOURED[key], before) != produced(HONOURED[key], after)


def test_the_arguments_are_ones_that_trl_takes():
    import trl

    found = config()
    for make, kind in (
        (settings.sft_arguments, trl.SFTConfig),
        (settings.dpo_arguments, trl.DPOConfig),
    ):
        given = make(found, folder=Path("f"), device="cpu")
        assert set(given) <= {field.name for field in dataclasses.fields(kind)}


BAD = [
    (
        {"model.start_adapter": "stack", "model.start_from": "x", "hardware.fsdp": "full_shard"},
        r"start_adapter: stack holds a part of each weight still",
    ),
    ({"model.start_adapter": "merge"}, r"start_adapter: merge needs model\.start_from"),
    (
        {"model.start_adapter": "merge", "model.start_from": "x", "model.quantization": "4bit"},
        r"start_adapter: merge needs weights in full precision",
    ),
    ({"model.tuning": "full", "model.dtype": "fp16"}, r"model\.dtype: fp16"),
    ({"model.attention": "flash_attention_2"}, r"flash_attn"),
    (
        {"model.freeze_language": True, "model.freeze_projector": False},
        r"has no place when vision and language are frozen",
    ),
    ({"hardware.nodes": 2, "hardware.processes": 8}, r"--nnodes 2 --nproc_per_node 8"),
    ({"hardware.fsdp": "full_shard"}, r"fsdp: full_shard divides weights among processes"),
    ({"hardware.deepspeed": "zero4"}, r"deepspeed: zero4 is neither zero2 nor zero3"),
    ({"training.precision": "fp16", "hardware.device": "cpu"}, r"precision: fp16 trains on CUDA"),
    ({"training.precision": "fp16", "hardware.device": "mps"}, r"precision: fp16 trains on CUDA"),
]
ELSEWHERE = [
    {"model.name": "initialize"},
    {"model.quantization": "4bit", "model.tuning": "full"},
    {"model.quantization": "8bit", "model.tuning": "full"},
    {"model.tuning": "full", "training.lr_lora": 0.1},
    {"model.min_pixels": 9, "model.max_pixels": 8},
    {"model.freeze_vision": True, "training.lr_vision_backbone": 0.1},
    {"model.freeze_projector": True, "training.lr_mp": 0.1},
    {"model.freeze_language": True, "training.lr_language_backbone": 0.1},
    {"model.freeze_language": True},
    {"dpo.label_smoothing": 0.1, "dpo.loss_type": "hinge"},
    {"dpo.label_smoothing": 0.1, "dpo.loss_type": "ipo"},
    {"dpo.loss_type": "kto_pair"},
    {"dpo.beta": 0.0},
    {"training.global_batch_size": 5, "training.batch_size": 2},
    {"training.global_batch_size": 4, "training.gradient_accumulation_steps": 3},
    {"training.lr_scheduler": "polynomial"},
    {"training.precision": "int8"},
    {"training.learning_rate": 0.0},
    {"training.batch_size": 0},
    {"training.epochs": 0.0},
    {"model.lora.rank": 0},
    {"model.tuning": "qlora"},
    {"model.quantization": "2bit"},
    {"save.push_to_hub": True},
]
"""What the config itself refuses for every backend."""


@pytest.mark.parametrize("flags", ELSEWHERE)
def test_the_config_refuses_what_no_backend_can_honour(flags):
    with pytest.raises(ConfigError):
        config("dpo", **flags)


@pytest.mark.parametrize(("flags", "message"), BAD)
def test_a_setting_that_cannot_be_honoured_is_refused_before_anything_loads(flags, message):
    with pytest.raises(VlmtuneError, match=message) as caught:
        settings.check(config("dpo", **flags))
    assert isinstance(caught.value, ConfigError | MissingDependency)
    assert "\n" not in str(caught.value)


def test_the_defaults_of_every_stage_are_accepted():
    for stage in ("sft", "dpo", "grpo"):
        settings.check(config(stage))


def test_vllm_without_rollouts_is_told():
    assert settings.notes(config("sft", **{"hardware.use_vllm": True})) == [
        "hardware.use_vllm has no effect: sft draws no completions"
    ]


def test_an_adapters_settings_beside_full_tuning_are_told():
    found = config("sft", **{"model.tuning": "full", "model.lora.rank": 4})
    assert settings.notes(found) == [
        "model.lora has no effect: model.tuning is full, which has no adapter"
    ]


def test_a_set_rate_unfreezes_its_part_and_an_unset_one_leaves_it():
    assert choices.trained_parts(config()) == {"language"}
    assert choices.trained_parts(config(**{"training.lr_mp": 1e-3})) == {"language", "projector"}
    full = choices.trained_parts(config(**{"model.tuning": "full"}))
    assert full == {"vision", "projector", "language"}


def test_cdpo_is_told_to_trl_as_two_weighted_losses():
    found = settings.dpo_arguments(
        config("dpo", **{"dpo.label_smoothing": 0.1}), folder=Path("f"), device="cpu"
    )
    assert found["loss_type"] == ["sigmoid", "robust"]
    # 2 (1 - e) and -(1 - 2 e) with e = 0.1.
    assert found["loss_weights"] == pytest.approx([1.8, -0.8])
