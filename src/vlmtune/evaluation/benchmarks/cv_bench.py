"""CV-Bench: 2,638 multiple-choice questions about counts, relations, depth and distance.

    {"idx": 0, "type": "2D", "task": "Count", "question": "How many organs are in the image?",
     "choices": ["3", "2", "1", "0"], "answer": "(C)", "source": "ADE20K", ...}

The headline is the authors' own number: their letter extraction, quirks included, and their
roll-up over sources. Beside it stand the same extraction on the content of the <answer> tags, our
own reader, and the plain mean over rows.

Source: Tong et al. 2024, arXiv:2406.16860, and its evaluation scripts; the dataset card of
nyu-visionx/CV-Bench (Apache-2.0) for columns and formula.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vlmtune.errors import DataError
from vlmtune.evaluation import metrics, readings
from vlmtune.evaluation.rows import python_list, read
from vlmtune.language.prompts import letter
from vlmtune.types import JSON, BenchmarkRow, Example, Judgement, Kind, RowSource, Verdict

ADE, COCO, OMNI = "ADE20K", "COCO", "Omni3D"
SIZES: Mapping[str, int] = MappingProxyType({ADE: 633, COCO: 805, OMNI: 1200})
"""Rows of each source in the full benchmark."""
REPOSITORY = "nyu-visionx/CV-Bench"
OFFICIAL_REQUEST = "Answer with the option's letter from the given choices directly."
_CUES = ("answer is", "answer is:", "answer:")

Rows = Callable[[RowSource], Iterator[BenchmarkRow]]
Judged = Sequence[tuple[Mapping[str, JSON], Judgement]]


def official_letter(completion: str, *, source: str) -> str:
    """Extract an answer as the benchmark's own scripts do, bit for bit.

    The cues are cut in turn, so "answer is: (C)" leaves ": (C)" after the first, and the answer
    is ":". That is theirs to keep: numbers are only comparable if everyone reads alike.

    Args:
        completion: What the model wrote.
        source: "Omni3D" is read by another script, which also drops trailing ":" and ",".

    Returns:
        One character in lower case, or "".
    """
    text = completion.lower().strip()
    for cue in _CUES:
        if cue in text:
            text = text.rpartition(cue)[2]
    trailing = ".:," if source == OMNI else "."
    return text.strip().rstrip(trailing).lstrip("(").rstrip(")")[:1]


def official_correct(extracted: str, *, answer: str, choices: Sequence[str], source: str) -> bool:
    """Compare an extracted answer with the gold one as the benchmark's own scripts do.

    Args:
        extracted: From `official_letter`.
        answer: Gold, as "(C)".
        choices: The options; for Omni3D an option of one character counts as its letter.
        source: The row's source.
    """
    gold = answer.lower()[1]
    return extracted == gold or (source == OMNI and extracted == choices[ord(gold) - ord("a")])


def roll_up(outcomes: Sequence[tuple[str, bool]]) -> dict[str, JSON]:
    """Average over sources by the authors' formula.

    Args:
        outcomes: (source, correct) of every row.

    Returns:
        `sources` (accuracy of each), `acc_2d` = (ADE20K + COCO) / 2, `acc_3d` = Omni3D,
        `cv_bench` = their mean. Where a source has no rows, what needs it is None and `refused`
        says so: a mean of what happens to be there would be another benchmark.
    """
    totals = Counter(source for source, _ in outcomes)
    correct = Counter(source for source, right in outcomes if right)
    order = [*(name for name in SIZES if name in totals), *sorted(set(totals) - set(SIZES))]
    sources = {name: correct[name] / totals[name] for name in order}
    acc_2d = (sources[ADE] + sources[COCO]) / 2 if ADE in sources and COCO in sources else None
    acc_3d = sources.get(OMNI)
    found: dict[str, JSON] = {"sources": sources, "acc_2d": acc_2d, "acc_3d": acc_3d}
    found["cv_bench"] = (acc_2d + acc_3d) / 2 if acc_2d is not None and acc_3d is not None else None
    missing = [name for name in SIZES if name not in sources]
    unknown = [name for name in sources if name not in SIZES]
    reasons = [f"no rows of {', '.join(missing)}"] if missing else []
    reasons += [f"{', '.join(unknown)} is no source of CV-Bench"] if unknown else []
    if unknown:
        found["cv_bench"] = None
    if reasons:
        found["refused"] = "; ".join(reasons) + ": the formula over sources is undefined"
    return found


def read_rows(source: RowSource) -> Iterator[BenchmarkRow]:
    """Read the benchmark from a local file or the hub."""
    return read(source, name=NAME, repository=REPOSITORY, key="idx")


@dataclass(frozen=True, slots=True, kw_only=True)
class CVBench:
    """The benchmark, over its own rows or rows in its shape.

    Attributes:
        name: As reports print it.
        source: Gives the rows.
    """

    name: str
    source: Rows = read_rows

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which an answer cannot be graded."""
        return ("question", "choices", "answer", "task", "source")

    @property
    def key(self) -> str | None:
        """Rows are named by their number in the full benchmark."""
        return "idx"

    @property
    def protocols(self) -> Mapping[str, str]:
        """Ways to ask."""
        return {
            "generate": "the model writes an answer; worded as in training",
            "generate-official": "the model writes an answer; the row's prompt, worded by the "
            "authors",
        }

    def rows(self, source: RowSource) -> Iterator[BenchmarkRow]:
        """Yield rows in the benchmark's order."""
        return self.source(source)

    def example(self, row: BenchmarkRow, *, protocol: str) -> Example:
        """Put a row as a question."""
        _, choices, _ = _gold(row.columns)
        official = protocol == "generate-official"
        if official and not row.columns.get("prompt"):
            raise DataError(f"{self.name} row {row.id} has no 'prompt'; use --protocol generate")
        return Example(
            id=f"{self.name}/{row.id}",
            images=(row.image,) if row.image is not None else (),
            question=f"{row.columns['prompt']}\n{OFFICIAL_REQUEST}"
            if official
            else str(row.columns["question"]),
            answer=str(row.columns["answer"]),
            kind=Kind.OPEN if official else Kind.CHOICE,
            choices=() if official else choices,
            source=self.name,
        )

    def candidates(self, protocol: str) -> tuple[str, ...]:
        """No protocol of this benchmark compares likelihoods."""
        return ()

    def judge(self, columns: Mapping[str, JSON], completion: str, *, thinking: bool) -> Judgement:
        """Grade one answer by the official reading, and note what the others say."""
        answer, choices, source = _gold(columns)
        raw = official_letter(completion, source=source)
        tagged = official_letter(readings.answer_content(completion), source=source)
        details: dict[str, JSON] = {}
        for key, extracted in (("official", raw), ("official_answer_tag", tagged)):
            right = official_correct(extracted, answer=answer, choices=choices, source=source)
            details[key] = {"letter": extracted, "correct": right}
        robust = readings.choice(
            str(columns["question"]), answer=answer, choices=choices, completion=completion
        )
        details["robust"] = {"verdict": robust.verdict.value, "why": robust.why}
        headline = details["official_answer_tag" if thinking else "official"]
        found = str(headline["letter"])
        letters = {letter(index)[1].lower() for index in range(len(choices))}
        readable = found in letters
        verdict = Verdict.WRONG if readable else Verdict.UNREADABLE
        return Judgement(
            verdict=Verdict.CORRECT if headline["correct"] else verdict,
            gold=answer,
            reading=f"({found.upper()})" if readable else found if headline["correct"] else "",
            groups={"task": str(columns["task"]), "source": source},
            details=details,
        )

    def summary(self, judged: Judged, *, thinking: bool) -> Mapping[str, JSON]:
        """Roll up by the official formula, for every reading."""
        found: dict[str, JSON] = {
            "official": _official(judged, key="official_answer_tag" if thinking else "official"),
            "official_reading": "content of the answer tags" if thinking else "whole completion",
            "official_raw": _official(judged, key="official"),
            "official_answer_tag": _official(judged, key="official_answer_tag"),
        }
        pairs = [
            (str(columns["source"]), judgement.details["robust"]["verdict"])
            for columns, judgement in judged
        ]
        right = [(source, verdict == Verdict.CORRECT.value) for source, verdict in pairs]
        unreadable = sum(verdict == Verdict.UNREADABLE.value for _, verdict in pairs)
        found["robust"] = {
            **roll_up(right),
            "micro": sum(correct for _, correct in right) / len(right),
            "unreadable": unreadable,
            "answered": 1 - unreadable / len(right),
        }
        found["chance"] = sum(1 / len(columns["choices"]) for columns, _ in judged) / len(judged)
        found["complete"] = dict(Counter(source for source, _ in right)) == dict(SIZES)
        if counts := [_said(columns, one) for columns, one in judged if _is_count(one)]:
            found |= {"confusion": metrics.confusion(counts), "confusion_of": "counts"}
        return found


