"""What every backend that trains refuses alike, and in the same words."""

import pytest

from vlmtune.backends import settings
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError


def config(**sections) -> RunConfig:
    return RunConfig.model_validate({"stage": "sft", **sections})


@pytest.mark.parametrize(
    ("check", "model", "told"),
    [
        (settings.check_start, {"start_adapter": "stack"}, "needs model.start_from"),
        (
            settings.check_start,
            {"start_adapter": "merge", "start_from": "a", "quantization": "4bit"},
            "needs weights in full precision",
        ),
        (settings.check_dtype, {"tuning": "full", "dtype": "fp16"}, "its steps round away"),
        (
            settings.check_parts,
            {"freeze_vision": True, "freeze_language": True, "freeze_projector": False},
            "has no place when vision and language are frozen",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(check, model, told):
    with pytest.raises(ConfigError, match=told):
        check(config(model=model))
    check(config())


def test_a_rehearsal_reports_to_no_tracker():
    tracking = {"wandb": True, "tensorboard": True}
    assert settings.trackers(config(tracking=tracking)) == ["wandb", "tensorboard"]
    assert settings.trackers(config(tracking=tracking, debug=True)) == []


def test_settings_of_an_adapter_that_is_not_there_are_noted():
    (note,) = settings.notes(config(model={"tuning": "full", "lora": {"rank": 4}}))
    assert note.startswith("model.lora has no effect")
    assert settings.notes(config()) == []
