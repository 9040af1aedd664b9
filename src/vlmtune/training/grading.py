"""Grades what a model wrote, and asks of the reward itself whether it can be trusted.

A reward is code that somebody wrote; training will find its holes. Before any model is graded, the
reward must give full marks to the gold answers, and nothing to an empty answer or to one that
lists every answer there is.
"""

# P prompts, G completions per prompt

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vlmtune import objectives
from vlmtune.config import RunConfig
from vlmtune.language import prompts
from vlmtune.protocols import RewardFunction
from vlmtune.rewards import WeightedReward, grade
from vlmtune.training.findings import Check, Record, judged, listed, percent
from vlmtune.training.row_checks import completion_record
from vlmtune.types import Completion, Example, How, Kind, Prompt, Score

_ROUNDING = 1e-9
_ENOUGH_ROWS = 32
"""Below this the best constant is an accident of the few rows."""
_THOUGHT = "looking at the image"
CLOSED = (Kind.RELATION, Kind.COUNT, Kind.YES_NO, Kind.CHOICE)
"""Kinds whose answers come from a known set; only these can be asked for by listing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """Rewards of a batch.

    Attributes:
        scores: [P][G], as the reward gave them.
        rewards_PG: Float64 [P, G]; 0 where the reward was no number from 0 to its largest, NaN
            where no reward applies.
        invalid: "id: value" of each such reward.
    """

    scores: tuple[tuple[Score, ...], ...]
    rewards_PG: npt.NDArray[np.float64]
    invalid: tuple[str, ...]

    def part_PG(self, name: str) -> npt.NDArray[np.float64]:
        """One part of every score; NaN where a score lacks it."""
        return np.array(
            [[score.parts.get(name, math.nan) for score in group] for group in self.scores]
        )

    @property
    def part_names(self) -> tuple[str, ...]:
        """All parts, in the order in which they first appear."""
        names = (name for group in self.scores for score in group for name in score.parts)
        return tuple(dict.fromkeys(names))

    @property
    def unreadable_PG(self) -> npt.NDArray[np.bool_]:
        """True where no answer could be read by a reward that applies."""
        return np.array(
            [
                [score.applies and score.reading.how is How.UNREADABLE for score in group]
                for group in self.scores
            ]
        )

    @property
    def known_PG(self) -> npt.NDArray[np.bool_]:
        """True where a reward applies."""
        return ~np.isnan(self.rewards_PG)

    @property
    def mean(self) -> float | None:
        """Mean reward of the answers to which one applies; None without such answers."""
        return mean_of(self.rewards_PG)


def grade_groups(
    reward: RewardFunction,
    examples: Sequence[Example],
    completions: Sequence[Sequence[Completion]],
    *,
    asked: Sequence[Prompt] | None = None,
) -> Graded:
    """Grade [P][G] completions; a reward that raises stops the run.

    Args:
        reward: A sum of rewards sees all completions at once, as it does in training.
        examples: P rows.
        completions: Their answers.
        asked: Their prompts, for a user's own functions.
    """
    scores = tuple(_grouped(reward, examples, completions, asked=asked))
    values = np.array([[score.value for score in group] for group in scores], dtype=np.float64)
    applies = np.array([[score.applies for score in group] for group in scores], dtype=np.bool_)
    valid = np.isfinite(values) & (values >= 0) & (values <= largest(reward) * (1 + _ROUNDING))
    invalid = tuple(
        f"{examples[row].id}: {values[row, column]}"
        for row, column in np.argwhere(applies & ~valid)
    )
    rewards_PG = np.where(applies, np.where(valid, values, 0.0), np.nan)
    return Graded(scores=scores, rewards_PG=rewards_PG, invalid=invalid)


def largest(reward: RewardFunction) -> float:
    """Give the most that a reward can pay: 1, unless it says otherwise."""
    return float(getattr(reward, "largest", 1.0))


def _grouped(
    reward: RewardFunction,
    examples: Sequence[Example],
    completions: Sequence[Sequence[Completion]],
    *,
    asked: Sequence[Prompt] | None,
) -> Iterator[tuple[Score, ...]]:
    if not isinstance(reward, WeightedReward):
        for example, group in zip(examples, completions, strict=True):
            yield tuple(reward.score(example, completion.text) for completion in group)
        return
    rows = [(row, completion) for row, group in enumerate(completions) for completion in group]
    scores = iter(
        reward.score_batch(
            [examples[row] for row, _ in rows],
            [completion.text for _, completion in rows],
            prompts=None if asked is None else [list(asked[row].messages) for row, _ in rows],
            completion_ids=[list(completion.token_ids) for _, completion in rows],
        )
    )
    for group in completions:
        yield tuple(itertools.islice(scores, len(group)))


def graded_records(
    completions: Sequence[Completion],
    scores: Sequence[Score],
    advantages: Sequence[float] | None,
) -> list[Record]:
    """Record the answers to one prompt with what they earned."""
    records = []
    for index, (completion, score) in enumerate(zip(completions, scores, strict=True)):
        records.append(
            completion_record(completion)
            | {
                "reward": finite(score.earned),
                "parts": {name: finite(value) for name, value in score.parts.items()},
                "reading": {"value": score.reading.value, "how": score.reading.how.value},
                # A reward without an accuracy says nothing about right and wrong.
                "verdict": score.verdict.value if "accuracy" in score.parts else "",
                "why": score.why,
                "advantage": None if advantages is None else float(advantages[index]),
            }
        )
    return records


def informal_score(example: Example, completion: Completion) -> Score | None:
    """Grade a single answer where the kind allows it, for stages that have no reward."""
    if example.kind not in CLOSED or example.answer is None:
        return None
    return grade(
        kind=example.kind,
        question=example.question,
        answer=example.answer,
        completion=completion.text,
        choices=example.choices,
    )


def reward_checks(
    reward: RewardFunction, examples: Sequence[Example], graded: Graded, *, style: str
) -> list[Check]:
    """Ask the reward about answers whose worth is known."""
    total, top = int(graded.known_PG.sum()), largest(reward)
    return [
        *_applies_check(graded),
        judged(
            "rewards_valid",
            f"{len(graded.invalid)} of {total} rewards are no number in [0, {top:g}]: "
            f"{listed(graded.invalid)}"
            if graded.invalid
            else f"all {total} rewards are numbers in [0, {top:g}]",
            fail=bool(graded.invalid),
            remedy=f"mend reward '{reward.name}'",
        ),
        _gold_check(reward, examples, style=style),
        _empty_check(reward, examples),
        _listing_check(reward, examples, style=style),
        _constant_check(reward, examples, graded, style=style),
    ]


def batch_advantages(graded: Graded, *, config: RunConfig) -> npt.NDArray[np.float64]:
    """Compute advantages as training will, float64 [P, G]."""
    return objectives.group_advantages(graded.rewards_PG, scale=config.grpo.scale_rewards)


def mean_of(rewards: npt.NDArray[np.float64]) -> float | None:
    """Average rewards that apply; None where there are none."""
    known = rewards[~np.isnan(rewards)]
    return float(known.mean()) if known.size else None


def spread_of(rewards: npt.NDArray[np.float64]) -> float | None:
    """Take the sample standard deviation of rewards that apply; None of fewer than two."""
    known = rewards[~np.isnan(rewards)]
    return float(known.std(ddof=1)) if known.size > 1 else None


def finite(value: float) -> float | None:
    """Keep a number that JSON can hold; None stands for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


