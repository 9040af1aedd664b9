"""What ends a training for reasons outside it, in the words of every backend.

How an engine says that memory or the disk ran out stands in its own `failures.py`.
"""

import errno
from collections.abc import Sequence

from vlmtune.errors import RunFailed

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Numbers of the system's errors where nothing more can be written."""
_LISTED = 8


def not_finite(what: str, step: int, names: Sequence[str], *, setting: str) -> RunFailed:
    """Describe numbers that ran away; nothing was learned from them.

    Args:
        what: "the loss is nan".
        step: Number of the update, from 1.
        names: Ids of the rows that it was computed on.
        setting: Key of the number format that this engine computes in.
    """
    shown = list(dict.fromkeys(names))
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    rows = f" on rows {', '.join(shown[:_LISTED])}{more}" if shown else ""
    return RunFailed(
        f"{what} at update {step}{rows}; lower training.learning_rate, compute in another "
        f"{setting}, or look at these rows; checkpoints hold finite weights only"
    )


def disk_full(error: BaseException, update: int) -> RunFailed:
    """Describe a file that could not be written at an update; what to do is the same anywhere."""
    return RunFailed(
        f"nothing can be written at update {update}: {first_line(error)}; free space, or keep "
        "fewer checkpoints with save.keep; --resume auto goes on from the last one, which is whole"
    )


def first_line(error: BaseException) -> str:
    """Say in one line what an error says in many, with the file where it names one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
