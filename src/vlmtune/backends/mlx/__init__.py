"""MLX: generation on Apple GPUs, and on any CPU for tests and demos. Never imports PyTorch.

`load_generator` returns the one door through which rehearsals, rollouts and evaluation ask a model.
"""

import importlib
import importlib.metadata
import importlib.util
import logging
from pathlib import Path

from vlmtune.protocols import Generator
from vlmtune.types import Problem

NAME = "mlx"
INSTALL = 'pip install "vlmtune[mlx]" (in a checkout: pip install -e ".[mlx]")'


def check() -> list[Problem]:
    """Say why MLX cannot run here: not installed, or not loadable."""
    missing = [name for name in ("mlx", "mlx_vlm") if importlib.util.find_spec(name) is None]
    if missing:
        return [Problem(what=f"{' and '.join(missing)} not installed", remedy=INSTALL)]
    from vlmtune.backends.mlx.blas import prefer_openblas

    prefer_openblas()
    try:
        importlib.import_module("mlx.core")
    except ImportError as error:
        return [Problem(what=f"mlx is installed but cannot be loaded ({error})", remedy=INSTALL)]
    version = importlib.metadata.version("mlx-vlm")
    if tuple(int(part) for part in version.split(".")[:2]) != (0, 7):
        return [Problem(what=f"mlx-vlm {version} is not 0.7.x", remedy=INSTALL)]
    return []


def load_generator(model: str, *, batch_rows: int = 64, adapter: Path | None = None) -> Generator:
    """Load a model by alias, local path or hub id.

    Args:
        model: What the user typed.
        batch_rows: Completions decoded side by side; bounds memory.
        adapter: Folder of an adapter to put on it, in peft's layout.

    Raises:
        ConfigError: If the alias is unknown.
        CheckpointError: If the folder is incomplete, the hub cannot be reached, or the adapter does
            not fit.
        BackendUnavailable: If the model needs more memory than the machine has.
    """
    from vlmtune.backends.mlx.blas import prefer_openblas
    from vlmtune.models.resolve import check_memory, fetch, machine_memory_gib, resolve

    resolved = resolve(model, backend=NAME)
    available_gib = machine_memory_gib()
    # An alias says what it needs, so a hopeless download is not even begun.
    check_memory(resolved, available_gib=available_gib)
    resolved = fetch(resolved)
    warning = check_memory(resolved, available_gib=available_gib)
    if warning:
        logging.getLogger("vlmtune").warning(warning)
    prefer_openblas()
    from vlmtune.backends.mlx.generate import MLXGenerator
    from vlmtune.backends.mlx.model import load

    loaded = load(resolved)
    if adapter is not None:
        from vlmtune.backends.mlx.adapted import attached

        loaded = attached(loaded, adapter)
    return MLXGenerator(loaded, batch_rows=batch_rows)