def _applies_check(graded: Graded) -> list[Check]:
    """Say how many answers no reward applies to; nothing where there are none."""
    left_out = int((~graded.known_PG).sum())
    if not left_out:
        return []
    return [
        judged(
            "rewards_apply",
            f"no reward applies to {left_out} of {graded.known_PG.size} answers; they are left out "
            "of every mean, and nothing is learned from them",
            fail=left_out == graded.known_PG.size,
            warn=True,
            remedy="add a reward that grades such rows, or leave the rows out",
        )
    ]


def _gold_check(reward: RewardFunction, examples: Sequence[Example], *, style: str) -> Check:
    paid = {example.id: _pays_gold(reward, example, style=style) for example in _answered(examples)}
    missed = [name for name, pays in paid.items() if pays is False]
    asked = sum(pays is not None for pays in paid.values())
    return judged(
        "gold_answers",
        f"{len(missed)} of {asked} gold answers would not earn full marks: {listed(missed)}"
        if missed
        else f"all {asked} gold answers earn full marks",
        fail=bool(missed) and len(missed) == asked,
        warn=bool(missed),
        remedy="no answer to these rows can ever be right; correct their kind or answer",
    )


def _pays_gold(reward: RewardFunction, example: Example, *, style: str) -> bool | None:
    """Without an accuracy there are no full marks; then the gold must at least earn something.

    None where the reward does not apply to the row.
    """
    said = prompts.target_text(style=style, answer=str(example.answer), rationale=_THOUGHT)
    score = reward.score(example, said)
    if not score.applies:
        return None
    return score.parts["accuracy"] >= 1.0 if "accuracy" in score.parts else score.value > 0.0


