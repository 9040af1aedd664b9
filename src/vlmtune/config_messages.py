"""Turn a failed validation into one line: which key, where it stands, what was found."""

import difflib
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from vlmtune.config import RunConfig
from vlmtune.config_aliases import ALIASES
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

_EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "too_short": "{min_length} or more entries",
        "string_pattern_mismatch": "a name without slashes",
        "dict_type": "keys and values",
        "model_type": "keys and values",
        "model_attributes_type": "keys and values",
        "finite_number": "a finite number",
        "greater_than": "more than {gt}",
        "greater_than_equal": "{ge} or more",
        "less_than": "less than {lt}",
        "less_than_equal": "{le} or less",
        "literal_error": "{expected}",
        "enum": "{expected}",
    }
)
"""Pydantic's error type -> what to say was expected; braces name entries of the error's `ctx`."""


def keys_of(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """List all dotted keys below a section; the entries of a list are written with place 0."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        inner = _section_in(field.annotation)
        if inner is not None:
            place = "0." if _section_in(field.annotation, directly=True) is None else ""
            yield from keys_of(inner, f"{prefix}{name}.{place}")


def one_line(error: ValidationError, *, origin: Callable[[str], str]) -> str:
    """Describe the first of a validation's problems, and name the keys of the others.

    Args:
        error: From validating a RunConfig.
        origin: Says where a dotted key was set: "configs/demo.yaml line 3".
    """
    # An unknown key comes first: it often is the cause of a missing one.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first, *others = [_describe(problem, origin) for problem in problems]
    if not others:
        return first
    more = ", ".join(f"'{_dotted(problem['loc'])}'" for problem in problems[1:6])
    return f"{first}. Wrong as well: {more}"


def suggestion(key: str) -> str | None:
    """Find the key that a misspelt or misplaced one was meant to be.

    Args:
        key: A dotted key that does not exist.
    """
    section, _, name = key.rpartition(".")
    siblings = _names_in(section.split(".") if section else [])
    if not difflib.get_close_matches(name, siblings, n=1, cutoff=0.6):
        siblings = [other.rpartition(".")[2] for other in ALIASES if _is_in(section, other)]
    if close := difflib.get_close_matches(name, siblings, n=1, cutoff=0.6):
        return f"{section}.{close[0]}" if section else close[0]
    every = list(keys_of(RunConfig))
    elsewhere = [other for other in every if other.rpartition(".")[2] == name]
    return next(iter(elsewhere or difflib.get_close_matches(key, every, n=1, cutoff=0.7)), None)


def refuse_unknown_foreign(values: Mapping[str, JSON], *, origin: Callable[[str], str]) -> None:
    """Refuse what is left of another tool's section, by the key itself and not by its section.

    Raises:
        ConfigError: With the key of that tool which was meant.
    """
    foreign = {key.partition(".")[0] for key in ALIASES if "." in key} - set(RunConfig.model_fields)
    for section in sorted(foreign & set(values)):
        key = next(_leaves(values[section], section))
        known = [other for other in ALIASES if other.startswith(f"{section}.")]
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(
            f"unknown key '{key}' in {origin(key)}; {hint}Keys of {section} that are understood: "
            f"{', '.join(known)}"
        )


def _leaves(values: JSON, path: str) -> Iterator[str]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}")
    else:
        yield path


def _is_in(section: str, key: str) -> bool:
    return key.rpartition(".")[0] == section


def _describe(problem: Any, origin: Callable[[str], str]) -> str:
    key = _dotted(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(key, origin(key))
    if problem["type"] == "missing":
        return _missing(key, origin(key))
    expected = _EXPECTED.get(problem["type"])
    wanted = expected.format(**problem.get("ctx", {})) if expected else problem["msg"]
    return f"{key} in {origin(key)}: expected {wanted}, found {_shown(problem['input'])}"


def _shown(value: Any) -> str:
    """Write a value the way YAML has it: true, null, "8"."""
    return textwrap.shorten(json.dumps(value, ensure_ascii=False, default=repr), width=80)


def _unknown(key: str, where: str) -> str:
    section = key.rpartition(".")[0]
    close = suggestion(key)
    hint = f"did you mean '{close}'? " if close else ""
    names = ", ".join(_names_in(section.split(".") if section else []))
    of = f" of {section}" if section else ""
    return f"unknown key '{key}' in {where}; {hint}Valid keys{of}: {names}"


def _missing(key: str, where: str) -> str:
    if key == "stage":
        return "stage is missing: set stage: sft, dpo or grpo, or use scripts/train_<stage>.py"
    return f"{key} is missing in {where}; add it"


def _names_in(path: Sequence[str]) -> list[str]:
    section: type[BaseModel] = RunConfig
    for part in path:
        if part.isdecimal():
            continue
        field = section.model_fields.get(part)
        inner = _section_in(field.annotation) if field is not None else None
        if inner is None:
            return []
        section = inner
    return list(section.model_fields)


def _section_in(annotation: Any, *, directly: bool = False) -> type[BaseModel] | None:
    """Find the section that a field holds, by itself or (unless `directly`) in a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if directly:
        return None
    return next(filter(None, (_section_in(part) for part in get_args(annotation))), None)


def _dotted(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location)
