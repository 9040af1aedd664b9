"""Several stages in one file: what they share stands beside `stages`, what is a stage's own in it.

    output_dir: ./outputs/mine
    model: {name: pico}
    training: {batch_size: 8}
    stages:
      sft: {data: {max_samples: 2000}, training: {learning_rate: 1.0e-3}}
      grpo: {data: {max_samples: 400}, training: {learning_rate: 2.0e-4}}
    evaluation: {datasets: [{name: scenes, split: test}], seed: 1, max_samples: 1000}

Every stage becomes an ordinary RunConfig, so a pipeline knows no setting that a single run does not
know. Who wins in a stage: flags > `--set stages.NAME.key` > `--set key` > `stages.NAME` > shared.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from vlmtune import config_file, config_shell, config_yaml
from vlmtune.config import RunConfig
from vlmtune.config_file import Resolved
from vlmtune.errors import ConfigError
from vlmtune.types import JSON, Stage

STAGES = "stages"
BASE = "base"
"""What the model is called that the first stage starts from."""
RESERVED = frozenset({BASE, "evaluations", "rehearsals"})
"""Folders of a pipeline beside those of its stages."""
QUESTIONS = ("benchmarks", "datasets", "seed", "max_samples", "style", "protocol", "max_tokens")
"""Settings of the section evaluation that say what is asked after each stage."""
_WHOLE = ("backend", "debug", "resume", "output_dir", "run_name", "model.start_from", "model.name")
"""Settings that are the pipeline's and not one stage's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStage:
    """One stage.

    Attributes:
        name: Its key below `stages`, and its folder.
        resolved: Its run; where it starts and writes is the pipeline's to say.
    """

    name: str
    resolved: Resolved

    @property
    def config(self) -> RunConfig:
        """The run."""
        return self.resolved.config


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A file with stages.

    Attributes:
        path: The file.
        shared: What stands beside `stages`; its section evaluation says what is asked.
        stages: In the order of the file.
    """

    path: Path
    shared: Resolved
    stages: tuple[PipelineStage, ...]


def is_pipeline(path: Path) -> bool:
    """Tell whether a config file has stages.

    Raises:
        ConfigError: If it cannot be read.
    """
    return path.suffix not in config_shell.SUFFIXES and STAGES in config_yaml.read(path).values


def load_pipeline(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Pipeline:
    """Read and check all stages of a file.

    Args:
        path: A YAML file with `stages`.
        overrides: As for `config_file.resolve`; "stages.NAME.key=value" is for one stage alone.
        flags: As for `config_file.resolve`; for every stage.
        environment: As for `config_file.resolve`.
        variables: As for `config_file.resolve`.

    Raises:
        ConfigError: One line about the file, stage, key or value that cannot be used.
    """
    document = config_yaml.read(path)
    listed = _entries(document.values.get(STAGES), path=path)
    own, common = _divided(overrides, names=list(listed), path=path)
    if "stage" in document.values or (flags or {}).get("stage") is not None:
        raise ConfigError(f"{path} has stages ({', '.join(listed)}), so no single stage is named")
    reader = _Reader(document, common, flags, environment, variables, path)
    stages = []
    for name, entry in listed.items():
        _refuse_shared(entry, own[name], name=name, path=path)
        found = reader.read(name, entry, own[name])
        stages.append(PipelineStage(name=name, resolved=found))
    pipeline = Pipeline(path=path, shared=reader.read("", {}, ()), stages=tuple(stages))
    for before, after in zip(pipeline.stages, pipeline.stages[1:], strict=False):
        _refuse_break(before, after, is_first=before is pipeline.stages[0])
    _refuse_one_place(pipeline)
    return pipeline


@dataclass(frozen=True, slots=True)
class _Reader:
    """What all stages of a file have in common."""

    document: config_yaml.Document
    common: tuple[str, ...]
    flags: Mapping[str, object] | None
    environment: Mapping[str, str] | None
    variables: Mapping[str, str] | None
    path: Path

    def read(self, name: str, entry: Mapping[str, JSON], own: Sequence[str]) -> Resolved:
        """Lay a stage over what is shared; without a name, read what is shared alone."""
        shared = {key: value for key, value in self.document.values.items() if key != STAGES}
        lines = {
            key: line
            for key, line in self.document.lines.items()
            if key.partition(".")[0] != STAGES
        }
        prefix = f"{STAGES}.{name}."
        lines |= {
            key.removeprefix(prefix): line
            for key, line in self.document.lines.items()
            if key.startswith(prefix)
        }
        found = config_file.resolve(
            self.path,
            overrides=(*self.common, *own),
            flags=self.flags,
            fallbacks={"stage": name if name in list(Stage) else Stage.SFT.value},
            environment=self.environment,
            variables=self.variables,
            document=config_yaml.Document(values=_laid_over(shared, entry), lines=lines),
        )
        return _without_questions(found) if name else found


def _entries(value: JSON, *, path: Path) -> dict[str, dict[str, JSON]]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(
            f"stages in {path} should hold a section for each stage, like "
            "'stages: {sft: {...}, grpo: {...}}'"
        )
    entries = {}
    for name, entry in value.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name) or name in RESERVED:
            raise ConfigError(
                f"stages.{name} in {path} cannot be a folder of its own; use letters, digits, - "
                f"and _, and not {', '.join(sorted(RESERVED))}"
            )
        if entry is not None and not isinstance(entry, dict):
            raise ConfigError(f"stages.{name} in {path}: expected keys and values")
        if name not in list(Stage) and "stage" not in (entry or {}):
            near = difflib.get_close_matches(name, [stage.value for stage in Stage], n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ConfigError(
                f"stages.{name} in {path} is no stage; {hint}Stages are sft, dpo and grpo; under "
                "another name, say which with stage: sft"
            )
        entries[name] = entry or {}
    return entries


def _divided(
    overrides: Sequence[str], *, names: Sequence[str], path: Path
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Part what is set for one stage from what is set for all."""
    own: dict[str, list[str]] = {name: [] for name in names}
    common = []
    for override in overrides:
        key = override.partition("=")[0].strip().lstrip("+")
        if key.partition(".")[0] != STAGES:
            common.append(override)
            continue
        _, _, rest = override.strip().lstrip("+").partition(".")
        name, dot, setting = rest.partition(".")
        if name not in own or not dot or "=" in name:
            raise ConfigError(
                f"--set {override}: expected stages.NAME.KEY=VALUE, where NAME is one of "
                f"{', '.join(names)} in {path}"
            )
        own[name].append(setting)
    return {name: tuple(found) for name, found in own.items()}, tuple(common)


