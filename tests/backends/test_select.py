import importlib.util
from pathlib import Path

import pytest

from vlmtune.backends import select as room
from vlmtune.backends.select import select
from vlmtune.errors import ConfigError, MissingDependency

MLX = ("mlx", "mlx_vlm")
PYTORCH = ("torch", "transformers")


def hide(monkeypatch, *names):
    """Make this process look like one where these packages are not installed."""
    find_spec = importlib.util.find_spec

    def find(name, package=None):
        return None if name in names else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.fixture
def laptop(monkeypatch, tmp_path):
    monkeypatch.setattr(room, "NVIDIA", tmp_path / "no driver")


@pytest.fixture
def cuda_machine(monkeypatch, tmp_path):
    driver: Path = tmp_path / "version"
    driver.write_text("NVRM version")
    monkeypatch.setattr(room, "NVIDIA", driver)


def test_auto_takes_mlx_where_it_runs(laptop):
    selection = select("auto")
    assert selection.backend.NAME == "mlx"
    assert selection.reason == "mlx, the first that runs here"
    assert selection.rejected == ()


def test_auto_takes_pytorch_beside_an_nvidia_gpu(cuda_machine):
    selection = select("auto")
    assert selection.backend.NAME == "pytorch"
    assert selection.rejected == ()


def test_auto_takes_pytorch_where_mlx_is_missing_and_says_why(laptop, monkeypatch):
    hide(monkeypatch, *MLX)
    selection = select("auto")
    assert selection.backend.NAME == "pytorch"
    assert [problem.what for problem in selection.rejected] == ["mlx and mlx_vlm not installed"]


def test_mlx_missing_is_an_error_with_the_install_command(monkeypatch):
    hide(monkeypatch, *MLX)
    with pytest.raises(MissingDependency) as caught:
        select("mlx")
    assert 'pip install "vlmtune[mlx]"' in str(caught.value)
    assert 'pip install -e ".[mlx]"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pytorch_missing_is_an_error_with_the_install_command(monkeypatch):
    hide(monkeypatch, *PYTORCH)
    with pytest.raises(MissingDependency, match="torch, transformers not installed") as caught:
        select("pytorch")
    assert 'pip install "vlmtune[cuda]"' in str(caught.value)


def test_auto_never_falls_back_to_a_backend_without_a_model(laptop, monkeypatch):
    hide(monkeypatch, *MLX, *PYTORCH)
    with pytest.raises(MissingDependency, match="--backend scripted") as caught:
        select("auto")
    assert 'pip install "vlmtune[mlx]"' in str(caught.value)
    assert 'pip install "vlmtune[cuda]"' in str(caught.value)


def test_scripted_runs_when_asked_for_by_name():
    selection = select("scripted")
    assert selection.backend.NAME == "scripted"
    assert selection.reason == "scripted, as asked"


def test_an_unknown_backend_lists_those_that_exist():
    message = "'jax' not found; available: auto, mlx, pytorch, scripted"
    with pytest.raises(ConfigError, match=message):
        select("jax")
