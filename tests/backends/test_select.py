import importlib.util

import pytest

from vlmtune.backends.select import select
from vlmtune.errors import ConfigError, MissingDependency


def without_mlx(monkeypatch):
    """Make this process look like one where the mlx extra is not installed."""
    find_spec = importlib.util.find_spec

    def find(name, package=None):
        return None if name in ("mlx", "mlx_vlm") else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_auto_takes_mlx_where_it_runs():
    selection = select("auto")
    assert selection.backend.NAME == "mlx"
    assert selection.reason == "mlx, the first that runs here"
    assert selection.rejected == ()


def test_mlx_missing_is_an_error_with_the_install_command(monkeypatch):
    without_mlx(monkeypatch)
    with pytest.raises(MissingDependency) as caught:
        select("mlx")
    assert 'pip install "vlmtune[mlx]"' in str(caught.value)
    assert 'pip install -e ".[mlx]"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_auto_never_falls_back_to_a_backend_without_a_model(monkeypatch):
    without_mlx(monkeypatch)
    with pytest.raises(MissingDependency, match="--backend scripted") as caught:
        select("auto")
    assert 'pip install "vlmtune[mlx]"' in str(caught.value)


def test_scripted_runs_when_asked_for_by_name():
    selection = select("scripted")
    assert selection.backend.NAME == "scripted"
    assert selection.reason == "scripted, as asked"


def test_an_unknown_backend_lists_those_that_exist():
    with pytest.raises(ConfigError, match="'jax' not found; available: auto, mlx, scripted"):
        select("jax")
