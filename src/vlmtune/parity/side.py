"""One engine's findings: everything of the assignment, as arrays by name, in one file.

    ids/choices                       token ids of prompts and answers, one after the other
    pico/logits/3                     float32 [T, V]
    grpo/dapo, sequence, KL/gradient/model.language_model.layers.0.self_attn.q_proj.lora_A

Whoever comes first draws the answers that both score.
"""

import importlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vlmtune.backends.job import Job
from vlmtune.backends.rollouts import advantages
from vlmtune.config import RewardConfig
from vlmtune.parity import assignment
from vlmtune.parity.assignment import Size
from vlmtune.parity.layouts import LAYOUTS, rows
from vlmtune.parity.lines import EXACT
from vlmtune.rewards import build_reward
from vlmtune.training.grading import grade_groups
from vlmtune.training.journal import METRICS, RunJournal
from vlmtune.types import Completion, Sampling

GREEDY = Sampling(max_tokens=64, temperature=0.0)
DRAWN = Sampling(samples=4, max_tokens=64, temperature=1.0, seed=3)
STAGES = ("sft", "dpo", "grpo")
Findings = dict[str, npt.NDArray[Any]]
Say = Callable[[str], None]


def compute(backend: str, folder: Path, *, size: Size, say: Say) -> Path:
    """Compute the assignment on one engine.

    Args:
        backend: "mlx" or "pytorch".
        folder: Of the comparison; `assignment.tiny` lies there, and the answers that both score.
        size: How much.
        say: Told what comes next.

    Returns:
        The file of findings.
    """
    work = _Work(backend, folder, size)
    say("token ids and pixels")
    work.read()
    say("answers and rewards")
    work.answer()
    say("logits and log-probabilities")
    work.score("pico", count=size.scored)
    work.score_exactly(count=size.scored)
    work.score("random", count=size.random)
    say("losses and gradients")
    work.grade()
    for stage in STAGES:
        say(f"{size.updates} updates of {stage}")
        work.train(stage)
    path = folder / f"{backend}.npz"
    arrays: dict[str, Any] = work.found
    np.savez(path, **arrays)
    return path


