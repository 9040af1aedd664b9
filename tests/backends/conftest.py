"""Loaded generators for the backends' tests."""

from pathlib import Path

import pytest

from vlmtune.backends import mlx, pytorch, scripted
from vlmtune.backends.mlx.blas import prefer_openblas
from vlmtune.protocols import Generator

# MLX binds to its BLAS when it is first imported, and test files import it when they are collected.
prefer_openblas()


@pytest.fixture(scope="session")
def tiny(tiny_model_folder: Path) -> Generator:
    return mlx.load_generator(str(tiny_model_folder))


@pytest.fixture(scope="session")
def tiny_torch(tiny_model_folder: Path) -> Generator:
    return pytorch.load_generator(str(tiny_model_folder))


@pytest.fixture(scope="session", params=["scripted", "mlx", "pytorch"])
def generator(request: pytest.FixtureRequest) -> Generator:
    if request.param == "scripted":
        return scripted.load_generator("any")
    return request.getfixturevalue("tiny" if request.param == "mlx" else "tiny_torch")
