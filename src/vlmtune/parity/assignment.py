"""What both engines are asked to compute; the same on every machine, from seeds alone.

rows of 11 layouts -> token ids           8 rows  -> SFT's loss and gradient
scenes -> pixels, logits, answers         4 pairs -> DPO's, for 5 losses
                                          2 x 4 answers -> GRPO's, for 24 losses
and 20 updates of each stage from one adapter
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vlmtune.config import RunConfig
from vlmtune.data.datasets import scenes
from vlmtune.language import prompts
from vlmtune.training.grpo import questions
from vlmtune.training.lessons import lessons
from vlmtune.types import (
    JSON,
    Completion,
    Example,
    How,
    Lesson,
    Prompt,
    Reading,
    Sampling,
    Score,
    Stage,
)

STYLE = "spatial-v1"
DPO_LOSSES: Mapping[str, Mapping[str, JSON]] = {
    "sigmoid": {},
    "sigmoid, label_smoothing 0.2": {"label_smoothing": 0.2},
    "hinge": {"loss_type": "hinge"},
    "ipo": {"loss_type": "ipo"},
    "robust": {"loss_type": "robust", "label_smoothing": 0.2},
    "sigmoid, sft_weight 0.5": {"sft_weight": 0.5},
}
GRPO_LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")
LEVELS = ("token", "sequence")
BETAS = (0.0, 0.04)
ROLLOUT = Sampling(samples=4, max_tokens=24, temperature=1.3, seed=7)
"""How the answers were drawn that both engines score and GRPO's losses learn from."""
CUT = 3
"""Tokens that each answer of a group loses more than the one before it: lengths must differ."""
CLIPS: Mapping[str, Mapping[str, float]] = {
    "token": {"epsilon": 0.05, "epsilon_high": 0.08, "delta": 1.3},
    "sequence": {"epsilon": 3e-4, "epsilon_high": 4e-4, "delta": 1.3},
}
"""Narrow enough to act; a whole completion's ratio stays nearer to 1 than a token's."""
CAPS: Mapping[str, float] = {"token": 1.05, "sequence": 1.0004}
"""Caps of cispo's ratio."""
OLD_SPREAD, NOW_SPREAD = 0.02, 0.03
"""How far the adapter moves before the answers count as drawn, and again before the loss."""
Arrays = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is compared.

    Attributes:
        rows: Rows of each layout.
        pictured: Rows of each layout whose pixels are compared.
        greedy: Questions that are answered greedily.
        scored: Questions whose answers' logits and log-probabilities are compared.
        random: The same for the random model.
        drawn: Questions with four drawn answers each, which the reward grades.
        updates: Optimizer updates of each stage.
        dpo: DPO's losses.
        grpo: GRPO's losses as (loss_type, level, beta).
    """

    rows: int = 500
    pictured: int = 20
    greedy: int = 200
    scored: int = 48
    random: int = 12
    drawn: int = 16
    updates: int = 20
    dpo: tuple[str, ...] = tuple(DPO_LOSSES)
    grpo: tuple[tuple[str, str, float], ...] = tuple(
        (loss, level, beta) for loss in GRPO_LOSSES for level in LEVELS for beta in BETAS
    )


SAMPLE = Size(
    rows=2,
    pictured=1,
    greedy=4,
    scored=3,
    random=2,
    drawn=2,
    updates=2,
    dpo=("sigmoid", "ipo"),
    grpo=(("grpo", "token", 0.04), ("cispo", "sequence", 0.0)),
)
"""A little of everything, for a test."""


def asked(count: int) -> list[Example]:
    """Take scenes that no model of ours was trained on."""
    return list(islice(scenes.load(split="test", seed=11, options={}, skip=_refuse), count))


def worded(examples: Sequence[Example]) -> list[Prompt]:
    """Word rows as questions."""
    return [prompts.build(example, style=STYLE) for example in examples]


def supervised() -> list[Lesson]:
    """Eight rows with their answers."""
    return lessons(asked(8), style=STYLE, stage=Stage.SFT)


def pairs() -> list[Lesson]:
    """Four rows with an answer and a worse one, which answers another question."""
    rows = asked(5)
    paired = [replace(row, rejected=other.answer) for row, other in pairwise(rows)]
    return lessons(paired, style=STYLE, stage=Stage.DPO)


def grouped() -> list[Lesson]:
    """Two questions, each answered by a group."""
    return questions(asked(2), style=STYLE)


def uneven(
    asked_P: Sequence[Prompt], completions: Sequence[Sequence[Completion]]
) -> list[list[Score]]:
    """Pay the answers of a group differently, whatever they say."""
    reading = Reading(value=None, how=How.UNREADABLE)
    return [
        [
            Score(value=(place + 1) / (4 * ROLLOUT.samples), parts={}, reading=reading, why="")
            for place, _ in enumerate(group)
        ]
        for group in completions
    ]


def config(backend: str, stage: str, **settings: JSON) -> RunConfig:
    """Write a run's settings: float32 on a CPU, a small adapter on the language model.

    Args:
        backend: Who computes.
        stage: Which loss.
        settings: Keys of the stage's own section.
    """
    rows = {"sft": 8, "dpo": 4, "grpo": 2 * ROLLOUT.samples}[stage]
    section: dict[str, JSON] = dict(settings)
    if stage == "grpo":
        level = str(settings.get("importance_sampling_level", "token"))
        capped = settings.get("loss_type") == "cispo"
        section = {
            "num_generations": ROLLOUT.samples,
            "max_completion_length": ROLLOUT.max_tokens,
            "temperature": ROLLOUT.temperature,
            "num_iterations": 2,
            **CLIPS[level],
            **({"epsilon_high": CAPS[level]} if capped else {}),
            **section,
        }
    raw: dict[str, JSON] = {
        "stage": stage,
        "backend": backend,
        "seed": 5,
        "model": {
            "lora": {"rank": 4, "alpha": 8, "target_modules": ["q_proj", "v_proj", "down_proj"]}
        },
        "training": {"batch_size": rows, "precision": "fp32", "learning_rate": 1e-3},
        "tracking": {"log_steps": 1},
        "save": {"steps": 10_000},
        **({stage: section} if section else {}),
    }
    if backend == "pytorch":
        raw["hardware"] = {"device": "cpu"}
    return RunConfig.model_validate(raw)


def updates(backend: str, stage: str, count: int) -> RunConfig:
    """Settings of a run over one batch, again and again.

    GRPO learns from one set of answers, so that its ratios leave 1 and its clip acts.
    """
    again = {"num_iterations": count, "beta": 0.04} if stage == "grpo" else {}
    found = config(backend, stage, **again)
    steady = {"max_steps": count, "lr_scheduler": "constant", "warmup_steps": 2}
    training = found.training.model_copy(update=steady)
    return found.model_copy(update={"training": training})


def moved(weights: Arrays, *, seed: int, spread: float) -> dict[str, npt.NDArray[np.float32]]:
    """Shift every weight of an adapter at random, the same by name."""
    return {
        name: value + _noise(name, value.shape, seed=seed) * np.float32(spread)
        for name, value in weights.items()
    }


def _noise(name: str, shape: tuple[int, ...], *, seed: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return random.normal(size=shape).astype(np.float32)


def tiny(folder: Path) -> Path:
    """Where the random model of a family lies, below the folder of a comparison."""
    return folder / "tiny_qwen2_5_vl"


def _refuse(row: str, reason: str) -> None:
    raise AssertionError(f"scene {row} skipped: {reason}")
