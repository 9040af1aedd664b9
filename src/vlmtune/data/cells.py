"""One cell of a row becomes one value: text, answer, options, pictures.

Every refusal is a DataError of the form "what is wrong: what was found; what to do". The part
before the colon is the same for every row, so that a report can count it.
"""

import ast
import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import PIL.Image

from vlmtune.data.images import AddressImage, BytesImage, FileImage, encoded, file_problem
from vlmtune.errors import DataError
from vlmtune.language.prompts import letter
from vlmtune.types import JSON, ImageRef

Row: TypeAlias = Mapping[str, JSON]

MAX_IMAGES = 4
MAX_CHOICES = 26
PLACEHOLDER = "<image>"

_SPECIAL_TOKEN = re.compile(r"<\|\w+\|>")
_ADDRESS = re.compile(r"(?i)[a-z][a-z0-9+.-]*://|data:")
_WEB = re.compile(r"(?i)https?://")
_INLINE = re.compile(r"(?is)data:image/[a-z0-9.+-]+;base64,(.+)")
_LETTER = re.compile(r"\(?([A-Za-z])[).:]?")
_LETTERED_TEXT = re.compile(r"(?s)\(?([A-Za-z])[).:]\s+(.+)")
_PICTURE_FILE = re.compile(r"(?i)\.(jpe?g|png|webp|gif|bmp|tiff?|jp2|avif|ppm)$")
_ANSWER_TAG = re.compile(r"(?s)<answer>(.*?)</answer>")
_LONGEST_LITERAL = 100_000


