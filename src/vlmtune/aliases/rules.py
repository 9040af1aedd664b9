"""What can become of another tool's key: renamed, spread over several, settled, or refused.

grpo.max_new_tokens: 128      is read as grpo.max_completion_length: 128       Alias
training.bf16: true           is read as training.precision: 'bf16'            Alias with convert
val_check_interval: 1000      is read as evaluation.strategy and .steps        Spread
data.lazy_loading: false      changes nothing, and why                         Settled
convertor.ckpt_path           cannot be used, and what to use instead          Refusal
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from vlmtune.types import JSON


def same(value: JSON) -> JSON:
    """Keep a value as it is."""
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A setting that has a place here.

    Attributes:
        to: Our dotted key.
        convert: Turns the other tool's value into ours; raises ValueError with a reason where it
            cannot.
        note: What is said besides.
    """

    to: str
    convert: Callable[[JSON], JSON] = same
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A setting that says several things at once.

    Attributes:
        to: Our dotted keys, all that it may set.
        convert: Turns the value into some of them with their values; raises ValueError likewise.
        nothing: What to say when a value sets none of them.
    """

    to: tuple[str, ...]
    convert: Callable[[JSON], Mapping[str, JSON]]
    nothing: str = "is how it is here anyway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A setting that is always one way here; other values are refused.

    Attributes:
        accepts: Says whether a value asks for nothing else.
        why: How it is here, as the end of a sentence that begins with the key and its value.
        otherwise: Why another value is refused, as the end of a sentence.
    """

    accepts: Callable[[JSON], bool]
    why: str
    otherwise: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A setting that is understood and cannot be honoured.

    Attributes:
        why: The reason and what to use instead, as the end of a sentence.
    """

    why: str


Rule: TypeAlias = Alias | Spread | Settled | Refusal
Rules: TypeAlias = Mapping[str, Rule]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What became of one setting that was written another tool's way.

    Attributes:
        written: The key as the user wrote it.
        read: Our key, or None where nothing had to be set.
        value: The value after conversion; as written where nothing was set.
        why: What is said besides.
    """

    written: str
    read: str | None
    value: JSON
    why: str = ""

    def __str__(self) -> str:
        if self.read is None:
            return f"{self.written}: {self.value!r} {self.why}"
        said = f"{self.written} is read as {self.read}: {self.value!r}"
        return f"{said} ({self.why})" if self.why else said


Rewrite: TypeAlias = Callable[[dict[str, JSON]], tuple[Translation, ...]]
"""Reads keys that only mean something together; takes them out of the settings and puts ours in."""


def only(*values: JSON) -> Callable[[JSON], bool]:
    """Accept these values, and not true where 1 is meant."""
    return lambda value: any(value == one and type(value) is type(one) for one in values)


def anything(value: JSON) -> bool:
    """Accept every value."""
    return True


def truth(value: JSON) -> bool:
    """Read true and false in YAML's, Python's, a shell's and an environment's spelling.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() in words:
        return words[str(value).lower()]
    raise ValueError("expected true or false")


def whole(value: JSON) -> JSON:
    """Read a whole number that a shell has in quotes; other values are left to validation."""
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.lstrip("+-").isdecimal() and text.isascii() else value


def choice(names: Mapping[JSON, JSON]) -> Callable[[JSON], JSON]:
    """Read a word by a table.

    Returns:
        A conversion that raises ValueError with the words it knows.
    """

    def convert(value: JSON) -> JSON:
        """Look a value up by type and value, since True equals 1 and is another word."""
        known = {(type(name), name): ours for name, ours in names.items()}
        if not isinstance(value, str | bool | int | None) or (type(value), value) not in known:
            raise ValueError(f"expected one of {', '.join(map(str, names))}")
        return known[type(value), value]

    changed = {f"{theirs} is {ours}": None for theirs, ours in names.items() if theirs != ours}
    convert.__doc__ = f"{', '.join(changed)}."
    return convert


def words(value: JSON) -> JSON:
    """Read "accuracy format" as a list."""
    return value.split() if isinstance(value, str) else value


def sources(value: JSON) -> JSON:
    """Read a dataset's name, or a list of them, as sources."""
    names = value if isinstance(value, list) else [value]
    return [{"name": name} if isinstance(name, str) else name for name in names]


def sources_or_none(value: JSON) -> JSON:
    """Read sources, where null has a meaning of its own."""
    return None if value is None else sources(value)
