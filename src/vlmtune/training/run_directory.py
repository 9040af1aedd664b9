"""The folder that a rehearsal leaves behind: whole or not at all, and never over foreign files.

    outputs/grpo-debug/
        run.json        what ran, the checks, the numbers
        samples.jsonl   a line per prompt
        report.html     the same for people

Everything is written to a hidden folder beside it, which then takes its place, so a run that is
killed leaves the old output as it was. A lock beside it keeps a second run out; it belongs to the
process and dies with it.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

RUN, SAMPLES, REPORT = "run.json", "samples.jsonl", "report.html"
FILES = (RUN, SAMPLES, REPORT)
MARK = "rehearsal"
"""What "made_by" says in the run.json of a folder that a rehearsal may replace."""
LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that file managers leave in any folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run leaves its output.

    Attributes:
        shown: The path as the user would type it.
        path: The real folder, links resolved.
    """

    shown: Path
    path: Path

    @property
    def building(self) -> Path:
        """Where the new output grows."""
        return self.path.with_name(f".{self.path.name}.building")

    @property
    def replaced(self) -> Path:
        """Where the old output waits for a moment while the new one takes its place."""
        return self.path.with_name(f".{self.path.name}.replaced")

    @property
    def lock(self) -> Path:
        """The file whose lock says that a run works here."""
        return self.path.with_name(f".{self.path.name}.lock")


def place(config: RunConfig) -> Place:
    """Say where the output goes: `output_dir`, or outputs/<run_name or stage>.

    A rehearsal's own folder ends in -debug, so that it never stands where a training will.

    Raises:
        ConfigError: If the folder cannot be an output folder.
    """
    usual = f"{config.run_name or config.stage.value}{'-debug' if config.debug else ''}"
    shown = Path(config.output_dir or f"outputs/{usual}").expanduser()
    try:
        path = shown.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"output_dir {str(shown)!r} cannot be used: {error}") from error
    if path == Path.cwd() or path in Path.cwd().parents:
        raise ConfigError(
            f"output_dir {shown} is the working directory or holds it; "
            "name a folder of its own with --output_dir"
        )
    return Place(shown=shown, path=path)


def refuse_foreign(where: Place) -> None:
    """Check that the place is free, or holds the output of an earlier rehearsal and nothing else.

    Raises:
        ConfigError: If anything else lies there.
    """
    path = where.path
    if not path.exists():
        return
    if not path.is_dir():
        raise ConfigError(f"output_dir {where.shown} is a file; name a folder with --output_dir")
    found = sorted(entry.name for entry in path.iterdir() if entry.name not in LITTER)
    if not found:
        return
    foreign = [name for name in found if name not in FILES]
    if not is_rehearsal(path):
        raise ConfigError(
            f"output_dir {where.shown} is not empty and not the output of a rehearsal: it holds "
            f"{foreign[0] if foreign else found[0]}; name another folder with --output_dir"
        )
    if foreign:
        raise ConfigError(
            f"output_dir {where.shown} is an earlier rehearsal and would be replaced, but it also "
            f"holds {foreign[0]}; move that away, or name another folder with --output_dir"
        )


def is_rehearsal(path: Path) -> bool:
    """Tell whether a folder was written by a rehearsal, by the mark in its run.json."""
    try:
        run = json.loads((path / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(run, dict) and run.get("made_by") == MARK


@contextmanager
def opened(where: Place) -> Iterator[Path]:
    """Hold the place, hand out an empty folder to write to, and put it in place at the end.

    If the body raises, the old output stays as it was.

    Yields:
        The folder to write `FILES` to.

    Raises:
        ConfigError: If the place is in use, foreign, or cannot be written.
    """
    with held(where):
        _recover(where)
        refuse_foreign(where)
        try:
            where.building.mkdir()
        except OSError as error:
            raise _unwritable(where, error) from error
        try:
            yield where.building
            _swap(where)
        finally:
            shutil.rmtree(where.building, ignore_errors=True)


def write_json(path: Path, value: Mapping[str, JSON]) -> None:
    """Write one JSON object, indented, whole or not at all; NaN is a bug and raises ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    building = path.with_name(f".{path.name}.building")
    building.write_text(f"{_writable(text)}\n", encoding="utf-8")
    building.replace(path)


def write_lines(path: Path, records: Sequence[Mapping[str, JSON]]) -> None:
    """Write JSON Lines, one object a line; NaN and infinities are bugs and raise ValueError."""
    path.write_text("".join(map(as_line, records)), encoding="utf-8")


def as_line(record: Mapping[str, JSON]) -> str:
    """Write one line of JSON Lines; NaN and infinities are bugs and raise ValueError."""
    return f"{_writable(json.dumps(record, ensure_ascii=False, allow_nan=False))}\n"


def _writable(text: str) -> str:
    """Escape lone surrogates, which tokenisers can produce and UTF-8 cannot hold."""
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)


@contextmanager
def held(where: Place) -> Iterator[None]:
    """Keep other runs out of a place.

    Raises:
        ConfigError: If another run works there, or nothing can be written there.
    """
    try:
        where.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(where)
    except OSError as error:
        raise _unwritable(where, error) from error
    try:
        yield
    finally:
        # Unlinked before it is unlocked: whoever waits sees that the file is gone and makes a new.
        where.lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(where: Place) -> int:
    while True:
        descriptor = os.open(where.lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise ConfigError(
                f"output_dir {where.shown} is in use by another run"
                f"{f' (process {owner})' if owner else ''}; "
                "wait for it, or name another folder with --output_dir"
            ) from None
        if _is_same_file(descriptor, where.lock):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            return descriptor
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Tell whether the locked file still is the one on disk; its last owner may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _recover(where: Place) -> None:
    """Undo what a killed run left: the lock is ours, so nobody else works on these folders."""
    if where.replaced.exists():
        if where.path.exists():
            shutil.rmtree(where.replaced)
        else:
            where.replaced.rename(where.path)
    if where.building.exists():
        shutil.rmtree(where.building)


def _swap(where: Place) -> None:
    if where.path.exists():
        refuse_foreign(where)
        where.path.rename(where.replaced)
    where.building.rename(where.path)
    shutil.rmtree(where.replaced, ignore_errors=True)


def _unwritable(where: Place, error: OSError) -> ConfigError:
    return ConfigError(
        f"output_dir {where.shown} cannot be written: {error.strerror or error}; "
        "name another folder with --output_dir"
    )
