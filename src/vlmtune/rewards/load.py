"""From the names in a config to the one reward that a run is graded with.

reward: {type: combined}                                      a reward of this package
reward: {type: strict.py}                                     a file with `build`, or functions
reward: {functions: [accuracy, format, explanation], weights: [0.45, 0.1, 0.45]}
reward: {file: my_rewards.py, functions: [accuracy, brevity]}    brevity stands in the file
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmtune import discovery
from vlmtune.config import RewardConfig
from vlmtune.errors import ConfigError
from vlmtune.protocols import RewardFunction
from vlmtune.rewards import custom
from vlmtune.rewards.weighted import Part, WeightedReward, prepared
from vlmtune.types import Example

FORMAT = "format"
"""The reward whose default share is `format_weight`."""


def build_reward(config: RewardConfig, *, examples: Sequence[Example] = ()) -> RewardFunction:
    """Build what a run is graded with.

    Args:
        config: The section `reward`.
        examples: The rows of the run, which some rewards must see before they can grade: for
            CIDEr's word weights, and to check that every column asked for is there.

    Returns:
        The one reward, or the weighted sum of several.

    Raises:
        ConfigError: If a name is unknown, settings contradict each other, or a function needs a
            column that the rows lack.
        DataError: If the rows have nothing that a reward could grade against.
    """
    _refuse_unread(config)
    reward = _several(config) if config.functions or config.file else _one(config)
    if examples:
        reward = prepared(reward, examples)
    return reward


def load_reward(name: str, config: RewardConfig | None = None) -> RewardFunction:
    """Find one reward by its name.

    Args:
        name: A reward of this package, a dotted module with `build`, a .py file with `build`, a
            .py file of reward functions (all of them, weighed equally), or "file.py:function".
        config: Its settings; default the usual ones.

    Raises:
        ConfigError: If there is none of that name, or a setting is out of range.
    """
    config = config or RewardConfig()
    file, colon, function = name.rpartition(":")
    if colon and file.endswith(".py"):
        found = [_named(function, custom.load_functions(file), config, file=file)]
    elif name.endswith(".py"):
        module = discovery.load_file("reward", name)
        if hasattr(module, discovery.DOORS["reward"][1]):
            return _built(module, name, config)
        found = list(custom.functions_of(module, file=name).values())
    else:
        return _built(discovery.load("reward", name), name, config)
    parts = [Part(reward=reward, weight=1 / len(found)) for reward in found]
    return WeightedReward(parts=tuple(parts), name="+".join(part.name for part in parts))


def _refuse_unread(config: RewardConfig) -> None:
    """Refuse settings of a reward that nobody named; a file's own reward may read any."""
    names = config.functions or ([] if config.file else [config.type])
    if any("." in name for name in names):
        return
    for name in ("accuracy", "format", "explanation"):
        if name not in names and getattr(config, name) != getattr(RewardConfig(), name):
            raise ConfigError(
                f"reward.{name} is set, and the rewards are {', '.join(names) or config.file}; add "
                f"{name} to reward.functions, or remove its settings"
            )


def _one(config: RewardConfig) -> RewardFunction:
    if config.weights is not None:
        raise ConfigError(
            f"reward.weights is {config.weights}, and reward.type names one reward; list several "
            "with reward.functions"
        )
    reward = load_reward(config.type, config)
    if isinstance(reward, WeightedReward) or not hasattr(reward, "score_batch"):
        return reward
    # The sum of one knows what to do where the one does not apply.
    return WeightedReward(parts=(Part(reward=reward, weight=1.0),), name=reward.name)


def _several(config: RewardConfig) -> WeightedReward:
    default = RewardConfig.model_fields["type"].default
    if config.type != default:
        raise ConfigError(
            f"reward.type is '{config.type}' beside reward.functions or reward.file; keep one, or "
            "add the name to reward.functions"
        )
    own = custom.load_functions(config.file) if config.file else {}
    names = config.functions or list(own)
    rewards = [_named(name, own, config, file=config.file) for name in names]
    unused = [name for name in own if name not in names]
    if own and len(unused) == len(own):
        raise ConfigError(
            f"reward.functions names nothing of reward.file '{config.file}', which has "
            f"{', '.join(own)}; name one, or remove the file"
        )
    parts = tuple(
        Part(reward=reward, weight=weight)
        for reward, weight in zip(rewards, _weights(config, rewards), strict=True)
    )
    return WeightedReward(parts=parts, name="+".join(part.name for part in parts))


def _named(
    name: str, own: Mapping[str, custom.CustomReward], config: RewardConfig, *, file: str | None
) -> Any:
    if name in own:
        return own[name]
    try:
        return load_reward(name, config)
    except ConfigError as error:
        if not own:
            raise
        raise ConfigError(f"{error}; {file} has {', '.join(own)}") from None


def _built(module: Any, name: str, config: RewardConfig) -> RewardFunction:
    built = module.build({**config.model_dump(), "type": name})
    if not callable(built) and not hasattr(built, "score"):
        raise ConfigError(
            f"reward '{name}': build gives {type(built).__name__}; a reward function is needed"
        )
    if not hasattr(built, "score"):
        title = getattr(built, "__name__", name)
        function = custom.CustomReward(name=title, function=built, file=name)
        return WeightedReward(parts=(Part(reward=function, weight=1.0),), name=title)
    reward: RewardFunction = built
    return reward


def _weights(config: RewardConfig, rewards: Sequence[Any]) -> list[float]:
    """Take the given weights, or give form its share and the others equal ones.

    On the seed's scale every reward counts once, as it does there: 3 + 1 + 1.
    """
    if config.weights is not None:
        if len(config.weights) != len(rewards):
            raise ConfigError(
                f"reward.weights has {len(config.weights)} numbers for {len(rewards)} rewards "
                f"({', '.join(reward.name for reward in rewards)}); give one for each"
            )
        return list(config.weights)
    if any(getattr(reward, "largest", 1.0) != 1.0 for reward in rewards):
        return [1.0] * len(rewards)
    formal = [reward.name == FORMAT for reward in rewards]
    others = formal.count(False)
    if not others:
        return [1.0 / len(rewards)] * len(rewards)
    form = config.format_weight if any(formal) else 0.0
    return [form if is_form else (1 - form) / others for is_form in formal]