def _refuse_shared(entry: Mapping[str, JSON], own: Sequence[str], *, name: str, path: Path) -> None:
    """A stage cannot decide for the others where they run, or what they are asked."""
    fixed = {*_WHOLE, *(f"evaluation.{key}" for key in QUESTIONS)}
    written = {*_keys(entry), *(override.partition("=")[0].strip() for override in own)}
    if wrong := sorted(fixed & written):
        raise ConfigError(
            f"stages.{name}.{wrong[0]} in {path} or --set is one for all stages; set "
            f"{wrong[0]} beside 'stages', or leave it out"
        )


def _refuse_break(before: PipelineStage, after: PipelineStage, *, is_first: bool) -> None:
    """What is known of a stage's result before it is trained must fit what the next one does."""
    done, to_do = before.config.model, after.config.model
    if done.tuning != "full" and to_do.tuning == "full" and to_do.start_adapter != "merge":
        raise ConfigError(
            f"stages.{after.name} has model.tuning: full and cannot continue the adapter that "
            f"stage {before.name} leaves; add model.start_adapter: merge"
        )
    if done.tuning == "full" and to_do.start_adapter != "continue":
        raise ConfigError(
            f"stages.{after.name} has model.start_adapter: {to_do.start_adapter}, and stage "
            f"{before.name} leaves whole weights; leave it out"
        )
    if done.tuning == "full" or to_do.start_adapter != "continue":
        return
    if done.start_adapter == "stack" and not is_first:
        raise ConfigError(
            f"stages.{after.name} would continue the adapter of stage {before.name}, which is "
            "larger than model.lora says because it was stacked; use model.start_adapter: stack "
            "or merge here too"
        )
    if done.tuning != to_do.tuning or done.lora != to_do.lora:
        raise ConfigError(
            f"stages.{after.name} would continue the adapter of stage {before.name}, which has "
            "other values of model.tuning or model.lora; make them equal, or train another "
            "adapter with model.start_adapter: stack or merge"
        )


def _refuse_one_place(pipeline: Pipeline) -> None:
    """Two stages that write to one place would leave only the later one's model there."""
    for key in ("model_path", "hub_model_id"):
        taken: dict[str, str] = {}
        for stage in pipeline.stages:
            place = getattr(stage.config.save, key)
            if place in taken:
                raise ConfigError(
                    f"save.{key} {place} would be written by the stages {taken[place]} and "
                    f"{stage.name} in {pipeline.path}; set it in one of them"
                )
            if place is not None:
                taken[place] = stage.name


def _keys(values: Mapping[str, JSON], prefix: str = "") -> list[str]:
    found = []
    for key, value in values.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, dict):
            found += _keys(value, f"{prefix}{key}.")
    return found


def _laid_over(below: Mapping[str, JSON], above: Mapping[str, JSON]) -> dict[str, JSON]:
    """Merge two mappings, section by section; a list replaces a list."""
    found: dict[str, JSON] = dict(deepcopy(below))
    for key, value in above.items():
        there = found.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            found[key] = _laid_over(there, value)
        else:
            found[key] = deepcopy(value)
    return found


def _without_questions(found: Resolved) -> Resolved:
    """What is asked afterwards is no setting of a stage's own training."""
    evaluation = found.config.evaluation
    usual = type(evaluation)()
    plain = evaluation.model_copy(update={name: getattr(usual, name) for name in QUESTIONS})
    config = found.config.model_copy(update={"evaluation": plain})
    return Resolved(
        config=config,
        translations=found.translations,
        left=found.left,
        origin=found.origin,
    )
