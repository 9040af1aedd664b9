"""Nested settings addressed by dotted keys: `grpo.temperature`, `data.datasets.0.name`."""

from typing import Final

from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.types import JSON, Stage

ABSENT: Final = object()
"""What `take` and `look` return for a key that is not there; None is a value."""


def take(values: dict[str, JSON], key: str) -> JSON:
    """Remove a dotted key, and the sections that it leaves empty.

    Returns:
        The value, or ABSENT.
    """
    first, _, rest = key.partition(".")
    if first not in values or (rest and not isinstance(values[first], dict)):
        return ABSENT
    if not rest:
        return values.pop(first)
    value = take(values[first], rest)
    if value is not ABSENT and not values[first]:
        del values[first]
    return value


def put(values: dict[str, JSON], key: str, value: JSON) -> None:
    """Set a dotted key, where a number is a place in a list: `data.datasets.0.name`.

    A list that is not there starts as the default one; the place after its last entry appends.

    Raises:
        ConfigError: If the way leads through a value, or to a place that the list does not have.
    """
    parts = key.split(".")
    if not all(parts):
        raise ConfigError(f"'{key}' is not a key; write sections and a name, like grpo.temperature")
    here: JSON = values
    for depth, part in enumerate(parts[:-1]):
        here = _step(here, part, path=parts[: depth + 1])
    if isinstance(here, list):
        _place_of(here, parts[-1], path=parts)
        here[int(parts[-1])] = value
    elif isinstance(here, dict):
        here[parts[-1]] = value
    else:
        raise ConfigError(f"'{key}' cannot be set: '{'.'.join(parts[:-1])}' is {here!r:.60}")


def look(values: JSON, key: str) -> JSON:
    """Read a dotted key.

    Returns:
        The value, or ABSENT.
    """
    for part in key.split("."):
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return ABSENT
    return values


def _step(here: JSON, part: str, *, path: list[str]) -> JSON:
    """Go one level down, making what is missing."""
    if isinstance(here, list):
        return here[_place_of(here, part, path=path)]
    if not isinstance(here, dict):
        raise ConfigError(f"'{'.'.join(path)}' cannot be set: {here!r:.60} has no keys")
    if here.get(part) is None:
        here[part] = _default_list(path) or {}
    return here[part]


def _place_of(items: list[JSON], part: str, *, path: list[str]) -> int:
    section = ".".join(path[:-1])
    if not part.isdecimal() or int(part) > len(items):
        raise ConfigError(
            f"'{section}' is a list of {len(items)}, so '{part}' is no place in it; "
            f"use 0 to {len(items)}"
        )
    index = int(part)
    if index == len(items):
        items.append({})
    elif isinstance(items[index], str):
        items[index] = {"name": items[index]}
    return index


def _default_list(path: list[str]) -> list[JSON] | None:
    here: JSON = RunConfig(stage=Stage.SFT).model_dump(mode="json")
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
    return here if isinstance(here, list) else None
