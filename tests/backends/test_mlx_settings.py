"""Every setting is honoured or refused by the MLX side, before MLX is even imported."""

import dataclasses
import importlib.util
from pathlib import Path

import pytest
from pydantic import BaseModel

from vlmtune import config_consumers, config_file
from vlmtune.backends import choices
from vlmtune.backends import settings as shared
from vlmtune.backends.mlx import check_settings, settings, trackers
from vlmtune.backends.mlx.honoured import ELSEWHERE, HONOURED, REFUSED
from vlmtune.config import RunConfig
from vlmtune.config_run import HardwareConfig
from vlmtune.errors import ConfigError, MissingDependency, VlmtuneError

PACKAGE = Path(__file__).parents[2] / "src" / "vlmtune"


def config(stage="sft", **flags):
    return config_file.load(None, flags={"stage": stage, "backend": "mlx", **flags})


def leaves(section: type[BaseModel], prefix: str = ""):
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def produced(name: str, found: RunConfig):
    """What a function makes of a config, in a form that can be compared."""
    if name == "trackers":
        return shared.trackers(found)
    if name == "passes":
        return settings.passes(found, rows=9)
    room = choices if name in ("tuning", "rates") else settings
    return dataclasses.asdict(getattr(room, name)(found))


# A value that differs from the default, and what else has to be set for it to be allowed.
OTHER = {
    "seed": 7,
    "debug": True,
    "model.tuning": "dora",
    "model.quantization": "4bit",
    "model.dtype": "bf16",
    "model.lora.rank": 3,
    "model.lora.alpha": 5.0,
    "model.lora.dropout": 0.5,
    "model.lora.target_modules": ["q_proj"],
    "model.freeze_vision": False,
    "model.freeze_projector": False,
    "model.freeze_language": True,
    "model.min_pixels": 9,
    "model.max_pixels": 99,
    "training.batch_size": 4,
    "training.gradient_accumulation_steps": 3,
    "training.global_batch_size": 6,
    "training.learning_rate": 0.3,
    "training.lr_mp": 0.3,
    "training.lr_vision_backbone": 0.3,
    "training.lr_language_backbone": 0.3,
    "training.lr_lora": 0.3,
    "training.precision": "bf16",
    "tracking.wandb": True,
    "tracking.tensorboard": True,
    "tracking.trackio": True,
}
BESIDE = {
    "model.freeze_language": {"model.freeze_vision": False},
    "debug": {"tracking.wandb": True},
}
FUNCTIONS = ("loading", "passes", "rates", "trackers", "tuning")
REFUSALS = {"model.load_backbone": False, "model.vlm_config.vit_img_size": 224}
ON_OTHER_MACHINES = {
    "model.attention": "eager",
    "data.num_workers": 2,
    "hardware.device": "cpu",
    "hardware.gpus": [1],
    "hardware.fsdp": "full_shard",
    "hardware.deepspeed": "zero2",
    "hardware.ds_skip_cuda_check": True,
    "hardware.use_vllm": True,
    "hardware.vllm_gpu_memory_utilization": 0.5,
}
SEVERAL = {"hardware.gpus": [0, 1], "hardware.processes": 2, "hardware.nodes": 2}


def test_every_setting_has_somebody_who_honours_or_refuses_it():
    assert set(HONOURED) == set(leaves(RunConfig))


@pytest.mark.parametrize("key", [key for key, who in HONOURED.items() if who in FUNCTIONS])
def test_another_value_of_a_setting_changes_what_is_done(key):
    beside = BESIDE.get(key, {})
    before, after = config(**beside), config(**beside, **{key: OTHER[key]})
    assert produced(HONOURED[key], before) != produced(HONOURED[key], after)


def test_a_module_that_is_said_to_read_a_setting_names_it():
    unread = []
    for key, who in HONOURED.items():
        path = PACKAGE / f"{who.replace('.', '/')}.py"
        if path.is_file() and key.rpartition(".")[2] not in path.read_text():
            unread.append((key, who))
    assert unread == []


