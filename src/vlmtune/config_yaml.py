"""YAML as people mean it: numbers are numbers, no key twice, and every key knows its line.

PyYAML follows YAML 1.1, where `5e-5` is text, a date is an object and the second of two equal
keys silently wins. Here `5e-5` is a float, a date stays text and a repeated key is an error.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from vlmtune.errors import ConfigError
from vlmtune.types import JSON

_FLOAT = re.compile(
    r"""[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$
    |[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$""",
    re.VERBOSE,
)
_REPLACED = {"tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp"}
_WORDS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}


class _Loader(yaml.SafeLoader):
    """SafeLoader with its own idea of floats; a subclass is how PyYAML is configured."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute, never changed later
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed file.

    Attributes:
        values: The mapping it holds; empty for an empty file.
        lines: Dotted key -> line, counted from 1.
    """

    values: dict[str, JSON]
    lines: Mapping[str, int]


def read(path: Path) -> Document:
    """Parse a config file.

    Raises:
        ConfigError: If it does not exist, is not UTF-8 YAML, is not a mapping, or repeats a key.
    """
    return parse(text_of(path), source=str(path))


def text_of(path: Path) -> str:
    """Read a file of settings.

    Raises:
        ConfigError: If it does not exist, may not be read, or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"config '{path}' not found; paths start at {Path.cwd()}") from None
    except IsADirectoryError:
        raise ConfigError(f"config '{path}' is a folder; name a YAML file inside it") from None
    except PermissionError:
        raise ConfigError(f"config '{path}' may not be read; check its permissions") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"config '{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def parse(text: str, *, source: str) -> Document:
    """Parse a config's text.

    Args:
        text: YAML.
        source: What to call it in messages.

    Raises:
        ConfigError: If it is not YAML, not a mapping, or repeats a key.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        _refuse_recursion(root, source=source)
        lines = dict(_lines(root, prefix="", source=source)) if root is not None else {}
        values = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{source}{_place(error)} is not YAML: {_problem(error)}") from None
    if values is None:
        return Document(values={}, lines={})
    if not isinstance(values, dict):
        raise ConfigError(
            f"{source} holds {_shape(values)}, expected keys and values like 'stage: grpo'"
        )
    return Document(values=values, lines=lines)


def scalar(text: str) -> JSON:
    """Read the right-hand side of `--set key=value`.

    Args:
        text: "8", "5e-5", "true", "[scenes, photos.jsonl]" or plain words.

    Returns:
        What YAML makes of it; text that is not YAML stays text, so "a: b: c" needs no quotes.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError):
        return text


def _refuse_recursion(
    node: yaml.Node | None, *, source: str, above: tuple[yaml.Node, ...] = ()
) -> None:
    """An anchor inside itself (`&a [*a]`) would never finish."""
    if not isinstance(node, yaml.CollectionNode):
        return
    if node in above:
        raise ConfigError(f"{source} line {_line(node)} refers to itself; write the value out")
    for child in _children(node):
        _refuse_recursion(child, source=source, above=(*above, node))


def _children(node: yaml.CollectionNode) -> Iterator[yaml.Node]:
    for item in node.value:
        yield from item if isinstance(item, tuple) else (item,)


def _lines(node: yaml.Node, *, prefix: str, source: str) -> Iterator[tuple[str, int]]:
    """Walk all keys with their lines, and refuse those that are there twice."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield f"{prefix}{index}", _line(child)
            yield from _lines(child, prefix=f"{prefix}{index}.", source=source)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        if key.tag not in _WORDS:
            raise ConfigError(
                f"{source} line {_line(key)} has a key that is not a word; put it in quotes"
            )
        name = str(key.value)
        if name in seen:
            raise ConfigError(
                f"{source} line {_line(key)} sets '{prefix}{name}' again, first set in line "
                f"{seen[name]}; keep one"
            )
        seen[name] = _line(key)
        yield f"{prefix}{name}", _line(key)
        yield from _lines(value, prefix=f"{prefix}{name}.", source=source)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" line {mark.line + 1}" if mark is not None else ""


def _problem(error: Exception) -> str:
    text = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return " ".join(str(text).split())


def _shape(value: JSON) -> str:
    if isinstance(value, list):
        return "a list"
    return f"only {value!r:.60}"
