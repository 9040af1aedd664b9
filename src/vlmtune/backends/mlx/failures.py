"""What ends a training for reasons outside it: memory or disk that runs out, numbers that run away.

Each becomes one line with what was being done, and what to change; the same on the other side.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import mlx.core as mx

from vlmtune.backends.mlx.optimizer import Weights
from vlmtune.errors import RunFailed, VlmtuneError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_FULL_WORDS = ("no space left", "file too large", "os error 28", "os error 27")
_NO_MEMORY_WORDS = ("malloc", "bad_alloc", "cannot allocate", "insufficient memory")
_LISTED = 8
LESS = (
    "lower training.batch_size (and raise gradient_accumulation_steps), set "
    "training.gradient_checkpointing: true, model.quantization: 4bit or a smaller model.max_pixels"
)
"""What needs less memory."""


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
                f"out of memory at update {update()}: {_first_line(error)}; {LESS}; --resume auto "
                "goes on from the last checkpoint"
            ) from error
        if is_disk_full(error):
            raise RunFailed(
                f"nothing can be written at update {update()}: {_first_line(error)}; free space, "
                "or keep fewer checkpoints with save.keep; --resume auto goes on from the last "
                "one, which is whole"
            ) from error
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
        return error.errno in _FULL
    said = str(error).lower()
    return type(error).__name__ == "SafetensorError" and any(word in said for word in _FULL_WORDS)


def not_finite(what: str, step: int, names: Sequence[str]) -> RunFailed:
    """Describe numbers that ran away; nothing was learned from them.

    Args:
        what: "the loss is nan".
        step: Number of the update, from 1.
        names: Ids of the rows that it was computed on.
    """
    shown = list(dict.fromkeys(names))
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    rows = f" on rows {', '.join(shown[:_LISTED])}{more}" if shown else ""
    return RunFailed(
        f"{what} at update {step}{rows}; lower training.learning_rate, compute in another "
        "model.dtype, or look at these rows; checkpoints hold finite weights only"
    )


def lost_weight(weights: Weights) -> str:
    """Name a weight that is not finite, or "": a checkpoint must never hold one."""
    sound = {name: mx.isfinite(weight).all() for name, weight in weights.items()}
    mx.eval(sound)
    return next((name for name, is_sound in sound.items() if not bool(is_sound)), "")


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
