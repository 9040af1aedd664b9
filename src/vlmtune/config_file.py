"""From a YAML file, `--set` and flags to one RunConfig, and back to YAML.

Who wins: flags > `--set` > file > defaults. A flag names one setting for this run alone, so it is
the last word even where `--set` says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from vlmtune import config_yaml
from vlmtune.config import RunConfig
from vlmtune.config_aliases import Translation, translate
from vlmtune.config_messages import one_line
from vlmtune.config_tree import ABSENT, look, put
from vlmtune.errors import ConfigError
from vlmtune.types import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A validated config and what the user should know about how it was read.

    Attributes:
        config: Every setting, defaults included.
        translations: Settings that were written under another tool's name.
    """

    config: RunConfig
    translations: tuple[Translation, ...]


def load(
    path: Path | str | None,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
) -> RunConfig:
    """Build the config; `resolve` tells besides which keys were translated.

    Args:
        path: A YAML file, or None for defaults alone.
        overrides: "a.b=c" each, c read as YAML: "grpo.temperature=0.7", "data.datasets.0.name=x".
        flags: Dotted key -> value; None leaves the setting alone.

    Raises:
        ConfigError: One line about the file, key or value that cannot be used.
    """
    return resolve(path, overrides=overrides, flags=flags).config


def resolve(
    path: Path | str | None,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    fallbacks: Mapping[str, object] | None = None,
) -> Resolved:
    """Build the config and list the settings that were read under another name.

    Args:
        path: As for `load`.
        overrides: As for `load`.
        flags: As for `load`.
        fallbacks: Dotted key -> value, used where nothing above sets the key.

    Raises:
        ConfigError: One line about the file, key or value that cannot be used.
    """
    values: dict[str, JSON] = {}
    origins: dict[str, str] = {}
    translations: list[Translation] = []
    if path is not None:
        document = config_yaml.read(Path(path))
        origins |= {key: f"{path} line {line}" for key, line in document.lines.items()}
        values, found = translate(_tidy(document.values), source=str(path))
        translations += found
        for done in found:
            where = origins.get(done.written, str(path))
            origins[done.read] = f"{where}, written as '{done.written}'"
    for override in overrides:
        translations += _override(values, override, origins)
    for key, value in (flags or {}).items():
        if value is not None:
            put(values, key, value)
            origins[key] = "the command line"
    for key, value in (fallbacks or {}).items():
        if look(values, key) is ABSENT:
            put(values, key, value)
    config = _validated(values, origins, default=str(path) if path is not None else "the settings")
    return Resolved(config=config, translations=tuple(translations))


def as_dict(config: RunConfig) -> dict[str, JSON]:
    """Write the config as plain values that `json.dumps` accepts; `resolve` reads them back."""
    return config.model_dump(mode="json")


def render(config: RunConfig) -> str:
    """Write the config as YAML that `load` reads back, one line per section."""
    return "".join(f"{_line(key, value)}\n" for key, value in as_dict(config).items())


def _line(key: str, value: JSON) -> str:
    flow = yaml.safe_dump(
        {key: value}, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20
    )
    return flow.strip().removeprefix("{").removesuffix("}")


def _override(
    values: dict[str, JSON], override: str, origins: dict[str, str]
) -> tuple[Translation, ...]:
    source = f"--set {override}"
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"{source}: expected KEY=VALUE, like --set grpo.temperature=0.7")
    value = config_yaml.scalar(text)
    alone: dict[str, JSON] = {}
    put(alone, key, value)
    _, translations = translate(alone, source=source)
    # One key gives at most one translation; without any, the key is ours or will be refused.
    target, value = next(((done.read, done.value) for done in translations), (key, value))
    put(values, target, _as_sources(value) if target == "data.datasets" else value)
    origins[target] = source
    return translations


def _tidy(values: dict[str, JSON]) -> dict[str, JSON]:
    """Allow what people write by hand: sections left empty, and a dataset's bare name."""
    sections = {
        name
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    tidy = {key: value for key, value in values.items() if value is not None or key not in sections}
    data = tidy.get("data")
    if isinstance(data, dict) and "datasets" in data:
        tidy["data"] = {**data, "datasets": _as_sources(data["datasets"])}
    return tidy


def _as_sources(value: JSON) -> JSON:
    if isinstance(value, str):
        return [{"name": value}]
    if not isinstance(value, list):
        return value
    return [{"name": entry} if isinstance(entry, str) else entry for entry in value]


def _validated(values: dict[str, JSON], origins: Mapping[str, str], *, default: str) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        # Raised without its cause: the message holds all that the user can act on.
        raise ConfigError(one_line(error, origin=_finder(origins, default))) from None


def _finder(origins: Mapping[str, str], default: str) -> Callable[[str], str]:
    def origin(key: str) -> str:
        """A key that nobody set by itself came with what is inside it or around it."""
        inside = [where for known, where in origins.items() if known.startswith(f"{key}.")]
        if key not in origins and inside:
            return inside[-1]
        while key and key not in origins:
            key = key.rpartition(".")[0]
        return origins.get(key, default)

    return origin
