"""What ends a training for reasons outside it: memory or disk that runs out, numbers that run away.

Each becomes one line with what was being done, and what to change. Everything else that is raised
keeps its traceback.
"""

import errno
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vlmtune.backends import failures
from vlmtune.backends.failures import FULL, disk_full, first_line
from vlmtune.backends.pytorch import processes
from vlmtune.errors import RunFailed

_FULL_WORDS = ("file write failed", "no space left", "file too large", "os error 28", "os error 27")
_NO_MEMORY_WORDS = ("can't allocate memory", "bad_alloc", "cannot allocate memory")
_LESS = {
    "drawing completions": "lower hardware.generation_batch_size or grpo.max_completion_length",
    "evaluating": "lower evaluation.batch_size",
    "learning": "lower training.batch_size (and raise training.gradient_accumulation_steps by as "
    "much), set training.gradient_checkpointing: true",
}
"""What was being done -> what needs less memory."""
_FUNCTIONS = {"roll_out": "drawing completions", "evaluate": "evaluating"}
"""Functions whose frames say what was being done."""

not_finite = functools.partial(failures.not_finite, setting="training.precision")
"""`backends.failures.not_finite` where computing has a format of its own."""


@contextmanager
def explained(update: Callable[[], int]) -> Iterator[None]:
    """Say in one line what ended a training, where memory or disk space did.

    Args:
        update: Number of the update that is being made.

    Raises:
        RunFailed: If memory or disk space ran out, or another process ended.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, OSError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise RunFailed(_out_of_memory(error, update())) from error
        if is_disk_full(error):
            raise disk_full(error, update()) from error
        if isinstance(error, RuntimeError) and processes.is_farewell(error):
            told = f"another process ended at update {update()}, and says why unless it was killed"
            raise RunFailed(told) from error
        raise
    except Exception as error:
        # safetensors has an exception of its own for a file that cannot be written.
        if is_disk_full(error):
            raise disk_full(error, update()) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation failed; on a CPU, PyTorch says so in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in said for word in _NO_MEMORY_WORDS)


def is_disk_full(error: BaseException) -> bool:
    """Tell whether a file could not be written."""
    if isinstance(error, OSError):
        return error.errno in FULL
    said = str(error).lower()
    written = isinstance(error, RuntimeError) or type(error).__name__ == "SafetensorError"
    return written and any(word in said for word in _FULL_WORDS)


def runs_away(norm: float | torch.Tensor | None) -> bool:
    """Tell whether a gradient's norm is no finite number."""
    return norm is not None and not math.isfinite(float(norm))


def lost_weight(model: Any) -> str:
    """Name a weight that trains and is not finite, or "": a checkpoint must never hold one."""
    for name, weight in model.named_parameters():
        if weight.requires_grad and not bool(torch.isfinite(weight).all()):
            return str(name)
    return ""


def _out_of_memory(error: BaseException, update: int) -> str:
    doing = _doing(error)
    return (
        f"out of memory at update {update} while {doing}: {first_line(error)}; {_LESS[doing]}, or "
        "use model.quantization: 4bit, a smaller model.max_pixels or a smaller model; --resume "
        "auto goes on from the last checkpoint"
    )


def _doing(error: BaseException) -> str:
    """Read off the traceback what was being done."""
    frame = error.__traceback__
    while frame is not None:
        name = frame.tb_frame.f_code.co_name
        if name in _FUNCTIONS:
            return _FUNCTIONS[name]
        frame = frame.tb_next
    return "learning"
