"""The reward under audit: found by name, class or file, and asked without hiding what it raises.

spatial                                   a reward of this package
strict.py, my_pack.strict                 a file or module of the user's own
strict.py:brevity                         one function or class of a file
vlmtune.rewards:CountingRewardFunction    a class of a module
"""

import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmtune import discovery
from vlmtune.config import RewardConfig
from vlmtune.errors import ConfigError, RewardError, VlmtuneError
from vlmtune.rewards import build_reward, load_reward
from vlmtune.rewards.columns import columns_of
from vlmtune.rewards.weighted import prepared, told
from vlmtune.types import JSON, Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What a reward gave for one answer.

    Attributes:
        value: The reward as a share of the most it gives; None where it does not apply or raised.
        why: Its own reason, or "".
        error: "ValueError: ... (strict.py:12)" when it raised, else "".
    """

    value: float | None
    why: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A reward and the name under which it is reported.

    Attributes:
        name: As the user typed it.
        reward: A RewardFunction, or a plain function that is called TRL's way.
    """

    name: str
    reward: Any

    @property
    def largest(self) -> float:
        """The most that it gives; values are shares of it."""
        return float(getattr(self.reward, "largest", 1.0)) or 1.0

    def pay(self, example: Example, completion: str) -> Paid:
        """Ask for one reward.

        Raises:
            VlmtuneError: What the reward itself refuses: a row or setting that the user can mend.
        """
        try:
            return self._paid(example, completion)
        except RewardError as error:
            return Paid(value=None, error=" ".join(str(error).split())[:300])
        except VlmtuneError:
            raise
        except Exception as error:  # noqa: BLE001 - an audit names whatever the reward raises
            return Paid(value=None, error=_told(error))

    def pay_batch(
        self, examples: Sequence[Example], completions: Sequence[JSON]
    ) -> list[float | None]:
        """Ask for a batch the way TRL does; whatever the reward raises is left alone."""
        paid = self.reward(
            prompts=[[{"role": "user", "content": example.question}] for example in examples],
            completions=list(completions),
            **columns_of(examples),
        )
        return [None if value is None else float(value) / self.largest for value in paid]

    def applies(self, example: Example, completion: str) -> bool:
        """Tell whether a reward that may pass over rows grades this one."""
        if not hasattr(self.reward, "score_batch"):
            return True
        return self.pay_batch([example], [completion])[0] is not None

    def _paid(self, example: Example, completion: str) -> Paid:
        if not hasattr(self.reward, "score"):
            return Paid(value=self.pay_batch([example], [completion])[0])
        score = self.reward.score(example, completion)
        if score is None or not score.applies:
            return Paid(value=None)
        return Paid(value=float(score.value) / self.largest, why=score.why)


def open_reward(name: str, config: RewardConfig, examples: Sequence[Example] = ()) -> Subject:
    """Find a reward and build it.

    Args:
        name: A name, file or module, with ":attribute" for a class or function in it.
        config: The config's `reward` section.
        examples: The rows, which some rewards must see before they can grade.

    Raises:
        ConfigError: If there is none, a setting is out of range, or it cannot be called.
    """
    place, _, attribute = name.rpartition(":")
    if place and attribute.isidentifier():
        found = getattr(_module(place), attribute, None)
        if found is None:
            raise ConfigError(f"reward '{name}': {place} has no '{attribute}'; check the spelling")
        if inspect.isclass(found):
            reward = _built(found, config.model_dump())
        elif place.endswith(".py"):
            reward = load_reward(name, config)
        else:
            reward = found
    else:
        reward = load_reward(name, config)
    if not callable(reward):
        raise ConfigError(
            f"reward '{name}' is {type(reward).__name__}, which cannot be called; a reward is "
            "f(prompts=, completions=, **columns) -> list of numbers"
        )
    return Subject(name=name, reward=prepared(reward, examples) if examples else reward)


def configured_reward(config: RewardConfig, examples: Sequence[Example]) -> Subject:
    """Build the reward of a run, of one name or of several.

    Raises:
        ConfigError: If a name is unknown or settings contradict each other.
    """
    reward = build_reward(config, examples=examples)
    return Subject(name=told(reward), reward=reward)


def _module(place: str) -> Any:
    if place.endswith(".py"):
        return discovery.load_file("reward", place)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        # A missing part of the name is the user's; anything else is missing inside the module.
        if error.name is None or not (place == error.name or place.startswith(error.name + ".")):
            raise
        raise ConfigError(f"reward module '{place}' not found; check the spelling") from None


def _built(kind: Callable[..., Any], options: Mapping[str, JSON]) -> Any:
    """Build a class with those options that it knows by name."""
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in options.items() if name in known})


def _told(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
