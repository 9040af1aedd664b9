"""Post-train vision-language models for spatial reasoning: rehearse on a Mac, train on CUDA."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["MLXInference", "__version__"]

if TYPE_CHECKING:
    from vlmtune.backends.mlx.inference import MLXInference


def __getattr__(name: str) -> object:
    """Import `MLXInference` only when it is asked for, so that `import vlmtune` stays light."""
    if name == "MLXInference":
        from vlmtune.backends.mlx.inference import MLXInference

        return MLXInference
    raise AttributeError(f"module 'vlmtune' has no attribute {name!r}")