def _empty_check(reward: RewardFunction, examples: Sequence[Example]) -> Check:
    paid = [example.id for example in _answered(examples) if reward.score(example, "").value > 0.0]
    return judged(
        "empty_answer",
        f"an empty answer is paid in {len(paid)} rows: {listed(paid)}"
        if paid
        else "an empty answer earns nothing",
        fail=bool(paid),
        remedy=f"mend reward '{reward.name}': training would learn to say nothing",
    )


def _listing_check(reward: RewardFunction, examples: Sequence[Example], *, style: str) -> Check:
    golds = _golds_by_kind(examples)
    several = {kind: values for kind, values in golds.items() if len(values) > 1}
    paid = [
        example.id
        for example in _answered(examples)
        if example.kind in several
        and _worth(reward, example, ", ".join(several[example.kind]), style=style) > 0.0
    ]
    detail = "naming every answer at once earns nothing"
    if not several:
        detail = "not asked: no kind of question has two different answers here"
    return judged(
        "listed_answers",
        f"naming every answer at once is paid in {len(paid)} rows: {listed(paid)}"
        if paid
        else detail,
        fail=bool(paid),
        remedy=f"mend reward '{reward.name}': training would learn to list",
    )


def _constant_check(
    reward: RewardFunction, examples: Sequence[Example], graded: Graded, *, style: str
) -> Check:
    """Compare the model with the best answer that never looks at the picture."""
    name = "constant_answer"
    answered = [index for index, example in enumerate(examples) if example.answer is not None]
    accuracy = graded.part_PG("accuracy")[answered] if answered else np.empty((0, 0))
    golds = _golds_by_kind(examples)
    if not golds:
        return judged(name, "not asked: no kind of question here has a known set of answers")
    if accuracy.size == 0 or np.isnan(accuracy).all():
        return judged(name, "not asked: the reward has no accuracy")
    hits = 0.0
    for kind, values in golds.items():
        rows = [example for example in _answered(examples) if example.kind is kind]
        hits += max(
            sum(_worth(reward, example, value, style=style) for example in rows) for value in values
        )
    best = hits / sum(example.kind in golds for example in _answered(examples))
    mean = float(np.nanmean(accuracy))
    few = "" if len(answered) >= _ENOUGH_ROWS else ", on too few rows to judge"
    return judged(
        name,
        f"the best constant answer per kind is right in {percent(best)}, the model in "
        f"{percent(mean)}{few}",
        warn=best >= mean and len(answered) >= _ENOUGH_ROWS,
        remedy="answers that ignore the picture would do as well: balance the answers, or use "
        "more rows",
    )


def _worth(reward: RewardFunction, example: Example, answer: str, *, style: str) -> float:
    """Accuracy of a well-formed answer; its whole value where a reward has no accuracy."""
    said = prompts.target_text(style=style, answer=answer, rationale=_THOUGHT)
    score = reward.score(example, said)
    return score.parts.get("accuracy", score.value)


def _answered(examples: Sequence[Example]) -> list[Example]:
    return [example for example in examples if example.answer is not None]


def _golds_by_kind(examples: Sequence[Example]) -> dict[Kind, list[str]]:
    found: defaultdict[Kind, dict[str, None]] = defaultdict(dict)
    for example in _answered(examples):
        if example.kind in CLOSED:
            found[example.kind][str(example.answer)] = None
    return {kind: list(values) for kind, values in found.items()}
