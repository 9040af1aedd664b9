"""The synthetic spatial world as a dataset; see `vlmtune.scenes`. Needs no file and no network.

    data: {datasets: [{name: scenes, split: train, options: {mode: flat, kinds: [count]}}]}

Rows come one kind after the other, so that any few rows hold every kind. With `data.shuffle` the
row numbers of the whole split are permuted, so that only the scenes in use are drawn; kinds then
come in random order, each equally often in the long run.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields

from vlmtune.errors import ConfigError
from vlmtune.protocols import SkipReport
from vlmtune.scenes.dataset import KINDS, Scenes
from vlmtune.scenes.world import SceneOptions
from vlmtune.types import JSON, Example, Kind

OPTIONS = ("kinds", *(field.name for field in fields(SceneOptions)))
ENDLESS = True
"""Two billion rows a split: a run must be capped by `data.max_samples`."""
ASKABLE = (*KINDS, Kind.CAPTION)


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield scenes 0, 1, 2, ... of a split; it does not end.

    Args:
        split: Any name; another name gives other rows.
        seed: Another seed gives other rows.
        options: `kinds` (list of relation, yes_no, count, choice, caption) and the fields of
            `SceneOptions`.
        skip: Never called: every row is good by construction.

    Raises:
        ConfigError: If an option is unknown or has a wrong value.
    """
    return iter(table(split=split, seed=seed, options=options))


def table(*, split: str, seed: int, options: Mapping[str, JSON]) -> Scenes:
    """Give the split as a table whose rows are computed by number.

    Args:
        split: As for `load`.
        seed: As for `load`.
        options: As for `load`.

    Raises:
        ConfigError: If an option is unknown or has a wrong value.
    """
    for name in options:
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise ConfigError(f"scenes has no option '{name}'{hint} Options: {', '.join(OPTIONS)}")
    kinds = _kinds(options.get("kinds", list(KINDS)))
    look = {name: value for name, value in options.items() if name != "kinds"}
    for name, value in look.items():
        wanted = str if name == "mode" else (int, float) if name == "max_clutter" else int
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"scenes option {name} is {value!r}; it needs another type")
    return Scenes(split=split, seed=seed, kinds=kinds, options=SceneOptions(**look))


def _kinds(names: JSON) -> tuple[Kind, ...]:
    allowed = {kind.value: kind for kind in ASKABLE}
    chosen = [names] if isinstance(names, str) else names
    if not isinstance(chosen, list) or not chosen or any(name not in allowed for name in chosen):
        raise ConfigError(
            f"scenes option kinds is {names!r}; use a list of {', '.join(sorted(allowed))}"
        )
    return tuple(allowed[name] for name in chosen)
