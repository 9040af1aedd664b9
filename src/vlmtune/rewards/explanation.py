"""The explanation reward: does <explain> say what people said, and does it fit the picture?

    alpha * CIDEr / 10  +  (1 - alpha) * clip((100 * cosine - 15) / 20, 0, 1)

CIDEr compares with the row's reference explanations, weighing words by the whole dataset; the
cosine is that of a CLIP model between picture and text. Both are scaled by constants, never by the
batch, so that a good batch earns more than a bad one.

An explanation stands in one <explain> pair outside <think>. Where the row's gold has an answer, a
wrong answer earns nothing for being explained well. A row without references (or without a
picture, while the picture counts) is not applicable.

Source: the weighting follows the ViVQA-X reward of the vqa-nle project.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import PIL.Image

from vlmtune import discovery
from vlmtune.config import ExplanationConfig
from vlmtune.errors import ConfigError, RewardError
from vlmtune.language.normalise import LONGEST_TEXT, is_blank
from vlmtune.language.spans import gold_text, section
from vlmtune.rewards import cider
from vlmtune.rewards.cider import CorpusCider
from vlmtune.rewards.columns import Pictured, explained_rows, pictured
from vlmtune.rewards.grading import EXPLAIN, Completion, completion_text, grade
from vlmtune.rewards.options import refuse_unknown
from vlmtune.rewards.options import section as own_section
from vlmtune.types import JSON, Example, How, Reading, Score

LOWEST, SPAN = 15.0, 20.0
"""100 * cosine at which the picture's part is 0, and how much more makes it 1."""


class ImageTextScorer(Protocol):
    """What `load_scorer(model)` of a scorer's file returns."""

    def similarities(
        self, images: Sequence[PIL.Image.Image], texts: Sequence[str]
    ) -> Sequence[float]:
        """Compare each picture (mode RGB) with its own text: cosines, -1 to 1, in order."""
        ...


