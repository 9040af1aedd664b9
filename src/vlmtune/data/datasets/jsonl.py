"""Rows of a local JSON Lines file: one object a line, in any shape that `formats` knows.

    {"id": "photos/001", "image": "cats.jpg", "prompt": "How many cats are there?", "answer": "2"}

The file is read line by line, so a file of any length costs no memory. A line that cannot be used
is reported as "file.jsonl line 17" and the reading goes on.
"""

import difflib
import json
import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from vlmtune.data.formats import Keys, to_example
from vlmtune.errors import ConfigError, DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes. A longer line is skipped without being held in memory."""

_BOM = b"\xef\xbb\xbf"
_OPTIONS = ("path", "image_folder", "prompt_key", "answer_key", "choice_key", "image_keys")
_OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a parquet file"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"PK\x03\x04", "a zip archive; unpack it first"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
)


def load(
    *,
    split: str,
    seed: int,
    options: Mapping[str, JSON],
    skip: SkipReport,
) -> Iterator[Example]:
    """Read Examples from a file, in its order.

    Args:
        split: Must be "train": a file is one split.
        seed: Unused; the order is the file's.
        options: `path` (required); `image_folder`, where relative picture paths start (default:
            the file's folder); `prompt_key`, `answer_key`, `choice_key` and `image_keys` name
            columns that the aliases do not cover.
        skip: Told of every line that cannot be used.

    Returns:
        Examples, read as they are asked for.

    Raises:
        ConfigError: If an option is unknown or of the wrong type.
        DataError: If there is no such file or it holds no lines of JSON.
    """
    if split != "train":
        raise ConfigError(
            f"dataset jsonl has no split '{split}': a file is one split; "
            "leave 'split' out and name the other file"
        )
    keys = _keys(options)
    path = Path(_text_option(options, "path") or "")
    folder = _text_option(options, "image_folder")
    image_folder = path.parent if folder is None else Path(folder)
    _refuse_unreadable(path, image_folder=image_folder)
    return _examples(path, image_folder=image_folder, keys=keys, skip=skip)


def _examples(path: Path, *, image_folder: Path, keys: Keys, skip: SkipReport) -> Iterator[Example]:
    with path.open("rb") as stream:
        for number, line in _lines(stream):
            row_id = f"{path.stem}/{number:06d}"
            found = _example(
                line, row_id=row_id, source=path.stem, image_folder=image_folder, keys=keys
            )
            if isinstance(found, Example):
                yield found
            else:
                skip(f"{path.name} line {number}", found)


def _example(
    line: bytes, *, row_id: str, source: str, image_folder: Path, keys: Keys
) -> Example | str:
    """Read a line; a line that cannot be used gives the reason instead."""
    try:
        return to_example(
            _object(line), row_id=row_id, source=source, image_folder=image_folder, keys=keys
        )
    except DataError as error:
        return str(error)
    except RecursionError:
        return "nested too deeply: the row has lists or objects inside hundreds of others"


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, bytes) of every line that is not blank."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            # The rest is passed over in pieces; the row is refused by its length alone.
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(LONGEST_LINE)
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _object(line: bytes) -> Mapping[str, JSON]:
    if len(line) > LONGEST_LINE:
        raise DataError(
            f"line is too long: more than {LONGEST_LINE:,} bytes; "
            "keep pictures in files and give their paths"
        )
    try:
        row = json.loads(
            line.decode(),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_repeats,
        )
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 text: byte 0x{line[error.start]:02x} at position {error.start + 1}; "
            "save the file as UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON ({error.msg} at column {error.colno}); write one object a line"
        ) from error
    except ValueError as error:
        raise DataError(f"not valid JSON ({error}); shorten the number") from error
    if not isinstance(row, dict):
        raise DataError(
            f"not a JSON object (a {type(row).__name__}); write one object a line, {{...}}"
        )
    return row


def _refuse_constant(name: str) -> float:
    raise DataError(f"not valid JSON ({name} is no JSON value); write null instead")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise DataError(f"not valid JSON (the number {digits[:20]} overflows); write a text")
    return value


def _without_repeats(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = [key for key, _ in pairs]
        twice = next(key for key in seen if seen.count(key) > 1)
        raise DataError(f"not valid JSON (the key {twice!r} stands twice); keep one of them")
    return found


def _refuse_unreadable(path: Path, *, image_folder: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"dataset file {path} does not exist{_neighbour(path)}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"dataset file {str(path)[:200]!r} cannot be read ({error})") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"dataset file {path} is not a file; name a .jsonl file{_neighbour(path)}")
    if not image_folder.is_dir():
        raise ConfigError(
            f"option image_folder of {path.name}: {image_folder} is not a folder; "
            "correct it, or leave it out to use the file's own folder"
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise DataError(f"dataset file {path} cannot be read ({error.strerror})") from error
    if not head.strip():
        raise DataError(f"dataset file {path} is empty; write one JSON object a line")
    for mark, meaning in _OTHER_FILES:
        if head.startswith(mark):
            raise DataError(f"dataset file {path} is not JSON Lines but {meaning}")
    first = head.removeprefix(_BOM).strip().split(b"\n")[0].strip()
    if first == b"{" or (first.startswith(b"[") and path.suffix == ".json") or first == b"[":
        raise DataError(
            f"dataset file {path} is one JSON document, not JSON Lines; convert it with: "
            f"jq -c '.[]' {path.name} > {path.stem}.jsonl"
        )


def _neighbour(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"; neither does the folder {folder}"
    names = sorted(file.name for file in folder.iterdir() if file.suffix in (".jsonl", ".json"))
    guess = difflib.get_close_matches(path.name, names, n=1)
    if guess:
        return f"; did you mean {folder / guess[0]}?"
    return f"; {folder} holds {', '.join(names[:6]) if names else 'no .jsonl file'}"


def _keys(options: Mapping[str, JSON]) -> Keys:
    for name in options:
        if name not in _OPTIONS:
            guess = difflib.get_close_matches(name, _OPTIONS, n=1)
            hint = f" did you mean '{guess[0]}'?" if guess else ""
            raise ConfigError(
                f"dataset jsonl has no option '{name}';{hint} Options: {', '.join(_OPTIONS)}"
            )
    if "path" not in options:
        raise ConfigError("dataset jsonl needs the option 'path': the .jsonl file to read")
    images = options.get("image_keys")
    if isinstance(images, str):
        images = [images]
    if images is not None and not (
        isinstance(images, (list, tuple)) and all(isinstance(name, str) for name in images)
    ):
        raise ConfigError(f"option image_keys of dataset jsonl is a list of names, not {images!r}")
    return Keys(
        prompt=_text_option(options, "prompt_key"),
        answer=_text_option(options, "answer_key"),
        choice=_text_option(options, "choice_key"),
        images=None if images is None else tuple(images),
    )


def _text_option(options: Mapping[str, JSON], name: str) -> str | None:
    value = options.get(name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise ConfigError(f"option {name} of dataset jsonl must be a text, not {value!r}")
