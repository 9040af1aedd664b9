"""Several rewards as one: each is asked, and what they give is weighed and added.

    accuracy 1.0, format 1.0, explanation 0.3    weights 0.45, 0.1, 0.45    total 0.685

This is the one place where rewards are added: rehearsal and trainers call the same object, and TRL
is given it as a single reward function. A reward that gives None does not apply to that completion
and is left out of its sum, which is not scaled up for it; that is TRL's rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vlmtune.errors import ConfigError
from vlmtune.language.spans import find_answer
from vlmtune.rewards.columns import columns_of
from vlmtune.rewards.custom import CustomReward, checked
from vlmtune.rewards.grading import LARGEST_FORMAT_WEIGHT, Completion, completion_text
from vlmtune.types import JSON, Example, How, Reading, Score

_ROUNDING = 1e-9
_LONGEST_SHOWN = 200
_UNREAD = Reading(value=None, how=How.UNREADABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One reward of several.

    Attributes:
        reward: A RewardFunction, or a function of a user's file.
        weight: What its value is multiplied with.
    """

    reward: Any
    weight: float

    @property
    def name(self) -> str:
        """What configs and metrics call it."""
        return str(self.reward.name)

    @property
    def largest(self) -> float:
        """The most that it adds to a sum."""
        return self.weight * float(getattr(self.reward, "largest", 1.0))

    def score(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        given: Mapping[str, JSON],
    ) -> list[Score | None]:
        """Grade a batch; None where the reward does not apply."""
        scores = self._scores(examples, completions, given)
        return [None if score is None or not score.applies else score for score in scores]

    def _scores(
        self,
        examples: Sequence[Example],
        completions: Sequence[str],
        given: Mapping[str, JSON],
    ) -> Sequence[Score | None]:
        if isinstance(self.reward, CustomReward):
            values = self.reward(completions=completions, **given)
            return [
                None if value is None else _plain(self.name, value, text)
                for value, text in zip(values, completions, strict=True)
            ]
        if hasattr(self.reward, "score_batch"):
            found: list[Score | None] = self.reward.score_batch(examples, completions)
            return found
        return [
            self.reward.score(example, text)
            for example, text in zip(examples, completions, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedReward:
    """A weighted sum of rewards.

    Attributes:
        parts: The rewards and their weights.
        name: How metrics call the sum.

    Raises:
        ConfigError: If there is no part, two have one name, or form could outweigh the answer.
    """

    parts: tuple[Part, ...]
    name: str = "weighted"

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"rewards are {names}; name at least one, and none twice")
        form = sum(part.largest for part in self.parts if part.name == "format")
        total = sum(part.largest for part in self.parts)
        if total <= 0:
            raise ConfigError(f"reward.weights of {', '.join(names)} add up to {total:g}")
        if len(names) > 1 and form > (LARGEST_FORMAT_WEIGHT + _ROUNDING) * total:
            raise ConfigError(
                f"reward.weights gives format {form / total:.2f} of the largest total; at most "
                f"{LARGEST_FORMAT_WEIGHT} is allowed, or a run learns the form before the answer"
            )

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    @property
    def largest(self) -> float:
        """The sum when every part gives full marks."""
        return sum(part.largest for part in self.parts)

    def prepared(self, examples: Sequence[Example]) -> "WeightedReward":
        """Let each part look at the rows of the run before anything is drawn."""
        parts = [replace(part, reward=prepared(part.reward, examples)) for part in self.parts]
        return replace(self, parts=tuple(parts))

    def score(self, example: Example, completion: Completion) -> Score:
        """Grade one completion."""
        return self.score_batch([example], [completion])[0]

    def score_batch(
        self,
        examples: Sequence[Example],
        completions: Sequence[Completion],
        *,
        prompts: Sequence[JSON] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
    ) -> list[Score]:
        """Grade a batch.

        Args:
            examples: One for each completion.
            completions: Texts, or lists of chat messages.
            prompts: What was asked, as a user's function is to see it; default the question as a
                chat message.
            completion_ids: Token ids, passed on to a user's function.

        Returns:
            Scores whose parts are those of the rewards, and the value of each under its own name;
            one to which none of the rewards applies says so in `applies`.

        Raises:
            RewardError: If a reward fails or gives what is no number.
        """
        texts = [completion_text(completion) for completion in completions]
        asked = [[{"role": "user", "content": example.question}] for example in examples]
        given = {
            "prompts": asked if prompts is None else prompts,
            "completion_ids": [[] for _ in texts] if completion_ids is None else completion_ids,
            **columns_of(examples),
        }
        by_part = [part.score(examples, texts, given) for part in self.parts]
        for part, scores in zip(self.parts, by_part, strict=True):
            values = [None if score is None else score.value for score in scores]
            checked(values, name=part.name, count=len(texts), ids=given["id"])
        return [self._total([scores[index] for scores in by_part]) for index in range(len(texts))]

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[Completion], **columns: JSON
    ) -> list[float | None]:
        """Grade a batch the way TRL asks for it; None where no reward applies.

        Raises:
            RewardError: If a reward fails or gives what is no number.
        """
        by_part = []
        for part in self.parts:
            values = part.reward(prompts=prompts, completions=completions, **columns)
            ids = columns.get("id")
            by_part.append(checked(values, name=part.name, count=len(completions), ids=ids))
        return [
            self._sum([values[index] for values in by_part]) for index in range(len(completions))
        ]

    def _sum(self, values: Sequence[float | None]) -> float | None:
        added = [
            part.weight * value
            for part, value in zip(self.parts, values, strict=True)
            if value is not None
        ]
        return sum(added) if added else None

    def _total(self, scores: Sequence[Score | None]) -> Score:
        values = [None if score is None else score.value for score in scores]
        parts: dict[str, float] = {}
        whys = []
        for part, score in zip(self.parts, scores, strict=True):
            if score is None:
                whys.append(f"{part.name}: not applicable")
                continue
            whys.append(f"{part.name} {score.value:.3g}: {score.why}".rstrip(": "))
            parts |= {name: value for name, value in score.parts.items() if name not in parts}
            # "accuracy" is 0 or 1 wherever it is a part; partial credit has a part of its own.
            if part.name != "accuracy" and not isinstance(part.reward, CustomReward):
                parts[part.name] = score.value
        total = self._sum(values)
        read = [score.reading for score in scores if score is not None]
        return Score(
            value=0.0 if total is None else total,
            parts=parts,
            reading=next((one for one in read if one.how is not How.UNREADABLE), _UNREAD),
            why="; ".join(whys),
            applies=total is not None,
        )


def told(reward: Any) -> str:
    """Write a reward for people: "0.45 accuracy + 0.1 format + 0.45 explanation"."""
    if not isinstance(reward, WeightedReward) or len(reward.parts) == 1:
        return str(reward.name)
    return " + ".join(f"{part.weight:.4g} {part.name}" for part in reward.parts)


def prepared(reward: Any, examples: Sequence[Example]) -> Any:
    """Let a reward look at the rows of the run, where it wants to.

    Raises:
        ConfigError: If it needs a column that the rows lack.
        DataError: If the rows have nothing that it could grade against.
    """
    return reward.prepared(examples) if hasattr(reward, "prepared") else reward


def _plain(name: str, value: float, text: str) -> Score:
    # A user's "accuracy" need not be 0 or 1, which a part of that name promises.
    part = f"own_{name}" if name in ("accuracy", "format") else name
    span = find_answer(text)
    answer = " ".join(span.text.split())[:_LONGEST_SHOWN]
    reading = Reading(value=answer, how=How.TAGGED if span.tagged else How.PHRASE)
    return Score(value=value, parts={part: value}, reading=reading if answer else _UNREAD, why="")