@pytest.mark.parametrize(("key", "value"), REFUSALS.items())
def test_what_nothing_trains_is_refused(key, value):
    assert HONOURED[key] == REFUSED
    with pytest.raises(ConfigError, match=f"{key}.*cannot be used"):
        config_consumers.check(config(**{key: value}), config_consumers.MLX)


@pytest.mark.parametrize(("key", "value"), ON_OTHER_MACHINES.items())
def test_how_another_machine_is_used_is_told_and_left_out(key, value):
    assert HONOURED[key] == ELSEWHERE
    asked = config("grpo" if "vllm" in key else "sft", **{key: value})
    (told,) = config_consumers.check(asked, config_consumers.MLX)
    assert told == f"for another machine, mlx goes without: {key}"
    assert config_consumers.on_this_machine(asked, "mlx").hardware == HardwareConfig()
    assert config_consumers.on_this_machine(asked, "pytorch") == asked


@pytest.mark.parametrize(("key", "value"), SEVERAL.items())
def test_several_processes_need_an_update_that_is_the_same_everywhere(key, value):
    with pytest.raises(ConfigError, match=rf"{key}.*set training\.global_batch_size"):
        config_consumers.check(config(**{key: value}), config_consumers.MLX)
    asked = config(**{key: value, "training.global_batch_size": 8, "training.batch_size": 2})
    (told,) = config_consumers.check(asked, config_consumers.MLX)
    assert told == f"for another machine, mlx goes without: {key}"


BAD = [
    ({"model.start_adapter": "merge"}, r"start_adapter: merge needs model\.start_from"),
    (
        {"model.start_adapter": "merge", "model.start_from": "x", "model.quantization": "4bit"},
        r"start_adapter: merge needs weights in full precision",
    ),
    ({"model.tuning": "full", "model.dtype": "fp16"}, r"model\.dtype: fp16"),
    ({"training.precision": "fp16"}, r"fp16 scales losses on CUDA only"),
    ({"training.precision": "bf16", "model.dtype": "fp32"}, r"keep one of the two"),
    ({"training.precision": "bf16", "model.tuning": "full"}, r"set model\.dtype: bf16"),
    (
        {"training.global_batch_size": 6, "training.batch_size": 4},
        r"global_batch_size",
    ),
    (
        {"model.freeze_language": True, "model.freeze_projector": False},
        r"has no place when vision and language are frozen",
    ),
]


@pytest.mark.parametrize(("flags", "message"), BAD)
def test_a_setting_that_cannot_be_honoured_is_refused_before_anything_loads(flags, message):
    with pytest.raises(VlmtuneError, match=message) as caught:
        check_settings(config(**flags))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n in shared.TRACKERS if not importlib.util.find_spec(n)])
def test_a_tracker_that_is_not_installed_is_missed_beforehand(name):
    with pytest.raises(MissingDependency, match=rf"needs {name}.*pip install .vlmtune\[tracking\]"):
        check_settings(config(**{f"tracking.{name}": True}))


def test_weights_that_train_themselves_are_kept_in_fp32_unless_asked():
    assert settings.loading(config(**{"model.tuning": "full"})).dtype == "fp32"
    wanted = config(**{"model.tuning": "full", "model.dtype": "bf16"})
    assert settings.loading(wanted).dtype == "bf16"
    assert settings.loading(config()).dtype == "auto"


def test_an_adapters_settings_without_an_adapter_are_told():
    (note,) = check_settings(config(**{"model.tuning": "full", "model.lora.rank": 3}))
    assert "model.lora has no effect" in note


def test_tensorboard_gets_the_names_that_transformers_writes(tmp_path):
    pytest.importorskip("tensorboard", reason="an extra of its own")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with trackers.opened(config(**{"tracking.tensorboard": True}), folder=tmp_path) as tell:
        tell({"loss": 0.5, "eval_loss": 0.25}, 3)
    found = EventAccumulator(str(tmp_path / trackers.LOGS)).Reload()
    assert set(found.Tags()["scalars"]) == {"train/loss", "eval/loss"}
    (event,) = found.Scalars("train/loss")
    assert (event.step, event.value) == (3, 0.5)
