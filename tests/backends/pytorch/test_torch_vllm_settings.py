"""What vLLM cannot do for a trainer is refused before anything loads, and before vLLM is missed."""

import pytest

from vlmtune import config_file
from vlmtune.backends import pytorch
from vlmtune.backends.pytorch import grpo_settings, vllm_settings
from vlmtune.cli_evaluate import main
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, MissingDependency

SERVER = {"hardware.vllm_mode": "server", "hardware.vllm_server_url": "http://localhost:8000"}


def config(**changes: object) -> RunConfig:
    usual = {"stage": "grpo", "backend": "pytorch", "hardware.use_vllm": True}
    return config_file.load(None, flags={**usual, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.tuning": "full"}, "vLLM is given adapters only"),
        ({"model.tuning": "dora"}, "no DoRA"),
        ({"model.freeze_vision": False}, "freeze_vision: true"),
        ({"model.freeze_projector": False}, "freeze_projector: true"),
        ({"model.lora.rank": 1024}, "use 512"),
        ({"model.quantization": "8bit"}, "4bit or none"),
        ({"hardware.fsdp": "full_shard"}, "fsdp2 divides the weights"),
        ({"hardware.deepspeed": "zero3"}, "zero3 divides the weights"),
        (SERVER | {"grpo.temperature": 0.7}, "at temperature 1"),
        (SERVER | {"hardware.processes": 2}, "share one server"),
        (SERVER | {"model.quantization": "4bit"}, "its own copy"),
    ],
)
def test_what_vllm_cannot_do_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said) as raised:
        grpo_settings.check(config(**changes))
    assert "\n" not in str(raised.value)
    assert "hardware.use_vllm: false" in str(raised.value)


def test_a_missing_vllm_comes_with_its_command():
    if vllm_settings.is_installed():
        vllm_settings.check(config())
        return
    for ask in (lambda: vllm_settings.check(config()), lambda: pytorch.load_vllm("pico")):
        with pytest.raises(MissingDependency, match=r"pip install 'vlmtune\[cloud\]'"):
            ask()


def test_the_users_own_environment_counts(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "8")
    found = vllm_settings.environment()
    assert found["VLLM_CPU_KVCACHE_SPACE"] == "8"
    assert found["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_vllm_belongs_to_one_backend(capsys):
    assert main(["--model_path", "pico", "--use_vllm", "--backend", "mlx"]) == 2
    assert "--use_vllm belongs to backend pytorch" in capsys.readouterr().err
