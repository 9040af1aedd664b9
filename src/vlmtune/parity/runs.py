"""Two runs of one config side by side: did the other machine do what this one did?

    mac/                       gpu/
      sft/ metrics.jsonl         sft/ metrics.jsonl       the course, update by update
           adapter_model...           adapter_model...    the weights
      evaluations/sft/...        evaluations/sft/...      the answers, one by one

Folders of pipelines and of single runs are read alike. Nothing is computed by an engine here.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmtune.errors import ConfigError
from vlmtune.models import adapters, tensors
from vlmtune.models.checkpoints import read_json

COURSES: Mapping[str, str] = {"sft": "loss", "dpo": "loss", "grpo": "reward/mean"}
"""Stage -> the number of metrics.jsonl that is followed."""
ALIKE = 1e-4
"""Relative difference within which two updates count as the same."""
EVALUATIONS, PREDICTIONS = "evaluations", "predictions.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a stage went on both sides.

    Attributes:
        name: The stage's name.
        number: What was followed: "loss".
        one: Its values, by update.
        other: The other side's.
    """

    name: str
    number: str
    one: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def alike(self) -> int:
        """Count the first updates that are the same on both sides."""
        pairs = list(zip(self.one, self.other, strict=False))
        apart = (place for place, (a, b) in enumerate(pairs) if not _close(a, b))
        return next(apart, len(pairs))

    @property
    def apart(self) -> float:
        """Largest difference, as a share of the first side's largest value."""
        largest = max(map(abs, self.one), default=0.0) or 1.0
        return max(
            (abs(a - b) / largest for a, b in zip(self.one, self.other, strict=False)), default=0.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a stage trained, on both sides.

    Attributes:
        name: The stage's name.
        count: Numbers compared.
        cosine: Of all of them as one vector each, in [-1, 1].
        apart: Largest difference.
        largest: Largest absolute number.
    """

    name: str
    count: int
    cosine: float
    apart: float
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model of both sides answered to the same questions.

    Attributes:
        model: "base" or a stage's name.
        benchmark: What was asked.
        n: Questions that both answered.
        same: Answers that are the same, character for character.
        differing: Ids of the rows whose answers differ.
    """

    model: str
    benchmark: str
    n: int
    same: int
    differing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that both sides have.

    Attributes:
        sides: What to call the two: by their backends, where these differ, or by their folders.
        courses: How each stage went.
        weights: What each stage trained.
        answers: What each model answered.
    """

    sides: tuple[str, str]
    courses: tuple[Course, ...]
    weights: tuple[Weights, ...]
    answers: tuple[Answers, ...]


def compare(one: Path, other: Path) -> Comparison:
    """Compare two folders, each of a pipeline or of a single run.

    Raises:
        ConfigError: If a folder is of neither, or the two have no stage and no answers in common.
        CheckpointError: If an adapter is damaged.
    """
    sides = _stages(one), _stages(other)
    names = [name for name in sides[0] if name in sides[1]]
    pairs = [(name, sides[0][name], sides[1][name]) for name in names]
    found = Comparison(
        sides=_called(one, other),
        courses=tuple(course for pair in pairs if (course := _course(*pair))),
        weights=tuple(weights for pair in pairs if (weights := _weights(*pair))),
        answers=tuple(sorted(_answers(one, other), key=lambda found: _place(found.model, names))),
    )
    if not (found.courses or found.weights or found.answers):
        raise ConfigError(
            f"{one} and {other} have nothing in common: stages {', '.join(sides[0]) or 'none'} "
            f"here, {', '.join(sides[1]) or 'none'} there; name two runs of one config"
        )
    return found


def _called(one: Path, other: Path) -> tuple[str, str]:
    mine, theirs = (str(read_json(side / "run.json").get("backend", "")) for side in (one, other))
    return (one.name, other.name) if mine == theirs else (mine, theirs)


def _place(model: str, stages: Sequence[str]) -> int:
    """Order models as they were asked: the base, then stage by stage."""
    return stages.index(model) + 1 if model in stages else 0


def _stages(folder: Path) -> dict[str, Path]:
    """Name of a stage -> the folder of its run."""
    path = folder / "run.json"
    if not path.is_file():
        raise ConfigError(f"{folder} has no run.json; name the folder of a run or of a pipeline")
    record = read_json(path)
    if record.get("made_by") != "pipeline":
        return {str(record.get("stage", "")): folder}
    named = [str(stage["name"]) for stage in record["order"]]
    return {name: folder / name for name in named if (folder / name).is_dir()}


def _course(name: str, one: Path, other: Path) -> Course | None:
    stage = str(read_json(one / "run.json").get("stage", name))
    number = COURSES.get(stage)
    if number is None:
        return None
    values = tuple(
        tuple(float(line[number]) for line in _lines(side / "metrics.jsonl") if number in line)
        for side in (one, other)
    )
    return Course(name=name, number=number, one=values[0], other=values[1])


def _weights(name: str, one: Path, other: Path) -> Weights | None:
    sides = _arrays(one), _arrays(other)
    shared = sorted(sides[0].keys() & sides[1].keys())
    if not shared:
        return None
    if sides[0].keys() != sides[1].keys():
        odd = min(sides[0].keys() ^ sides[1].keys())
        raise ConfigError(f"stage {name}: only one side trained {odd}; the two are not one config")
    mine, theirs = (
        np.concatenate([side[key].ravel() for key in shared]).astype(np.float64) for side in sides
    )
    if mine.shape != theirs.shape:
        raise ConfigError(f"stage {name}: the adapters are of unlike sizes; compare model.lora")
    length = math.sqrt(float(mine @ mine) * float(theirs @ theirs))
    return Weights(
        name=name,
        count=mine.size,
        cosine=float(mine @ theirs) / length if length else float(np.array_equal(mine, theirs)),
        apart=float(np.abs(mine - theirs).max()),
        largest=float(np.abs(mine).max()),
    )


def _arrays(folder: Path) -> dict[str, npt.NDArray[Any]]:
    if (folder / adapters.CONFIG).is_file():
        paths = [folder / adapters.WEIGHTS]
    else:
        paths = sorted(folder.glob("*.safetensors"))
    found: dict[str, npt.NDArray[Any]] = {}
    for path in paths:
        found |= tensors.read_floats(path)
    return found


def _answers(one: Path, other: Path) -> Iterator[Answers]:
    for path in sorted((one / EVALUATIONS).glob(f"*/*/{PREDICTIONS}")):
        model, benchmark = path.parts[-3:-1]
        twin = other / path.relative_to(one)
        if not twin.is_file():
            continue
        mine, theirs = (
            {str(line["id"]): line["completion"] for line in _lines(side)} for side in (path, twin)
        )
        both = [key for key in mine if key in theirs]
        apart = tuple(key for key in both if mine[key] != theirs[key])
        yield Answers(
            model=model,
            benchmark=benchmark,
            n=len(both),
            same=len(both) - len(apart),
            differing=apart,
        )


def _lines(path: Path) -> Sequence[Mapping[str, Any]]:
    if not path.is_file():
        return ()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=ALIKE, abs_tol=1e-9)
