"""Which backend runs here, and why not the others.

    select("auto")      mlx on a Mac, pytorch on a CUDA machine, else the first that is installed
    select("pytorch")   pytorch, or an error with the install command
    select("scripted")  no model at all, and only when asked for by name

A backend says in `check` what it misses; importing it costs nothing before that.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from vlmtune.errors import ConfigError, MissingDependency
from vlmtune.protocols import Backend
from vlmtune.types import Problem

AUTO = "auto"
CANDIDATES = ("mlx", "pytorch")
"""What `auto` tries, in this order. A backend without a model never stands in for one."""
NAMES = (AUTO, *CANDIDATES, "scripted")
NVIDIA = Path("/proc/driver/nvidia/version")
"""There when Linux drives an NVIDIA GPU; asking PyTorch instead would load it."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice and its reasons.

    Attributes:
        backend: The chosen backend.
        reason: One phrase for the first line of a run.
        rejected: Why earlier candidates cannot run here.
    """

    backend: Backend
    reason: str
    rejected: tuple[Problem, ...] = ()


def select(name: str) -> Selection:
    """Choose a backend.

    Args:
        name: "auto", "mlx", "pytorch" or "scripted".

    Raises:
        ConfigError: If there is no such backend.
        MissingDependency: If it cannot run here; the message has the command that would help.
    """
    if name not in NAMES:
        raise ConfigError(f"backend '{name}' not found; available: {', '.join(NAMES)}")
    if name != AUTO:
        backend = _load(name)
        problems = backend.check()
        if problems:
            raise MissingDependency(f"backend {name} cannot run here: {_told(problems)}")
        return Selection(backend, f"{name}, as asked")
    rejected: list[Problem] = []
    for candidate in order():
        backend = _load(candidate)
        problems = backend.check()
        if not problems:
            return Selection(backend, f"{candidate}, the first that runs here", tuple(rejected))
        rejected += problems
    raise MissingDependency(
        f"no backend can run a model here: {_told(rejected)}; "
        "--backend scripted rehearses without any model"
    )


def order() -> tuple[str, ...]:
    """Say in which order `auto` tries backends here: with an NVIDIA GPU, PyTorch comes first."""
    return CANDIDATES[::-1] if NVIDIA.exists() else CANDIDATES


def _load(name: str) -> Backend:
    return cast(Backend, importlib.import_module(f"vlmtune.backends.{name}"))


def _told(problems: list[Problem]) -> str:
    return "; ".join(f"{problem.what}: {problem.remedy}" for problem in problems)
