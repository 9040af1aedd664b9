"""The reward under audit: found by name, class or file, and asked without hiding what it raises.

spatial                               a reward of this package
strict.py, my_pack.strict             a file or module of the user's own with a `build`
strict.py:Strict, my_pack:strict      a class or function in it
vlmtune.rewards:CountingRewardFunction
"""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmtune import discovery
from vlmtune.errors import ConfigError, VlmtuneError
from vlmtune.types import JSON, Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """What a reward gave for one answer.

    Attributes:
        value: The reward, or None where it does not apply or raised.
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

    def pay(self, example: Example, completion: str) -> Paid:
        """Ask for one reward.

        Raises:
            VlmtuneError: What the reward itself refuses: a row or setting that the user can mend.
        """
        try:
            return self._paid(example, completion)
        except VlmtuneError:
            raise
        except Exception as error:  # noqa: BLE001 - an audit names whatever the reward raises
            return Paid(value=None, error=_told(error))

    def pay_batch(
        self, examples: Sequence[Example], completions: Sequence[JSON]
    ) -> list[float | None]:
        """Ask for a batch the way TRL does; whatever the reward raises is left alone."""
        paid = self.reward(
            prompts=[example.question for example in examples],
            completions=list(completions),
            **columns_of(examples),
        )
        return [None if value is None else float(value) for value in paid]

    def _paid(self, example: Example, completion: str) -> Paid:
        if not hasattr(self.reward, "score"):
            return Paid(value=self.pay_batch([example], [completion])[0])
        score = self.reward.score(example, completion)
        if score is None:
            return Paid(value=None)
        return Paid(value=float(score.value), why=score.why)


def open_reward(name: str, options: Mapping[str, JSON]) -> Subject:
    """Find a reward and build it.

    Args:
        name: A name, file or module, with ":attribute" for a class or function in it.
        options: The config's `reward` section.

    Raises:
        ConfigError: If there is none, it takes other options, or it cannot be called.
    """
    place, _, attribute = name.rpartition(":")
    if not place or "/" in attribute or "\\" in attribute:
        built = discovery.load("reward", name).build({**options, "type": name})
    else:
        found = getattr(_module(place), attribute, None)
        if found is None:
            raise ConfigError(f"reward '{name}': {place} has no '{attribute}'; check the spelling")
        built = _built(found, options) if inspect.isclass(found) else found
    if not callable(built):
        raise ConfigError(
            f"reward '{name}' gives {type(built).__name__}, which cannot be called; "
            "a reward is f(prompts=, completions=, **columns) -> list of floats"
        )
    return Subject(name=name, reward=built)


def columns_of(examples: Sequence[Example]) -> dict[str, list[JSON]]:
    """Lay rows out as the columns that a trainer hands to a reward."""
    names = dict.fromkeys(name for example in examples for name in example.facts)
    columns = {name: [example.facts.get(name) for example in examples] for name in names}
    return columns | {
        "answer": [example.answer for example in examples],
        "solution": [example.answer for example in examples],
        "question": [example.question for example in examples],
        "kind": [example.kind.value for example in examples],
        "choices": [list(example.choices) for example in examples],
    }


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not place.startswith(error.name):
                raise
            raise ConfigError(f"reward module '{place}' not found; check the spelling") from None
    path = Path(place)
    if not path.is_file():
        raise ConfigError(f"reward file '{path}' not found; paths start at {Path.cwd()}")
    spec = importlib.util.spec_from_file_location(f"vlmtune_audited_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"reward file '{path}' cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by its name while they are being built.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _built(kind: Callable[..., Any], options: Mapping[str, JSON]) -> Any:
    """Build a class with those options that it knows by name."""
    known = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in options.items() if name in known})


def _told(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