class _Work:
    """An assignment that is being done.

    Attributes:
        found: What was computed, by name.
    """

    def __init__(self, backend: str, folder: Path, size: Size) -> None:
        self.found: Findings = {}
        self._engine = importlib.import_module(f"vlmtune.backends.{backend}.parity")
        self._backend = backend
        self._folder = folder
        self._size = size
        self._readers = {"pico": self._engine.Reader("pico")}
        self._answers: dict[str, Any] = {}

    def read(self) -> None:
        """Tokenise rows of every layout, and open pictures."""
        reader, size = self._readers["pico"], self._size
        for layout in LAYOUTS:
            examples = rows(layout, count=size.rows)
            prompts = assignment.worded(examples)
            encoded = [
                reader.generator.encode(prompt, example.answer or "")
                for prompt, example in zip(prompts, examples, strict=True)
            ]
            ids = [np.array([*one.prompt_ids, -1, *one.target_ids, -2]) for one in encoded]
            self.found[f"ids/{layout}"] = np.concatenate(ids)
            for place, prompt in enumerate(prompts[: size.pictured]):
                pixels = reader.pixels(prompt)
                if pixels is not None:
                    self.found[f"pixels/{layout}/{place}"] = pixels

    def answer(self) -> None:
        """Answer greedily, and draw groups that the reward grades."""
        reader, size = self._readers["pico"], self._size
        generator = reader.generator
        greedy = generator.generate(assignment.worded(assignment.asked(size.greedy)), GREEDY)
        for place, group in enumerate(greedy):
            self.found[f"greedy/{place}"] = np.array(group[0].token_ids)
        for place, prompt in enumerate(assignment.worded(assignment.asked(size.greedy))):
            self.found[f"greedy_logps/{place}"] = reader.log_probabilities(
                prompt, [greedy[place][0].token_ids], temperature=1.0
            )
        examples = assignment.asked(size.drawn)
        drawn = generator.generate(assignment.worded(examples), DRAWN)
        for place, group in enumerate(drawn):
            for sample, one in enumerate(group):
                self.found[f"drawn/{place}/{sample}"] = np.array(one.token_ids)
        graded = grade_groups(build_reward(RewardConfig(), examples=examples), examples, drawn)
        self.found["rewards"] = graded.rewards_PG
        self.found["advantages"] = advantages(graded.rewards_PG, scale="group")
        self._answers = self._shared(generator)

    def _shared(self, generator: Any) -> dict[str, Any]:
        """Draw the answers that both sides score, or take those that the other side drew."""
        path = self._folder / "answers.json"
        if not path.exists():
            scored = assignment.worded(assignment.asked(self._size.scored))
            groups = [lesson.prompt for lesson in assignment.grouped()]
            drawn = {
                "scored": _ids(generator.generate(scored, assignment.ROLLOUT)),
                "groups": _ids(generator.generate(groups, assignment.ROLLOUT)),
            }
            path.write_text(json.dumps(drawn), encoding="utf-8")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def score(self, model: str, *, count: int) -> None:
        """Compute logits and log-probabilities of drawn answers."""
        if model not in self._readers:
            self._readers[model] = self._engine.Reader(str(assignment.tiny(self._folder)))
        reader, answers = self._readers[model], self._answers["scored"]
        for place, prompt in enumerate(assignment.worded(assignment.asked(count))):
            self.found[f"{model}/logits/{place}"] = reader.logits(prompt, answers[place][0])
            self.found[f"{model}/logps/{place}"] = reader.log_probabilities(
                prompt, answers[place], temperature=assignment.ROLLOUT.temperature
            )

    def score_exactly(self, *, count: int) -> None:
        """Compute the same log-probabilities of pico in float64, where the engine can."""
        for place, prompt in enumerate(assignment.worded(assignment.asked(count))):
            exact = self._readers["pico"].exactly(
                prompt,
                self._answers["scored"][place],
                temperature=assignment.ROLLOUT.temperature,
            )
            if exact is not None:
                self.found[f"{EXACT}pico/logps/{place}"] = exact

    def grade(self) -> None:
        """Compute every loss and its gradient by one adapter."""
        with tempfile.TemporaryDirectory() as scratch:
            journal = _journal(Path(scratch))
            config = assignment.config(self._backend, "sft")
            trainee = self._engine.Trainee(config, "pico", journal)
            start = trainee.weights()
            self._note("start", start)
            old = assignment.moved(start, seed=1, spread=assignment.OLD_SPREAD)
            trainee.put(old)
            loss, gradient = trainee.sft(
                Job(config=config, lessons=assignment.supervised(), journal=journal)
            )
            self._graded("sft", loss, gradient)
            for name in self._size.dpo:
                config = assignment.config(
                    self._backend, "dpo", beta=0.3, **assignment.DPO_LOSSES[name]
                )
                loss, gradient = trainee.dpo(
                    Job(config=config, lessons=assignment.pairs(), journal=journal), now=old
                )
                self._graded(f"dpo/{name}", loss, gradient)
            self._grpo(trainee, journal, old)

    def _grpo(self, trainee: Any, journal: RunJournal, old: assignment.Arrays) -> None:
        now = assignment.moved(old, seed=2, spread=assignment.NOW_SPREAD)
        for loss_type, level, beta in self._size.grpo:
            config = assignment.config(
                self._backend,
                "grpo",
                loss_type=loss_type,
                importance_sampling_level=level,
                beta=beta,
            )
            loss, gradient, numbers = trainee.grpo(
                Job(config=config, lessons=assignment.grouped(), journal=journal),
                answers=self._by_prompt(),
                grade=assignment.uneven,
                old=old,
                now=now,
            )
            name = f"grpo/{loss_type}, {level}{', KL' if beta else ''}"
            self._graded(name, loss, gradient)
            self.found |= {f"{name}/{one}": value for one, value in numbers.items()}

    def train(self, stage: str) -> None:
        """Make updates of a stage with the engine's own trainer."""
        config = assignment.updates(self._backend, stage, self._size.updates)
        lessons = {
            "sft": assignment.supervised,
            "dpo": assignment.pairs,
            "grpo": assignment.grouped,
        }[stage]()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            journal = _journal(folder)
            trainee = self._engine.Trainee(config, "pico", journal)
            trainee.train(
                Job(config=config, lessons=lessons, journal=journal),
                answers=self._by_prompt(),
                grade=assignment.uneven,
            )
            lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
        self._note(f"updates/{stage}/adapter", trainee.weights())
        for name in ("loss", "kl", "clip_ratio/region_mean"):
            values = [line[name] for line in lines if name in line]
            if values:
                self.found[f"updates/{stage}/{name}"] = np.array(values)

    def _by_prompt(self) -> dict[str, list[tuple[int, ...]]]:
        return {
            lesson.prompt.example_id: [
                tuple(ids[: len(ids) - assignment.CUT * place]) for place, ids in enumerate(group)
            ]
            for lesson, group in zip(assignment.grouped(), self._answers["groups"], strict=True)
        }

    def _graded(
        self, name: str, loss: float, gradient: Mapping[str, npt.NDArray[np.float32]]
    ) -> None:
        self.found[f"{name}/loss"] = np.array(loss)
        self._note(f"{name}/gradient", gradient)

    def _note(self, name: str, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        for layer, value in weights.items():
            self.found[f"{name}/{layer}"] = value


def _ids(groups: Sequence[Sequence[Completion]]) -> list[list[list[int]]]:
    return [[list(one.token_ids) for one in group] for group in groups]


def _journal(folder: Path) -> RunJournal:
    return RunJournal(
        folder,
        model_folder=folder / "model",
        resume_from=None,
        keep=None,
        advance=lambda *_: None,
    )