def _is_count(judgement: Judgement) -> bool:
    return judgement.groups["task"] == "Count"


def _said(columns: Mapping[str, JSON], judgement: Judgement) -> tuple[str, str]:
    """Take the options' texts of the gold answer and of the one that was read."""
    _, choices, _ = _gold(columns)
    by_letter = {letter(index): choice for index, choice in enumerate(choices)}
    return by_letter[judgement.gold.upper()], by_letter.get(judgement.reading, "")


def _official(judged: Judged, *, key: str) -> dict[str, JSON]:
    outcomes = [
        (str(columns["source"]), bool(judgement.details[key]["correct"]))
        for columns, judgement in judged
    ]
    found = roll_up(outcomes)
    found["micro"] = sum(correct for _, correct in outcomes) / len(outcomes)
    return found


def _gold(columns: Mapping[str, JSON]) -> tuple[str, tuple[str, ...], str]:
    """Check and take a row's answer, options and source."""
    row = f"row {columns.get('idx', columns.get('question'))}"
    options = python_list(columns["choices"])
    if not isinstance(options, Sequence) or isinstance(options, str) or not options:
        raise DataError(f"CV-Bench {row}: 'choices' should be a list of options, not {options!r}")
    choices = tuple(str(option) for option in options)
    answer = columns["answer"]
    letters = [letter(index) for index in range(min(len(choices), 26))]
    if not isinstance(answer, str) or answer.upper() not in letters:
        raise DataError(
            f"CV-Bench {row}: 'answer' is {answer!r}; with {len(choices)} choices it should be one "
            f"of {', '.join(letters)}"
        )
    return answer, choices, str(columns["source"])


NAME = "CV-Bench"
BENCHMARK = CVBench(name=NAME)
