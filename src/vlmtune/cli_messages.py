"""What all commands do and say alike: help, exit codes, errors in one line, unknown flags."""

import argparse
import difflib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vlmtune.errors import ConfigError, MissingDependency, VlmtuneError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it."""
_TOGETHER = 3 * 3600.0
"""Seconds within which processes that end for one reason do so; an older mark is another run's."""
BASE_LIBRARIES = frozenset({"jinja2", "numpy", "PIL", "pydantic", "rich", "yaml"})
"""Modules without which nothing runs; the usual reason is a Python that is not the one of setup."""


def run_script(
    argv: Sequence[str] | None,
    *,
    help_text: Callable[[], str],
    work: Callable[[Sequence[str]], int],
    interrupted: str,
) -> int:
    """Run a script from its words to its exit code; --help needs no more than its text.

    Args:
        argv: The words of the command line; None takes those of the process.
        help_text: Writes what --help prints.
        work: Does what the words ask for and returns the exit code.
        interrupted: What Ctrl-C leaves behind, in half a line.

    Returns:
        The exit code: that of `work`, or the error's own, or `INTERRUPTED`.

    Raises:
        ModuleNotFoundError: If a module is missing that no installation lacks: a bug.
    """
    words = sys.argv[1:] if argv is None else argv
    if "-h" in words or "--help" in words:
        print(help_text())
        return 0
    try:
        return work(words)
    except VlmtuneError as error:
        return complain(error)
    except ModuleNotFoundError as error:
        return complain_missing(error)
    except KeyboardInterrupt:
        print(f"Interrupted: {interrupted}", file=sys.stderr)
        return INTERRUPTED


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


def flag_parser(script: str, *, usage: str, epilog: str) -> argparse.ArgumentParser:
    """Begin a script's parser: errors are raised and not printed, and no flag may be shortened.

    Args:
        script: Path of the script, as it is typed.
        usage: What stands behind it.
        epilog: The help's last lines.
    """
    parser = argparse.ArgumentParser(
        prog=script,
        usage=f"%(prog)s {usage}",
        epilog=epilog,
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "-h", "--help", action="store_true", default=argparse.SUPPRESS, help="show this"
    )
    return parser


def read_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Read a command line that consists of flags only.

    Args:
        parser: Made with `exit_on_error=False`.
        words: The command line; dashes within flags' names are fine.

    Raises:
        ConfigError: If a flag is unknown or lacks its value, or a word stands alone.
    """
    found, rest = split_flags(parser, words)
    if rest:
        raise ConfigError(unknown_flag(rest[0], parser))
    return found


def split_flags(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Read the flags of a command line that may hold other words as well.

    Args:
        parser: Made with `exit_on_error=False`.
        words: The command line; dashes within flags' names are fine.

    Returns:
        What the flags say, and the words that belong to none, in order.

    Raises:
        ConfigError: If a flag lacks its value or has an impossible one.
    """
    try:
        return parser.parse_known_args(with_underscores(words))
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error}; --help lists all flags") from None


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
