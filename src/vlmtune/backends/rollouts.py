"""Draw groups of answers and grade them: what every GRPO trainer here learns from.

    roll_out -> Rollout(groups=(Group(row=3, completions=8, scores=8), ...), drawn=5)

Drawing goes through a `Generator`, grading through the run's reward, advantages through
`objectives.py`; the backends differ in the update alone. With resampling, a group whose answers
all earn the same makes room for another prompt (the dynamic sampling of DAPO).
"""

# P prompts, G completions per prompt

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vlmtune import objectives
from vlmtune.backends.team import ALONE, Team
from vlmtune.protocols import Generator
from vlmtune.types import Completion, Finish, How, Prompt, Sampling, Score

Grade = Callable[[Sequence[Prompt], Sequence[Sequence[Completion]]], Sequence[Sequence[Score]]]
"""Prompts and their completions [P][G] -> their scores [P][G]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Answers to one prompt.

    Attributes:
        row: Place of the prompt among the run's rows.
        prompt: What was asked.
        completions: G answers.
        scores: What they earned.
    """

    row: int
    prompt: Prompt
    completions: tuple[Completion, ...]
    scores: tuple[Score, ...]

    @property
    def rewards(self) -> tuple[float, ...]:
        """What each answer earned; NaN where no reward applies to it."""
        return tuple(score.earned for score in self.scores)

    @property
    def flat(self) -> bool:
        """Whether all answers earned the same, so that nothing can be learned from them."""
        return bool(objectives.flat_groups([self.rewards])[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The groups of one update.

    Attributes:
        number: Which drawing of the run this is, from 0.
        groups: P groups.
        drawn: Groups that were drawn, those that were replaced included.
        flat: How many of all drawn were flat; a group with fewer than two rewards is.
    """

    number: int
    groups: tuple[Group, ...]
    drawn: int
    flat: int

    @property
    def rewards_PG(self) -> npt.NDArray[np.float64]:
        """Rewards of all groups; NaN where none applies."""
        return np.array([group.rewards for group in self.groups], dtype=np.float64)

    def metrics(self) -> dict[str, float]:
        """Numbers that no trainer knows, by the names that a rehearsal uses."""
        drawn = [score for group in self.groups for score in group.scores]
        scores = [score for score in drawn if score.applies]
        completions = [completion for group in self.groups for completion in group.completions]
        cut = sum(completion.finish is not Finish.STOP for completion in completions)
        found = {
            "reward/flat_groups": self.flat / self.drawn,
            "completions/truncated": cut / len(completions),
        }
        if scores:
            unreadable = sum(score.reading.how is How.UNREADABLE for score in scores)
            found["reward/mean"] = float(np.nanmean(self.rewards_PG))
            found["answers/unreadable"] = unreadable / len(scores)
        if len(scores) < len(drawn):
            found["reward/not_applicable"] = 1 - len(scores) / len(drawn)
        if self.drawn > len(self.groups):
            found["reward/flat_groups_left"] = float(np.mean([group.flat for group in self.groups]))
            found["reward/resampled_groups"] = float(self.drawn - len(self.groups))
        for name, values in _parts(scores).items():
            found[f"reward/parts/{name}"] = float(np.mean(values))
        return found


Observe = Callable[[Rollout, int, bool], None]
"""Told of a rollout, of the updates made before it, and whether it is for training."""


def roll_out(
    generator: Generator,
    rows: Sequence[int],
    prompts: Sequence[Prompt],
    *,
    grade: Grade,
    sampling: Sampling,
    number: int,
    resample: int = 0,
    team: Team = ALONE,
) -> Rollout:
    """Draw and grade the groups of one update.

    Args:
        generator: The model as it is now.
        rows: Places of the P prompts to ask.
        prompts: All prompts of the run, by place; others than `rows` serve as replacements.
        grade: The run's reward.
        sampling: How to draw; its seed is the run's, and each drawing has its own.
        number: Which drawing of the run this is, from 0.
        resample: How often a flat group is replaced by another prompt's, at most.
        team: Processes that draw other rows of the same update; all get what one process would.

    Source: Yu et al. 2025, arXiv:2503.14476, section 3.2 (dynamic sampling), bounded by `resample`.
    """
    groups = _groups(generator, rows, prompts, grade=grade, sampling=_own(sampling, number, 0))
    drawn, flat = len(groups), sum(group.flat for group in groups)
    asked = [row for part in team.gather(list(rows)) for row in part] if resample else []
    spare = _spare(len(prompts), asked, seed=sampling.seed, number=number)
    for attempt in range(1, resample + 1):
        flags = [flag for part in team.gather([group.flat for group in groups]) for flag in part]
        places = [place for place, is_flat in enumerate(flags) if is_flat][: len(spare)]
        if not places:
            break
        others, spare = spare[: len(places)], spare[len(places) :]
        first = team.rank * len(groups)
        own = {
            place - first: other
            for place, other in zip(places, others, strict=True)
            if first <= place < first + len(groups)
        }
        replaced = _groups(
            generator,
            list(own.values()),
            prompts,
            grade=grade,
            sampling=_own(sampling, number, attempt),
        )
        for place, group in zip(own, replaced, strict=True):
            groups[place] = group
        drawn += len(replaced)
        flat += sum(group.flat for group in replaced)
    return Rollout(number=number, groups=tuple(groups), drawn=drawn, flat=flat)


def gathered(rollout: Rollout, prompts: Sequence[Prompt], *, team: Team) -> Rollout:
    """Put together what the processes of a team drew for one update, in the order of their ranks.

    Args:
        rollout: What this process drew.
        prompts: All prompts, by place; they are not sent.
        team: All of them; every one gets the whole.
    """
    if team.size == 1:
        return rollout
    own = [(group.row, group.completions, _sendable(group.scores)) for group in rollout.groups]
    parts = team.gather((own, rollout.drawn, rollout.flat))
    groups = tuple(
        Group(row=row, prompt=prompts[row], completions=completions, scores=scores)
        for part, _, _ in parts
        for row, completions, scores in part
    )
    return Rollout(
        number=rollout.number,
        groups=groups,
        drawn=sum(drawn for _, drawn, _ in parts),
        flat=sum(flat for _, _, flat in parts),
    )


def _sendable(scores: Sequence[Score]) -> tuple[Score, ...]:
    """A reward may keep its parts in a mapping that cannot be pickled."""
    return tuple(replace(score, parts=dict(score.parts)) for score in scores)


def advantages(rewards_PG: npt.ArrayLike, *, scale: objectives.Scale) -> npt.NDArray[np.float64]:
    """Compare the answers of each group, as `objectives.group_advantages` says, [P, G]."""
    return objectives.group_advantages(rewards_PG, scale=scale)


def _groups(
    generator: Generator,
    rows: Sequence[int],
    prompts: Sequence[Prompt],
    *,
    grade: Grade,
    sampling: Sampling,
) -> list[Group]:
    if not rows:
        return []
    asked = [prompts[row] for row in rows]
    completions = generator.generate(asked, sampling)
    scores = grade(asked, completions)
    return [
        Group(row=row, prompt=prompt, completions=tuple(answers), scores=tuple(earned))
        for row, prompt, answers, earned in zip(rows, asked, completions, scores, strict=True)
    ]


def _own(sampling: Sampling, number: int, attempt: int) -> Sampling:
    """Give a drawing its own seed: a prompt that comes again is answered anew."""
    words = np.random.SeedSequence([sampling.seed, number, attempt]).generate_state(1)
    return Sampling(
        samples=sampling.samples,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        seed=int(words[0]),
    )


def _spare(count: int, rows: Sequence[int], *, seed: int, number: int) -> list[int]:
    """Order the other prompts; the same for the same drawing, also after a resume."""
    order = np.random.default_rng([seed, number]).permutation(count)
    asked = set(rows)
    return [int(row) for row in order if int(row) not in asked]


def _parts(scores: Sequence[Score]) -> Mapping[str, list[float]]:
    found: dict[str, list[float]] = {}
    for score in scores:
        for name, value in score.parts.items():
            found.setdefault(name, []).append(value)
    return found
