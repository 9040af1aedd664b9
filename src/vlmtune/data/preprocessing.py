"""A user's own Python file that changes rows before they are read: functions from row to row.

    def convert_to_gray(example):
        example["image"] = example["image"].convert("L")
        return example

Every public function that the file itself defines is applied, in the file's order; what it imports
is not. A row is a dictionary of columns, in which pictures are decoded PIL images.
"""

import hashlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import PIL.Image

from vlmtune.data import cells
from vlmtune.data.cells import Row, is_blank
from vlmtune.data.images import AddressImage
from vlmtune.errors import ConfigError, DataError
from vlmtune.types import JSON

RowFunction: TypeAlias = Callable[[dict[str, JSON]], JSON]


def load_functions(path: str) -> tuple[RowFunction, ...]:
    """Import a file and take its functions.

    Args:
        path: A .py file, relative to the working directory.

    Raises:
        ConfigError: If there is no such file, it cannot be imported, or it defines no function of
            one argument.
    """
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        raise ConfigError(
            f"preprocessing file '{path}' not found: name a .py file; paths start at {Path.cwd()}"
        )
    module = _imported(file)
    functions = tuple(
        value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    )
    if not functions:
        raise ConfigError(
            f"preprocessing file '{path}' defines no public function; write: def change(example): "
            "... return example"
        )
    for function in functions:
        _refuse_other_arguments(function, path=path)
    return functions


def apply(
    functions: Sequence[RowFunction], row: Row, *, columns: Sequence[str], folder: Path, label: str
) -> Row:
    """Run a row through the functions.

    Args:
        functions: From `load_functions`; without any the row comes back as it is.
        row: Columns and values.
        columns: Those that hold pictures.
        folder: What relative paths of pictures start from.
        label: Names the row in messages.

    Returns:
        The changed row; pictures that no function touched are what they were.

    Raises:
        DataError: If a function fails or returns no row.
    """
    if not functions:
        return row
    changed = dict(row)
    shown: dict[int, tuple[PIL.Image.Image, str, JSON]] = {}
    for name in columns:
        if not is_blank(row.get(name)):
            changed[name] = _decoded(row[name], name=name, folder=folder, label=label, shown=shown)
    for function in functions:
        changed = _applied(function, changed)
    return {name: _undecoded(value, shown) for name, value in changed.items()}


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"vlmtune_preprocessing_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"preprocessing file '{file}' cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # Whatever stands in a user's file may fail in any way.
        raise ConfigError(
            f"preprocessing file '{file}' cannot be imported ({type(error).__name__}: {error}); "
            "correct it"
        ) from error
    return module


def _refuse_other_arguments(function: RowFunction, *, path: str) -> None:
    try:
        inspect.signature(function).bind({})
    except TypeError as error:
        name = getattr(function, "__name__", "?")
        raise ConfigError(
            f"preprocessing file '{path}': {name}{inspect.signature(function)} does not take one "
            "row; name what is no row function with an underscore: _" + name
        ) from error


def _applied(function: RowFunction, row: dict[str, JSON]) -> dict[str, JSON]:
    name = getattr(function, "__name__", "?")
    try:
        found = function(row)
    except Exception as error:  # As above.
        raise DataError(
            f"preprocessing failed: {name} raised {type(error).__name__}: {error}; correct the "
            "function"
        ) from error
    if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
        raise DataError(
            f"preprocessing returned no row: {name} gave {type(found).__name__}; end it with "
            "'return example'"
        )
    return dict(found)


def _decoded(
    value: JSON,
    *,
    name: str,
    folder: Path,
    label: str,
    shown: dict[int, tuple[PIL.Image.Image, str, JSON]],
) -> JSON:
    originals = value if isinstance(value, (list, tuple)) else [value]
    found: list[JSON] = []
    references = cells.pictures(value, column=name, folder=folder, label=label)
    for original, reference in zip(originals, references, strict=True):
        if isinstance(reference, AddressImage):
            found.append(original)
            continue
        image = reference.open()
        shown[id(image)] = (image, _digest(image), original)
        found.append(image)
    return found if isinstance(value, (list, tuple)) else found[0]


def _undecoded(value: JSON, shown: Mapping[int, tuple[PIL.Image.Image, str, JSON]]) -> JSON:
    """Put the original cell back where a picture was not touched: nothing is encoded twice."""
    if isinstance(value, (list, tuple)):
        return [_undecoded(item, shown) for item in value]
    if not isinstance(value, PIL.Image.Image) or id(value) not in shown:
        return value
    _, digest, original = shown[id(value)]
    return original if _digest(value) == digest else value


def _digest(image: PIL.Image.Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
