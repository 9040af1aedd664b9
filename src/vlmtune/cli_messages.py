"""What all commands say alike: errors in one line, unknown flags with the one that was meant."""

import argparse
import difflib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from vlmtune.errors import MissingDependency, VlmtuneError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""
_TOGETHER = 3 * 3600.0
"""Seconds within which processes that end for one reason do so; an older mark is another run's."""
BASE_LIBRARIES = frozenset({"jinja2", "numpy", "PIL", "pydantic", "rich", "yaml"})
"""Modules without which nothing runs; the usual reason is a Python that is not the one of setup."""


def complain(error: VlmtuneError) -> int:
    """Print an error as one line on stderr.

    Returns:
        The exit code that goes with it.
    """
    if _is_first_to_tell():
        rank = os.environ.get("RANK", "0")
        where = "" if rank == "0" else f" in process {rank}"
        print(f"{type(error).__name__}{where}: {' '.join(str(error).split())}", file=sys.stderr)
    return error.exit_code


def _is_first_to_tell() -> bool:
    """Of several processes that end together, let the one tell why that knew it first.

    The others fail alike, or because they miss it. What they share on a machine is the launcher.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or "RANK" not in os.environ:
        return True
    port = os.environ.get("MASTER_PORT", "")
    mark = Path(tempfile.gettempdir()) / f"vlmtune-{os.getppid()}-{port}.told"
    if mark.exists() and time.time() - mark.stat().st_mtime > _TOGETHER:
        mark.unlink(missing_ok=True)
    try:
        mark.touch(exist_ok=False)
    except OSError as error:
        # Where no mark can be left, every process tells.
        return not isinstance(error, FileExistsError)
    return True


def complain_missing(error: ModuleNotFoundError) -> int:
    """Say how to get a base library.

    Returns:
        The exit code.

    Raises:
        ModuleNotFoundError: The error itself, if the module is no base library: then it is a bug.
    """
    if error.name not in BASE_LIBRARIES:
        raise error
    return complain(
        MissingDependency(
            f"{sys.executable} has no '{error.name}'; run 'make setup', then start the script "
            "with .venv/bin/python"
        )
    )


def with_underscores(words: Sequence[str]) -> list[str]:
    """Read --max-samples=5 as --max_samples=5; values keep their dashes."""
    plain = []
    for word in words:
        name, equals, value = word.partition("=")
        is_flag = name.startswith("--") and len(name) > len("--")
        plain.append("--" + name[2:].replace("-", "_") + equals + value if is_flag else word)
    return plain


def unknown_flag(word: str, parser: argparse.ArgumentParser) -> str:
    """Describe a word of the command line that means nothing, and guess what was meant."""
    flag = word.partition("=")[0]
    if not flag.startswith("-"):
        return f"'{word}' stands alone; settings are flags, --help lists them"
    # argparse offers no public list of the flags it knows.
    actions = parser._option_string_actions
    known = [name for name in actions if name.startswith("--")]
    close = difflib.get_close_matches(flag, known, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else ""
    shown = [name for name in known if actions[name].help is not argparse.SUPPRESS]
    return f"unknown flag '{flag}'; {hint}Flags: {', '.join(shown)}"
