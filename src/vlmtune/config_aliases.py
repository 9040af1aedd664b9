"""Other tools' spellings of our settings: each is translated and said, or refused with a reason.

    grpo: {max_new_tokens: 128}    is read as    grpo: {max_completion_length: 128}

A key that is neither ours nor here is an unknown key. Training-only settings join this table
together with the trainers that honour them.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from types import MappingProxyType

from vlmtune.config_tree import ABSENT, look, put, take
from vlmtune.errors import ConfigError
from vlmtune.types import JSON, Stage


def _same(value: JSON) -> JSON:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A setting that has a place here.

    Attributes:
        to: Our dotted key.
        convert: Turns the other tool's value into ours; raises ValueError with a reason where it
            cannot.
    """

    to: str
    convert: Callable[[JSON], JSON] = _same


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A setting that is understood and cannot be honoured.

    Attributes:
        why: The reason and what to use instead, as the end of a sentence.
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """One setting that was read under another name.

    Attributes:
        written: The key as the user wrote it.
        read: Our key.
        value: The value after conversion.
    """

    written: str
    read: str
    value: JSON

    def __str__(self) -> str:
        return f"{self.written} is read as {self.read}: {self.value!r}"


def _stage_of_format(value: JSON) -> JSON:
    stages = {"vqa": Stage.SFT, "preference": Stage.DPO, "grpo": Stage.GRPO}
    if value not in stages:
        raise ValueError(f"expected one of {', '.join(stages)}")
    return stages[value].value


def _sources(value: JSON) -> JSON:
    names = value if isinstance(value, list) else [value]
    return [{"name": name} if isinstance(name, str) else name for name in names]


def _training_sources(value: JSON) -> JSON:
    if value is None:
        raise ValueError("nothing to train on; evaluation alone is scripts/evaluate.py")
    return _sources(value)


def _sources_or_none(value: JSON) -> JSON:
    return None if value is None else _sources(value)


def _names(value: JSON) -> JSON:
    return value.split() if isinstance(value, str) else value


def _wants_wandb(value: JSON) -> JSON:
    names = value if isinstance(value, list) else [value]
    others = [name for name in names if name not in ("wandb", "none", None)]
    if others:
        raise ValueError("only 'wandb' and 'none' exist; every run writes its own files besides")
    return "wandb" in names


_LOADERS: Mapping[str, str] = MappingProxyType({"robo2vlmsft": "robo2vlm"})
"""Other tools' names of loaders -> ours."""

ALIASES: Mapping[str, Alias | Refusal] = MappingProxyType(
    {
        "training_type": Alias(to="stage"),
        "runner.task_type": Alias(to="stage"),
        "dataset.dataset_format": Alias(to="stage", convert=_stage_of_format),
        "model.model_name_or_path": Alias(to="model.name"),
        "actor.model.model_path": Alias(to="model.name"),
        "model_path": Alias(to="model.name"),
        "dataset.train_data_path": Alias(to="data.datasets.0.name"),
        "dataset.train_split": Alias(to="data.datasets.0.split"),
        "dataset.eval_data_path": Alias(to="data.eval_datasets", convert=_sources_or_none),
        "dataset.eval_split": Alias(to="data.eval_split"),
        "dataset.preprocessing_fn": Alias(to="data.preprocessing"),
        "data.dataset": Alias(to="data.datasets", convert=_sources),
        "data.dataset_name": Alias(to="data.datasets.0.name"),
        "data.train_data_paths": Alias(to="data.datasets", convert=_training_sources),
        "data.eval_data_paths": Alias(to="data.eval_datasets", convert=_sources_or_none),
        "data.seed": Alias(to="seed"),
        "training.seed": Alias(to="seed"),
        "actor.seed": Alias(to="seed"),
        "training.output_dir": Alias(to="output_dir"),
        "training.max_seq_length": Alias(to="training.max_length"),
        "grpo.max_new_tokens": Alias(to="grpo.max_completion_length"),
        "grpo.reward_type": Alias(to="reward.type"),
        "reward.reward_type": Alias(to="reward.type"),
        "logging.use_wandb": Alias(to="tracking.wandb"),
        "logging.report_to": Alias(to="tracking.wandb", convert=_wants_wandb),
        "runner.logger.logger_backends": Alias(to="tracking.wandb", convert=_wants_wandb),
        "debug.enabled": Alias(to="debug"),
        "debug.max_samples": Alias(to="data.max_samples"),
        "dataset.reward_functions_fn": Alias(to="reward.file"),
        "reward_funcs": Alias(to="reward.functions", convert=_names),
        "reward_weights": Alias(to="reward.weights"),
        "grpo.reward_funcs": Alias(to="reward.functions", convert=_names),
        "grpo.reward_weights": Alias(to="reward.weights"),
        "grpo.max_prompt_length": Alias(to="training.max_prompt_length"),
    }
)
"""Another tool's dotted key -> what becomes of it."""


def translate(
    values: dict[str, JSON], *, source: str
) -> tuple[dict[str, JSON], tuple[Translation, ...]]:
    """Rewrite other tools' keys as ours.

    Args:
        values: Nested settings; left as they are.
        source: Where they come from, for messages.

    Returns:
        New nested settings, and what was translated.

    Raises:
        ConfigError: If a setting cannot be honoured, or is set under two names with two values.
    """
    values = deepcopy(values)
    named = _name_loader(values)
    # All are taken before any is put: `debug: {enabled: true}` must be gone when `debug` is set.
    taken = {written: take(values, written) for written in ALIASES}
    ours = deepcopy(values)
    done: list[Translation] = list(named)
    for written, rule in ALIASES.items():
        if taken[written] is ABSENT:
            continue
        if isinstance(rule, Refusal):
            raise ConfigError(f"'{written}' in {source} cannot be used: {rule.why}")
        found = _converted(written, rule, taken[written], source=source)
        earlier = next((past for past in done if past.read == found.read), None)
        _refuse_contradiction(found, ours, earlier, source=source)
        put(values, found.read, found.value)
        done.append(found)
    return values, tuple(done)


def _name_loader(values: dict[str, JSON]) -> tuple[Translation, ...]:
    """Read a loader's name and the paths it is to read as what they are here: name and option."""
    data = values.get("data")
    paths = ("train_data_paths", "eval_data_paths")
    if not isinstance(data, dict) or "dataset_name" not in data or not set(paths) & set(data):
        return ()
    written = data.pop("dataset_name")
    name = _LOADERS.get(written, written)
    for key in paths:
        if data.get(key) is not None:
            data[key] = [
                {"name": name, "options": {"path": path}} if isinstance(path, str) else path
                for path in (data[key] if isinstance(data[key], list) else [data[key]])
            ]
    return (Translation(written="data.dataset_name", read="data.datasets.0.name", value=name),)


def _converted(written: str, rule: Alias, value: JSON, *, source: str) -> Translation:
    try:
        return Translation(written=written, read=rule.to, value=rule.convert(value))
    except ValueError as error:
        raise ConfigError(f"'{written}: {value!r}' in {source} cannot be used: {error}") from None


def _refuse_contradiction(
    found: Translation, ours: dict[str, JSON], earlier: Translation | None, *, source: str
) -> None:
    """One setting under two names is fine as long as both say the same."""
    name, present = found.read, look(ours, found.read)
    if present is ABSENT and earlier is not None:
        name, present = earlier.written, earlier.value
    if present is not ABSENT and present != found.value:
        raise ConfigError(
            f"{source} sets '{found.written}' to {found.value!r} and '{name}' to {present!r}, "
            "which are the same setting; keep one"
        )