@functools.lru_cache(maxsize=4)
def initialize_explanation_scorer(scorer: str = "clip", model: str = "") -> ImageTextScorer:
    """Load what compares text and picture, once per process for each model.

    Args:
        scorer: "clip", or a user's .py file with `load_scorer(model)`.
        model: What it is to load.

    Raises:
        ConfigError: If there is no such scorer.
        MissingDependency: If its engine is not installed.
        CheckpointError: If the weights cannot be loaded.
    """
    loaded: ImageTextScorer = discovery.load("scorer", scorer).load_scorer(model)
    return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationRewardScorer:
    """The two halves and their weights.

    Attributes:
        alpha: Share of CIDEr, 0 to 1.
        corpus: Word weights of the dataset; needed while alpha is above 0.
        similarity: Compares text and picture; needed while alpha is below 1.
    """

    alpha: float
    corpus: CorpusCider | None = None
    similarity: ImageTextScorer | None = field(default=None, repr=False)

    def score(self, rows: Sequence[Pictured], texts: Sequence[str]) -> list[dict[str, float]]:
        """Score explanations.

        Args:
            rows: References and pictures.
            texts: One explanation a row, none blank.

        Returns:
            "explanation" with its halves "cider" and "clip", each 0 to 1; a half without a share
            is left out.

        Raises:
            RewardError: If CIDEr has no dataset to weigh words by.
        """
        found: list[dict[str, float]] = [{} for _ in texts]
        if self.alpha > 0:
            if self.corpus is None:
                raise RewardError(
                    "reward 'explanation' knows no dataset to weigh words by; call "
                    "with_references(...) on it first, or set alpha to 0"
                )
            for parts, row, text in zip(found, rows, texts, strict=True):
                parts["cider"] = self.corpus.score(text, row.references) / cider.LARGEST
        if self.alpha < 1 and texts and self.similarity is not None:
            pictures = _opened(rows)
            cosines = self.similarity.similarities(pictures, texts)
            for parts, cosine in zip(found, _checked(cosines, len(texts)), strict=True):
                parts["clip"] = min(1.0, max(0.0, (100 * cosine - LOWEST) / SPAN))
        for parts in found:
            total = self.alpha * parts.get("cider", 0) + (1 - self.alpha) * parts.get("clip", 0)
            parts["explanation"] = min(1.0, max(0.0, total))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplanationReward:
    """Pays for the explanation of a right answer.

    Attributes:
        alpha: Share of CIDEr, 0 to 1; the rest is the picture's.
        scorer: "clip", or a user's .py file.
        clip_model: What the scorer loads.
        needs_accuracy: Pay nothing where the answer is wrong.
        corpus: Word weights of the dataset; `with_references` and `prepared` fill it.
        name: How metrics call it.

    Raises:
        ConfigError: If alpha is out of its range.
    """

    alpha: float = 0.5
    scorer: str = "clip"
    clip_model: str = "openai/clip-vit-base-patch16"
    needs_accuracy: bool = True
    corpus: CorpusCider | None = None
    name: str = "explanation"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"reward.explanation.alpha is {self.alpha}; it must be from 0 to 1")

    @property
    def __name__(self) -> str:
        """TRL logs a reward under this name."""
        return self.name

    def with_references(self, references: Sequence[Sequence[str]]) -> "ExplanationReward":
        """Weigh words by these references, one list a row of the dataset.

        Raises:
            DataError: If fewer than two rows have any.
        """
        return replace(self, corpus=cider.from_references(references))

    def prepared(self, examples: Sequence[Example]) -> "ExplanationReward":
        """Weigh words by a dataset, and load the scorer before anything is spent on rollouts."""
        if self.alpha < 1:
            initialize_explanation_scorer(self.scorer, self.clip_model)
        if self.alpha == 0:
            return self
        return self.with_references([pictured(example).references for example in examples])

    def score(self, example: Example, completion: Completion) -> Score:
        """Grade one completion; a row to which it does not apply says so in `applies`."""
        return self.score_batch([example], [completion])[0] or _not_applicable()

    def score_batch(
        self, examples: Sequence[Example], completions: Sequence[Completion]
    ) -> list[Score | None]:
        """Grade a batch; None where the reward does not apply."""
        return self._scores([pictured(example) for example in examples], completions)

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[Completion], **columns: JSON
    ) -> list[float | None]:
        """Grade a batch the way TRL asks for it; None where the reward does not apply."""
        rows = explained_rows(prompts, completions, columns)
        scores = self._scores(rows, completions)
        return [None if score is None else score.value for score in scores]

    def _scores(
        self, rows: Sequence[Pictured], completions: Sequence[Completion]
    ) -> list[Score | None]:
        texts = [completion_text(completion) for completion in completions]
        told = [section(text, EXPLAIN) for text in texts]
        whys = [
            self._refusal(row, text, explanation)
            for row, text, explanation in zip(rows, texts, told, strict=True)
        ]
        paid = [index for index, why in enumerate(whys) if why == ""]
        scorer = ExplanationRewardScorer(
            alpha=self.alpha,
            corpus=self.corpus,
            similarity=initialize_explanation_scorer(self.scorer, self.clip_model)
            if paid and self.alpha < 1
            else None,
        )
        parts = scorer.score([rows[index] for index in paid], [told[index] or "" for index in paid])
        found = [None if why is None else _score({"explanation": 0.0}, "", why) for why in whys]
        for index, earned in zip(paid, parts, strict=True):
            why = ", ".join(f"{name} {value:.2f}" for name, value in earned.items())
            found[index] = _score(earned, told[index] or "", why)
        return found

    def _refusal(self, row: Pictured, text: str, explanation: str | None) -> str | None:
        """Say why an explanation earns nothing; "" where it is to be scored, None where not."""
        if (self.alpha > 0 and not row.references) or (self.alpha < 1 and row.picture is None):
            return None
        if explanation is None:
            return "not one <explain> pair outside <think>"
        if is_blank(explanation) or len(explanation) > LONGEST_TEXT:
            return f"an explanation of {len(explanation)} characters"
        if self.needs_accuracy and row.answer is not None and gold_text(str(row.answer)).strip():
            graded = grade(
                kind=row.kind,
                question=row.question,
                answer=row.answer,
                completion=text,
                choices=row.choices,
            )
            return "" if graded.parts["accuracy"] else f"it explains a wrong answer: {graded.why}"
        return ""


def _score(parts: Mapping[str, float], text: str, why: str) -> Score:
    how = How.TAGGED if text else How.UNREADABLE
    return Score(
        value=parts["explanation"],
        parts=parts,
        reading=Reading(value=" ".join(text.split()) or None, how=how),
        why=why,
    )


def _not_applicable() -> Score:
    why = "not applicable: no references or no picture"
    return replace(_score({"explanation": 0.0}, "", why), parts={}, applies=False)


def _opened(rows: Sequence[Pictured]) -> list[PIL.Image.Image]:
    """Open each picture once: the completions of one prompt share it."""
    opened: dict[int, PIL.Image.Image] = {}
    for row in rows:
        picture = row.picture
        if picture is None or id(picture) in opened:
            continue
        if isinstance(picture, PIL.Image.Image):
            opened[id(picture)] = picture.convert("RGB")
        else:
            opened[id(picture)] = picture.open()
    return [opened[id(row.picture)] for row in rows]


def _checked(cosines: Sequence[float], count: int) -> list[float]:
    found = [float(cosine) for cosine in cosines]
    if len(found) != count or not all(-1.001 <= cosine <= 1.001 for cosine in found):
        raise RewardError(
            f"the scorer of reward 'explanation' gave {len(found)} values for {count} texts, "
            f"{found[:3]}; a cosine from -1 to 1 for each is needed"
        )
    return found


def build(options: Mapping[str, JSON]) -> ExplanationReward:
    """Build it from the config's `reward` section.

    Raises:
        ConfigError: If an option is unknown or out of its range.
    """
    refuse_unknown(options, reward="explanation", has="explanation.alpha and the like")
    own = own_section(options, "explanation", ExplanationConfig)
    return ExplanationReward(
        alpha=own.alpha,
        scorer=own.scorer,
        clip_model=own.clip_model,
        needs_accuracy=own.needs_accuracy,
    )
