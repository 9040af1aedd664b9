"""Which software a run was made with."""

import importlib.metadata
import platform

import vlmtune

LIBRARIES = (
    "numpy", "pillow", "pydantic", "mlx", "mlx-vlm", "torch", "transformers", "tokenizers", "trl",
    "peft", "accelerate", "bitsandbytes", "deepspeed", "vllm",
)  # fmt: skip
"""Whose versions are recorded where they are installed."""


def versions() -> dict[str, str]:
    """Collect versions; "not installed" where there is none."""
    own = {"vlmtune": vlmtune.__version__, "python": platform.python_version()}
    found = {library: _version(library) for library in LIBRARIES}
    return own | found | {"system": f"{platform.system()} {platform.machine()}"}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
