"""A rehearsal on a machine where no engine is installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmtune.training import rehearsal

SOURCE = Path(rehearsal.__file__).parents[2]
START = """
import importlib.machinery, io, sys
ENGINES = {"mlx", "mlx_vlm", "torch", "transformers", "trl"}
find = importlib.machinery.PathFinder.find_spec
def find_none(name, path=None, target=None):
    return None if name.partition(".")[0] in ENGINES else find(name, path, target)
importlib.machinery.PathFinder.find_spec = find_none
from rich.console import Console
from vlmtune.config import RunConfig
from vlmtune.errors import MissingDependency
from vlmtune.training import rehearsal
def rehearse(backend):
    config = {"stage": "grpo", "backend": backend, "output_dir": "out",
              "data": {"datasets": [{"name": "rows.jsonl"}]}}
    return rehearsal.run(RunConfig.model_validate(config), console=Console(file=io.StringIO()))
"""


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_scripted_backend_needs_no_engine(rows, in_folder) -> None:
    said = run("print(rehearse('scripted').ok, ENGINES & set(sys.modules))", in_folder)
    assert said == "True set()\n"


@pytest.mark.parametrize("backend", ["mlx", "auto"])
def test_without_mlx_the_install_command_is_named_and_nothing_written(
    rows, in_folder, backend
) -> None:
    said = run(
        f"try:\n    rehearse('{backend}')\nexcept MissingDependency as error:\n    print(error)\n",
        in_folder,
    )
    assert "install" in said
    assert len(said.splitlines()) == 1
    assert not (in_folder / "out").exists()
