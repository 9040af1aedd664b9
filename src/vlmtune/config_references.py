"""`${section.key}` in a file stands for that key's value, `${oc.env:NAME,default}` for a variable.

actor: {optim: {total_training_steps: "${runner.max_epochs}"}}

References are followed after --set has been read, so an override reaches everything that refers
to it. What is not set is an error, never an empty text.
"""

import re
from collections.abc import Mapping

from vlmtune.config_tree import ABSENT, look
from vlmtune.config_yaml import scalar
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_ENVIRONMENT = "oc.env:"


def follow(
    values: JSON, *, scope: JSON, environment: Mapping[str, str], source: str, path: str = ""
) -> JSON:
    """Replace every reference below `values`.

    Args:
        values: Settings as read from a file.
        scope: Where references look: the file's settings with the overrides on top.
        environment: Variables.
        source: What to call the file in messages.
        path: Where in the file `values` stands, for messages.

    Raises:
        ConfigError: If a reference leads nowhere, or back to itself.
    """
    if isinstance(values, dict):
        return {
            key: follow(
                value,
                scope=scope,
                environment=environment,
                source=source,
                path=f"{path}.{key}" if path else str(key),
            )
            for key, value in values.items()
        }
    if isinstance(values, list):
        return [
            follow(
                value, scope=scope, environment=environment, source=source, path=f"{path}.{place}"
            )
            for place, value in enumerate(values)
        ]
    if not isinstance(values, str) or "${" not in values:
        return values
    return _text(values, scope, environment, where=f"'{path}' in {source}", way=())


def _text(
    text: str, scope: JSON, environment: Mapping[str, str], *, where: str, way: tuple[str, ...]
) -> JSON:
    """Replace the references of one text; one that is the whole text keeps its type."""
    while found := _REFERENCE.search(text):
        name = found[1].strip()
        if name in way:
            circle = " > ".join((*way, name))
            raise ConfigError(f"{where} refers to itself ({circle}); write the value out")
        value = _value(name, scope, environment, where=where)
        if isinstance(value, str) and "${" in value:
            value = _text(value, scope, environment, where=where, way=(*way, name))
        if found[0] == text:
            return value
        if isinstance(value, dict | list):
            raise ConfigError(f"{where} puts '{name}', which is no single value, into a text")
        text = text[: found.start()] + str(value) + text[found.end() :]
    return text


def _value(name: str, scope: JSON, environment: Mapping[str, str], *, where: str) -> JSON:
    if name.startswith(_ENVIRONMENT):
        variable, comma, default = name.removeprefix(_ENVIRONMENT).partition(",")
        if variable not in environment and not comma:
            raise ConfigError(f"{where} needs the variable {variable}, which is not set; export it")
        return scalar(environment.get(variable, default))
    value = look(scope, name)
    if value is ABSENT:
        raise ConfigError(
            f"{where} refers to '{name}', which is not set; write the value out, or set {name}"
        )
    return value
