"""A user's own Python file of reward functions, as trainers call them.

    def brevity(completions, solution, **kwargs):
        return [1.0 if 0 < len(text) < 200 else 0.0 for text in completions]

    reward_funcs_registry = {"brevity": brevity}      # optional: names and order

Each is called with lists as long as the batch: prompts, completions, completion_ids and every
column of the rows, of which it is given those that it takes. It returns a list of as many numbers;
None says that the reward does not apply to a row. A completion is its text, and `completion[0]` is
its chat message, so that functions written for either form work.
"""

import inspect
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

from vlmtune import discovery
from vlmtune.errors import ConfigError, RewardError
from vlmtune.rewards.columns import GIVEN, columns_of
from vlmtune.rewards.grading import Completion, completion_text
from vlmtune.types import JSON, Example

Function: TypeAlias = Callable[..., Any]
REGISTRY = "reward_funcs_registry"
"""Name of the dictionary from reward names to functions, where a file has one."""
_SHOWN = 60


class MessageText(str):
    """A completion that is its text, and whose items are its chat messages.

    `completion.strip()` and `completion[0]["content"]` both work: reward functions are written for
    either, and nothing in a file tells for which.
    """

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:  # A message is no text, which str promises.
        """Return the chat message for 0 and -1, and text for a slice."""
        if key in (0, -1):
            return {"role": "assistant", "content": str(self)}
        return super().__getitem__(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomReward:
    """One function of a user's file.

    Attributes:
        name: What configs and metrics call it.
        function: The function itself.
        file: Where it was found, for messages.
        known: Columns of the run's rows; a batch whose rows lack one is given None for each.
    """

    name: str
    function: Function
    file: str
    known: frozenset[str] = frozenset()

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    def prepared(self, examples: Sequence[Example]) -> "CustomReward":
        """Check before the run that the rows have every column that the function asks for.

        Raises:
            ConfigError: If it needs a column that they lack.
        """
        facts = {name for example in examples for name in example.facts}
        found = {*GIVEN, *columns_of(()), *facts}
        lacking = [name for name in _required(self.function) if name not in found]
        if lacking:
            raise ConfigError(
                f"reward '{self.name}' in {self.file} needs '{lacking[0]}', and the rows have "
                f"{', '.join(sorted(found))}; rename the parameter, or give it a default"
            )
        return replace(self, known=frozenset(facts.difference(GIVEN)))

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[Completion], **columns: JSON
    ) -> list[float | None]:
        """Grade a batch.

        Raises:
            RewardError: If the function fails, or returns anything but a finite number or None for
                each completion.
        """
        texts = [MessageText(completion_text(completion)) for completion in completions]
        absent: dict[str, JSON] = {name: [None] * len(texts) for name in self.known}
        given = absent | {"prompts": prompts, "completions": texts, **columns}
        try:
            values = self.function(**_accepted(self.function, given))
        except Exception as error:  # Whatever stands in a user's file may fail in any way.
            raise RewardError(
                f"reward '{self.name}' raised {type(error).__name__}: {error}{_place(error)}; "
                "correct the function"
            ) from error
        return checked(values, name=self.name, count=len(texts), ids=columns.get("id"))


def checked(values: JSON, *, name: str, count: int, ids: JSON = None) -> list[float | None]:
    """Take what a reward function returned as numbers.

    Args:
        values: What it returned.
        name: The reward, for messages.
        count: How many are needed.
        ids: The rows' names, where known.

    Raises:
        RewardError: If there are more or fewer, or one is neither a finite number nor None.
    """
    if isinstance(values, str | Mapping) or not hasattr(values, "__len__"):
        raise RewardError(
            f"reward '{name}' returned {type(values).__name__}; a list of {count} numbers is needed"
        )
    if len(values) != count:
        raise RewardError(
            f"reward '{name}' returned {len(values)} values for {count} completions; one for each "
            "is needed, None where it does not apply"
        )
    found: list[float | None] = []
    for index, value in enumerate(values):
        number = _number(value)
        if number is None and value is not None:
            row = f"row {index}" + (f" ({ids[index]})" if ids is not None else "")
            raise RewardError(
                f"reward '{name}' gave {repr(value)[:_SHOWN]} for {row} of the batch; a finite "
                "number is needed, or None where it does not apply"
            )
        found.append(number)
    return found


def load_functions(path: str) -> Mapping[str, CustomReward]:
    """Import a file and take its reward functions.

    Args:
        path: A .py file, relative to the working directory.

    Returns:
        Name -> reward: those of `reward_funcs_registry` where the file has one, else every public
        function that the file itself defines and that takes `completions`, in the file's order.

    Raises:
        ConfigError: If there is no such file, or it has no reward function.
        Exception: Whatever the file itself raises while it is imported, untouched.
    """
    return functions_of(discovery.load_file("reward", path), file=path)


def functions_of(module: ModuleType, *, file: str) -> Mapping[str, CustomReward]:
    """Take the reward functions of a module; as `load_functions`."""
    registry = getattr(module, REGISTRY, None)
    if registry is None:
        registry = {
            name: value
            for name, value in vars(module).items()
            if inspect.isfunction(value)
            and value.__module__ == module.__name__
            and not name.startswith("_")
            and "completions" in inspect.signature(value).parameters
        }
    if not isinstance(registry, Mapping) or not registry:
        raise ConfigError(
            f"reward file '{file}' has no reward function; write def my_reward(completions, "
            "solution, **kwargs): ... and return a number for each completion"
        )
    for name, function in registry.items():
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise ConfigError(
                f"reward '{name}' in {file} is {type(function).__name__}; a plain function that "
                "returns a list of numbers is needed, not an async one"
            )
    return MappingProxyType(
        {
            str(name): CustomReward(name=str(name), function=function, file=file)
            for name, function in registry.items()
        }
    )


def _number(value: JSON) -> float | None:
    if value is None or isinstance(value, str | bytes | complex):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _accepted(function: Function, given: Mapping[str, JSON]) -> dict[str, JSON]:
    """Keep what the function takes; one with **kwargs takes everything."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return dict(given)
    return {name: value for name, value in given.items() if name in parameters}


def _required(function: Function) -> list[str]:
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [
        name
        for name, one in inspect.signature(function).parameters.items()
        if one.default is one.empty and one.kind not in several
    ]


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) != Path(__file__)]
    return f" ({Path(own[-1].filename).name} line {own[-1].lineno})" if own else ""
