"""PyTorch: generation and training with transformers, TRL and peft, on CUDA, on a CPU, on MPS.

`load_generator` is the same door as on the other backends. Nothing heavy is imported before it.
"""

import importlib.metadata
import importlib.util
import logging

from vlmtune.protocols import Generator
from vlmtune.types import Problem

NAME = "pytorch"
INSTALL = 'pip install "vlmtune[cuda]" (in a checkout: pip install -e ".[cuda]")'
GENERATES_WITH = ("torch", "torchvision", "transformers")
TRAINS_WITH = (*GENERATES_WITH, "trl", "peft", "accelerate", "datasets")


def check() -> list[Problem]:
    """Say why PyTorch cannot run here: not installed, or a transformers that is not version 5."""
    return _problems(GENERATES_WITH)


def check_training() -> list[Problem]:
    """Say why it cannot train here."""
    return _problems(TRAINS_WITH)


def _problems(needed: tuple[str, ...]) -> list[Problem]:
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        return [Problem(what=f"{', '.join(missing)} not installed", remedy=INSTALL)]
    found = {name: importlib.metadata.version(name) for name in ("transformers",)}
    if "trl" in needed:
        found["trl"] = importlib.metadata.version("trl")
    expected = {"transformers": "5.", "trl": "1.16."}
    return [
        Problem(what=f"{name} {version} is not {expected[name]}x", remedy=INSTALL)
        for name, version in found.items()
        if not version.startswith(expected[name])
    ]


def load_generator(model: str, *, batch_rows: int = 64) -> Generator:
    """Load a model by alias, local path or hub id.

    Args:
        model: What the user typed.
        batch_rows: Completions decoded side by side; bounds memory.

    Raises:
        ConfigError: If the alias is unknown.
        CheckpointError: If the folder is incomplete or the hub cannot be reached.
        BackendUnavailable: If the model needs more memory than the device has.
    """
    from vlmtune.backends.pytorch.devices import choose_device, device_memory_gib
    from vlmtune.models.resolve import check_memory, fetch, machine_memory_gib, resolve

    resolved = resolve(model, backend=NAME)
    available_gib = device_memory_gib(choose_device()) or machine_memory_gib()
    # An alias says what it needs, so a hopeless download is not even begun.
    check_memory(resolved, available_gib=available_gib)
    resolved = fetch(resolved)
    warning = check_memory(resolved, available_gib=available_gib)
    if warning:
        logging.getLogger("vlmtune").warning(warning)
    from vlmtune.backends.pytorch.generate import TorchGenerator
    from vlmtune.backends.pytorch.model import Loading, load

    return TorchGenerator(load(resolved, Loading()), batch_rows=batch_rows)