def shorten(value: JSON, *, limit: int = 60) -> str:
    """Show a value in a message: quoted, on one line, not longer than `limit`."""
    text = repr(value[:limit] if isinstance(value, (str, bytes, list, tuple)) else value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def is_blank(value: JSON) -> bool:
    """Whether a cell counts as not there: null, "", white space, an empty list or mapping."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, (list, tuple, dict, bytes)) and not value)


def text(value: JSON, *, column: str) -> str:
    """Read a cell that must be text; outer white space is removed, tags are kept.

    Args:
        value: The cell.
        column: Its name, for the message.

    Raises:
        DataError: If it is not text, cannot be written as UTF-8, or holds a special token, which
            a tokenizer would take for its own.
    """
    if not isinstance(value, str):
        raise DataError(
            f"cell is not text: '{column}' holds {type(value).__name__} {shorten(value)}; "
            "write a string"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"text is not valid Unicode: '{column}' has a lone surrogate at character "
            f"{error.start}; save the row again as UTF-8"
        ) from error
    if special := _SPECIAL_TOKEN.search(value):
        raise DataError(
            f"text holds a special token: '{column}' has {special.group()}, which a tokenizer "
            "takes for its own; remove it"
        )
    return value.strip()


def asked(value: JSON, *, column: str) -> tuple[str, int]:
    """Read a user's text and take its image placeholders out.

    Args:
        value: The cell.
        column: Its name, for the message.

    Returns:
        The text without placeholders, and how many there were.

    Raises:
        DataError: If it is not usable text.
    """
    found = text(value, column=column)
    count = found.count(PLACEHOLDER)
    return (found.replace(PLACEHOLDER, "").strip() if count else found), count


def answer(value: JSON, *, column: str) -> str | None:
    """Read a gold answer as text; numbers and booleans are written out, tags are kept.

    Args:
        value: Text, a number, true or false (read as yes or no), or a list of just one of these.
        column: Its name, for the message.

    Returns:
        The answer, or None when the cell is blank.

    Raises:
        DataError: If it is of another type, not finite, or holds an image placeholder.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if is_blank(value):
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _number(value, column=column)
    if isinstance(value, (list, tuple)):
        raise DataError(
            f"answer is a list: '{column}' holds {len(value)} values, {shorten(value)}; "
            "keep the one that a completion is compared with"
        )
    found = text(value, column=column)
    if PLACEHOLDER in found:
        raise DataError(
            f"answer holds an image placeholder: '{column}' is {shorten(found)}; "
            f"remove {PLACEHOLDER}"
        )
    return found


def inside_tags(value: str) -> str:
    """Return what the last <answer> tag holds, or the whole text when there is none."""
    found = _ANSWER_TAG.findall(value)
    return str(found[-1]).strip() if found else value


def choices(value: JSON, *, column: str) -> tuple[str, ...]:
    """Read the options of a question, without the letters in front of them.

    Args:
        value: A list of text or numbers, the same list as a string, or blank.
        column: Its name, for the message.

    Returns:
        The options, or () when the cell is blank.

    Raises:
        DataError: If it is not a list of 2 to 26 texts.
    """
    if isinstance(value, str):
        value = _literal(value, column=column)
    if is_blank(value):
        return ()
    if not isinstance(value, (list, tuple)):
        raise DataError(
            f"choices are not a list: '{column}' holds {type(value).__name__} {shorten(value)}; "
            "write a list of texts"
        )
    if not 2 <= len(value) <= MAX_CHOICES:
        raise DataError(
            f"wrong number of choices: '{column}' has {len(value)}, {shorten(value)}; "
            f"a question needs 2 to {MAX_CHOICES}"
        )
    options = tuple(answer(option, column=column) for option in value)
    written = tuple(option for option in options if option is not None)
    if len(written) != len(options):
        raise DataError(f"choice is empty: '{column}' is {shorten(value)}; write every option")
    return _without_letters(written)


def option(value: JSON, *, options: Sequence[str], column: str) -> str | None:
    """Find which option a gold answer means.

    Args:
        value: A letter in any wrapper, "(B) text", an option's text, or its index from 0. Text in
            an <answer> tag is checked and kept as it is.
        options: The choices, without letters.
        column: The answer's column, for the message.

    Returns:
        "(B)" for the second option, the tagged text, or None when the cell is blank.

    Raises:
        DataError: If it names no option, or could mean two.
    """
    written = answer(value, column=column)
    if written is None:
        return None
    plain = inside_tags(written)
    same_text = {i for i, choice in enumerate(options) if choice.casefold() == plain.casefold()}
    is_index = isinstance(value, int) and not isinstance(value, bool)
    found = same_text | _positions(plain, options=options, digits=is_index or not same_text)
    if len(found) == 1:
        return written if plain != written else letter(found.pop())
    if not found:
        raise DataError(
            f"answer is not one of the choices: '{column}' is {shorten(plain)}, the choices are "
            f"{shorten(list(options), limit=120)}; give a letter, an index from 0 or an option"
        )
    meant = " or ".join(letter(index) for index in sorted(found))
    raise DataError(
        f"answer could mean two choices: '{column}' is {shorten(value)}, which fits {meant}; "
        "give the letter"
    )


def looks_like_picture(value: JSON) -> bool:
    """Whether a cell is a picture's file name, its bytes, or a list that starts with one."""
    if isinstance(value, (list, tuple)) and value:
        value = value[0]
    if isinstance(value, Mapping):
        return isinstance(value.get("bytes"), bytes)
    if isinstance(value, str):
        return (
            _PICTURE_FILE.search(value) is not None or _INLINE.match(value[:60] + "x") is not None
        )
    return isinstance(value, (bytes, PIL.Image.Image))


def pictures(value: JSON, *, column: str, folder: Path, label: str) -> Iterator[ImageRef]:
    """Read one cell of pictures, opening none.

    Args:
        value: A path, an http(s) address, a data: address, encoded bytes, a {"bytes", "path"}
            mapping as parquet files of the Hugging Face hub have it, a decoded PIL image, a list
            of these, or null.
        column: Its name, for the message.
        folder: What relative paths start from.
        label: Names a picture that has only bytes, with its number added.

    Yields:
        The pictures in order.

    Raises:
        DataError: If a file is missing or empty, or a value is of another type.
    """
    if value is None:
        return
    cells = value if isinstance(value, (list, tuple)) else [value]
    for number, cell in enumerate(cells, start=1):
        yield _picture(cell, column=column, folder=folder, label=f"{label}#image{number}")


def _picture(cell: JSON, *, column: str, folder: Path, label: str) -> ImageRef:
    if isinstance(cell, Mapping):
        data, path = cell.get("bytes"), cell.get("path")
        if data is None and path is not None:
            return _picture(path, column=column, folder=folder, label=label)
        cell = data
        label = f"{label}/{path}" if isinstance(path, str) else label
    if isinstance(cell, PIL.Image.Image):
        return BytesImage(label, encoded(cell, name=label))
    if isinstance(cell, bytes):
        return BytesImage(label, cell)
    if is_blank(cell) or not isinstance(cell, str):
        raise DataError(
            f"image is neither a path nor bytes: '{column}' holds {type(cell).__name__} "
            f"{shorten(cell)}; give a file's path"
        )
    if _ADDRESS.match(cell):
        return _addressed(cell.strip(), column=column, label=label)
    path = str(folder / text(cell, column=column))
    if problem := file_problem(path):
        raise DataError(problem)
    return FileImage(path)


def _addressed(cell: str, *, column: str, label: str) -> ImageRef:
    if _WEB.match(cell):
        return AddressImage(cell)
    inline = _INLINE.fullmatch(cell)
    if inline is None:
        raise DataError(
            f"image is an address of a kind that is not read: '{column}' is {shorten(cell)}; give "
            "a file's path, an http(s) address, or data:image/...;base64,..."
        )
    try:
        return BytesImage(label, base64.b64decode(inline.group(1), validate=True))
    except ValueError as error:
        raise DataError(
            f"image is not base64: '{column}' is {shorten(cell)} ({error}); encode it again"
        ) from error


def _number(value: int | float, *, column: str) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise DataError(f"answer is not a number: '{column}' is {value}; write null or a text")
        # Tables with gaps store whole numbers as floats; "3.0" would be no count.
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else str(value)
    if abs(value) >= 10**100:
        raise DataError(f"answer is too long: '{column}' has more than 100 digits; shorten it")
    return str(value)


def _positions(plain: str, *, options: Sequence[str], digits: bool) -> set[int]:
    """Which options a text names by letter or index."""
    if digits and plain.isascii() and plain.isdigit() and len(plain) <= 3:
        return {int(plain)} & set(range(len(options)))
    if single := _LETTER.fullmatch(plain):
        index = ord(single.group(1).upper()) - ord("A")
        return {index} & set(range(len(options)))
    if lettered := _LETTERED_TEXT.fullmatch(plain):
        index = ord(lettered.group(1).upper()) - ord("A")
        claimed = lettered.group(2).strip().casefold()
        if index < len(options) and options[index].casefold() == claimed:
            return {index}
    return set()


def _without_letters(options: tuple[str, ...]) -> tuple[str, ...]:
    """Drop "(A) ", "B. " and so on, only when every option carries its own letter."""
    bare = []
    for index, written in enumerate(options):
        match = _LETTERED_TEXT.fullmatch(written)
        if match is None or match.group(1).upper() != chr(ord("A") + index):
            return options
        bare.append(match.group(2).strip())
    return tuple(bare)


def _literal(value: str, *, column: str) -> JSON:
    """Read "['a', 'b']", the way tables without list columns store a list."""
    if is_blank(value):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return _python_literal(value, column=column)


def _python_literal(value: str, *, column: str) -> JSON:
    try:
        return ast.literal_eval(value[:_LONGEST_LITERAL])
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(
            f"choices are not a list: '{column}' is the text {shorten(value)}; "
            "write a list of texts"
        ) from error
