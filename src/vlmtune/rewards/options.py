"""How a reward takes its settings out of the config's `reward` section.

    {"type": "accuracy", "accuracy": {"scale": "seed"}, "format_weight": 0.1, ...}

Every reward is handed the whole section, so what belongs to another reward is no mistake; what
belongs to none is.
"""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from vlmtune.config import RewardConfig
from vlmtune.config_messages import one_line
from vlmtune.config_section import Section
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

Kind = TypeVar("Kind", bound=Section)


def refuse_unknown(options: Mapping[str, JSON], *, reward: str, has: str) -> None:
    """Refuse a key that the `reward` section does not have.

    Args:
        options: The section, or a part of it.
        reward: Who asks, for the message.
        has: What it has, as the end of a sentence.

    Raises:
        ConfigError: If there is such a key.
    """
    unknown = sorted(set(options) - set(RewardConfig.model_fields))
    if unknown:
        raise ConfigError(f"reward '{reward}' has no option '{unknown[0]}'; it has {has}")


def section(options: Mapping[str, JSON], name: str, kind: type[Kind]) -> Kind:
    """Read a reward's own part of the section, defaults where it is not there.

    Raises:
        ConfigError: If it has unknown keys, wrong types or values out of range.
    """
    try:
        return kind.model_validate(options.get(name) or {})
    except ValidationError as error:
        raise ConfigError(one_line(error, origin=lambda _: f"reward.{name}")) from None
