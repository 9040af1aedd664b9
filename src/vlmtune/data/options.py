"""Options of a dataset, as they stand in a config: each is known and of the right type, or refused.

{name: more.jsonl, options: {image_folder: pictures, answer_key: gold}}
"""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path

from vlmtune.data.formats import Keys
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

KEYS = ("prompt_key", "answer_key", "choice_key", "image_keys")
"""Options that name columns."""
ROW_OPTIONS = (*KEYS, "image_folder", "preprocessing")
"""Options of every dataset whose rows are columns and values."""


def refuse_unknown(options: Mapping[str, JSON], known: Collection[str], *, dataset: str) -> None:
    """Refuse an option that the dataset does not have.

    Raises:
        ConfigError: With the nearest name and the whole list.
    """
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" did you mean '{near[0]}'?" if near else ""
            raise ConfigError(
                f"dataset {dataset} has no option '{name}';{hint} Options: {', '.join(known)}"
            )


def text(options: Mapping[str, JSON], name: str, *, dataset: str) -> str | None:
    """Read an option that is a text.

    Returns:
        The text, or None when it is not set.

    Raises:
        ConfigError: If it is of another type or blank.
    """
    value = options.get(name)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise ConfigError(f"option {name} of dataset {dataset} must be a text, not {value!r}")


def one_of(
    options: Mapping[str, JSON], name: str, allowed: Collection[str], *, dataset: str
) -> str:
    """Read an option that chooses; without it the first of `allowed`.

    Raises:
        ConfigError: If it is none of them.
    """
    value = options.get(name, next(iter(allowed)))
    if isinstance(value, str) and value in allowed:
        return value
    near = difflib.get_close_matches(str(value), allowed, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigError(
        f"option {name} of dataset {dataset} is {value!r}; {hint}Choose: {', '.join(allowed)}"
    )


def folder(options: Mapping[str, JSON], name: str, *, dataset: str) -> Path | None:
    """Read an option that is an existing folder.

    Returns:
        The folder, or None when it is not set.

    Raises:
        ConfigError: If there is no such folder.
    """
    value = text(options, name, dataset=dataset)
    if value is None or Path(value).is_dir():
        return None if value is None else Path(value)
    raise ConfigError(
        f"option {name} of dataset {dataset}: {value} is not a folder; correct it, or leave it out"
    )


def keys(options: Mapping[str, JSON], *, dataset: str) -> Keys:
    """Read the options that name columns.

    Raises:
        ConfigError: If one is of the wrong type.
    """
    images = options.get("image_keys")
    if isinstance(images, str):
        images = [images]
    if images is not None and not (
        isinstance(images, (list, tuple)) and all(isinstance(name, str) for name in images)
    ):
        raise ConfigError(
            f"option image_keys of dataset {dataset} is a list of names, not {images!r}"
        )
    return Keys(
        prompt=text(options, "prompt_key", dataset=dataset),
        answer=text(options, "answer_key", dataset=dataset),
        choice=text(options, "choice_key", dataset=dataset),
        images=None if images is None else tuple(images),
    )
