"""What ends a training for reasons outside it: memory or disk that runs out, numbers that run away.

Each becomes one line with what was being done, and what to change; the same on the other side.
"""

import errno
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mlx.core as mx

from vlmtune.backends import failures
from vlmtune.backends.failures import FULL, disk_full, first_line
from vlmtune.backends.mlx.optimizer import Weights
from vlmtune.errors import RunFailed, VlmtuneError

_FULL_WORDS = ("no space left", "file too large", "os error 28", "os error 27")
_NO_MEMORY_WORDS = ("malloc", "bad_alloc", "cannot allocate", "insufficient memory")
LESS = (
    "lower training.batch_size (and raise gradient_accumulation_steps), set "
    "training.gradient_checkpointing: true, model.quantization: 4bit or a smaller model.max_pixels"
)
"""What needs less memory."""

not_finite = functools.partial(failures.not_finite, setting="model.dtype")
"""`backends.failures.not_finite` where computing happens in the format of the weights."""


@contextmanager
def explained(update: Callable[[], int]) -> Iterator[None]:
    """Say in one line what ended a training, where memory or disk space did.

    Args:
        update: Number of the update that is being made.

    Raises:
        RunFailed: If memory or disk space ran out.
    """
    try:
        yield
    except VlmtuneError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise RunFailed(
                f"out of memory at update {update()}: {first_line(error)}; {LESS}; --resume auto "
                "goes on from the last checkpoint"
            ) from error
        if is_disk_full(error):
            raise disk_full(error, update()) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation failed; MLX says so in words alone."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    words = isinstance(error, RuntimeError) and any(word in said for word in _NO_MEMORY_WORDS)
    return isinstance(error, MemoryError) or words


def is_disk_full(error: BaseException) -> bool:
    """Tell whether a file could not be written; safetensors has an exception of its own for it."""
    if isinstance(error, OSError):
        return error.errno in FULL
    said = str(error).lower()
    return type(error).__name__ == "SafetensorError" and any(word in said for word in _FULL_WORDS)


def lost_weight(weights: Weights) -> str:
    """Name a weight that is not finite, or "": a checkpoint must never hold one."""
    sound = {name: mx.isfinite(weight).all() for name, weight in weights.items()}
    mx.eval(sound)
    return next((name for name, is_sound in sound.items() if not bool(is_sound)), "")
