"""How well a model answers each kind of question, beside what blind guessing would earn.

"Blind" is the strongest strategy that never looks at the picture: for every wording of a question
(names of things taken out) it gives the answer that is right most often among these very rows. A
model that does not beat it has not shown that it sees.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vlmtune.evaluation.metrics import wilson
from vlmtune.language import prompts
from vlmtune.protocols import Generator, RewardFunction
from vlmtune.types import Example, Sampling

CHUNK = 100
"""Prompts handed over at a time, so that progress shows and memory stays bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindResult:
    """One line of the table.

    Attributes:
        kind: What was asked for.
        n: Questions.
        correct: Right answers.
        well_formed: Completions in the asked-for format.
        blind: Right answers of the blind strategy.
    """

    kind: str
    n: int
    correct: int
    well_formed: int
    blind: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson(self.correct, self.n)


def accuracy_by_kind(
    generator: Generator,
    examples: Sequence[Example],
    *,
    reward: RewardFunction,
    style: str,
    max_tokens: int,
    progress: Callable[[int], None] | None = None,
) -> list[KindResult]:
    """Answer every example once, greedily, and count.

    Args:
        generator: A loaded model.
        examples: Rows with an answer.
        reward: Grades; parts "accuracy" and "format" are counted.
        style: A style of `language.prompts`.
        max_tokens: Longest answer.
        progress: Called with the number of answers finished since the last call.

    Returns:
        A result per kind, in order of first appearance, and "all" last.
    """
    sampling = Sampling(samples=1, max_tokens=max_tokens, temperature=0.0)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for start in range(0, len(examples), CHUNK):
        chunk = examples[start : start + CHUNK]
        asked = [prompts.build(example, style=style) for example in chunk]
        answers = generator.generate(asked, sampling, progress=progress)
        for example, (completion,) in zip(chunk, answers, strict=True):
            score = reward.score(example, completion.text)
            for kind in (example.kind.value, "all"):
                counts[kind]["n"] += 1
                counts[kind]["correct"] += int(score.parts["accuracy"])
                counts[kind]["well_formed"] += int(score.parts["format"])
    blind = blind_by_kind(examples)
    order = [*(kind for kind in counts if kind != "all"), "all"]
    return [
        KindResult(
            kind=kind,
            n=counts[kind]["n"],
            correct=counts[kind]["correct"],
            well_formed=counts[kind]["well_formed"],
            blind=blind[kind],
        )
        for kind in order
    ]


def blind_by_kind(examples: Sequence[Example]) -> dict[str, int]:
    """Count what the blind strategy gets right, per kind and over "all"."""
    answers: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    for example in examples:
        wording = (example.kind.value, _without_things(example), len(example.choices))
        answers[wording][str(example.answer)] += 1
    right: Counter[str] = Counter()
    for (kind, _, _), golds in answers.items():
        best = golds.most_common(1)[0][1]
        right[kind] += best
        right["all"] += best
    return dict(right)


def _without_things(example: Example) -> str:
    """Take the named things out of a question, as far as the row says which they are."""
    names = [example.facts.get(key) for key in ("subject", "object", "phrase")]
    text = example.question
    for name in [*names, *example.choices]:
        if isinstance(name, str) and name:
            text = text.replace(name, "_")
    return re.sub(r"\b(red|green|blue|yellow|purple|orange|white|black) \w+", "_", text)
