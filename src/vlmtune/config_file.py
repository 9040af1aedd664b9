"""From a YAML file or launch script, `--set` and flags to one RunConfig, and back to YAML.

Who wins: flags > `--set` > variables of the environment > file > defaults. A flag names one setting
for this run alone, so it is the last word even where `--set` says otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from vlmtune import config_references, config_rules, config_shell, config_yaml
from vlmtune.aliases.rules import Translation
from vlmtune.config import RunConfig
from vlmtune.config_aliases import ALIASES, translate
from vlmtune.config_messages import one_line, refuse_unknown_foreign
from vlmtune.config_tree import ABSENT, look, put
from vlmtune.errors import ConfigError
from vlmtune.types import JSON, Stage

_WITH_SOURCES = ("data", "evaluation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A validated config and what the user should know about how it was read.

    Attributes:
        config: Every setting, defaults included.
        translations: Settings that were written under another tool's name.
        left: Lines of a launch script that set nothing.
        origin: Says where a dotted key was set: "run.yaml line 3".
    """

    config: RunConfig
    translations: tuple[Translation, ...]
    left: tuple[str, ...]
    origin: Callable[[str], str]


@dataclass(slots=True)
class _Reading:
    """Settings while they are gathered.

    Attributes:
        values: Nested, under our keys.
        origins: Dotted key -> where it was set.
        translations: What was written another way.
    """

    values: dict[str, JSON] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    translations: list[Translation] = field(default_factory=list)


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
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    document: config_yaml.Document | None = None,
) -> Resolved:
    """Build the config and list the settings that were read under another name.

    Args:
        path: As for `load`, or a launch script (.sh).
        overrides: As for `load`.
        flags: As for `load`; other tools' names are read as well.
        fallbacks: Dotted key -> value, used where nothing above sets the key.
        environment: Variables that `${oc.env:NAME}` may name.
        variables: Those among them that are settings; they win over the file.
        document: What `path` holds, where the caller has read it.

    Raises:
        ConfigError: One line about the file, key or value that cannot be used.
    """
    reading = _Reading()
    left: tuple[str, ...] = ()
    pairs = [_pair(override) for override in overrides]
    if path is not None:
        left = _read_file(reading, Path(path), pairs, environment or {}, document)
    known = {name: config_yaml.scalar(value) for name, value in (variables or {}).items()}
    _set(reading, known, source="the environment")
    for override, (key, value) in zip(overrides, pairs, strict=True):
        _set(reading, {key: value}, source=f"--set {override}")
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    _set(reading, given, source="the command line")
    for key, value in (fallbacks or {}).items():
        if look(reading.values, key) is ABSENT:
            put(reading.values, key, value)
    if path is not None and "stage" not in reading.values:
        _infer_stage(reading, Path(path))
    origin = _finder(reading.origins, str(path) if path is not None else "the settings")
    refuse_unknown_foreign(reading.values, origin=origin)
    config = _validated(reading.values, origin)
    return Resolved(
        config=config, translations=tuple(reading.translations), left=left, origin=origin
    )


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


def _read_file(
    reading: _Reading,
    path: Path,
    pairs: Sequence[tuple[str, JSON]],
    environment: Mapping[str, str],
    document: config_yaml.Document | None,
) -> tuple[str, ...]:
    """Read a file's settings; overrides count for what the file refers to."""
    left: tuple[str, ...] = ()
    if document is None and path.suffix in config_shell.SUFFIXES:
        document, left = config_shell.read(path)
    elif document is None:
        document = config_yaml.read(path)
    scope = deepcopy(document.values)
    for key, value in pairs:
        put(scope, key, value)
    followed = config_references.follow(
        document.values, scope=scope, environment=environment, source=str(path)
    )
    reading.values, found = translate(_tidy(followed), source=str(path))
    reading.origins |= {key: f"{path} line {line}" for key, line in document.lines.items()}
    for done in found:
        where = reading.origins.get(done.written, str(path))
        if done.read is not None:
            reading.origins[done.read] = f"{where}, written as '{done.written}'"
    reading.translations += found
    return left


def _infer_stage(reading: _Reading, path: Path) -> None:
    """Tell the stage of a file that was written for a script of one stage."""
    own = [name for name in ("dpo", "grpo") if name in reading.values]
    named = [stage.value for stage in Stage if path.name.startswith((f"{stage}_", f"{stage}."))]
    stage, why = (own or named or [""])[0], f"the section {own[0]}" if own else "the file's name"
    if stage and len(own) < len(("dpo", "grpo")):
        reading.values["stage"] = stage
        reading.translations.append(Translation(written=why, read="stage", value=stage))


def _pair(override: str) -> tuple[str, JSON]:
    key, equals, text = override.partition("=")
    # Hydra adds a key with + and adds or changes it with ++; here every key is there already.
    key = key.strip().lstrip("+")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, like --set grpo.temperature=0.7")
    return key, config_yaml.scalar(text)


def _set(reading: _Reading, settings: Mapping[str, JSON], *, source: str) -> None:
    """Set dotted keys over what is there; other tools' keys among them are read together."""
    foreign: dict[str, JSON] = {}
    for key, value in settings.items():
        if key in ALIASES:
            put(foreign, key, value)
        else:
            _place(reading, key, value, source=source)
    _, found = translate(foreign, source=source)
    for done in found:
        if done.read is not None:
            _place(reading, done.read, done.value, source=source)
    reading.translations += found


def _place(reading: _Reading, key: str, value: JSON, *, source: str) -> None:
    named = key in {f"{section}.datasets" for section in _WITH_SOURCES}
    put(reading.values, key, _as_sources(value) if named else value)
    reading.origins[key] = source


def _tidy(values: dict[str, JSON]) -> dict[str, JSON]:
    """Allow what people write by hand: sections left empty, and a dataset's bare name."""
    sections = {
        name
        for name, field in RunConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    tidy = {key: value for key, value in values.items() if value is not None or key not in sections}
    for name in _WITH_SOURCES:
        section = tidy.get(name)
        if isinstance(section, dict) and "datasets" in section:
            tidy[name] = {**section, "datasets": _as_sources(section["datasets"])}
    return tidy


def _as_sources(value: JSON) -> JSON:
    if isinstance(value, str):
        return [{"name": value}]
    if not isinstance(value, list):
        return value
    return [{"name": entry} if isinstance(entry, str) else entry for entry in value]


def _validated(values: dict[str, JSON], origin: Callable[[str], str]) -> RunConfig:
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        # Raised without its cause: the message holds all that the user can act on.
        raise ConfigError(one_line(error, origin=origin)) from None
    if clash := config_rules.clash(config):
        raise ConfigError(f"{clash.key} in {origin(clash.key)}: {clash.why}")
    return config


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
