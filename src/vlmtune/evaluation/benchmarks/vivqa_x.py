"""ViVQA-X: Vietnamese questions about COCO pictures, 1,968 in the test split.

    {"question": "có bao nhiêu con mèo?", "image_name": "COCO_val2014_000000000042.jpg",
     "answer": "hai", "question_type": "how many", "answer_type": "number",
     "explanation": ["..."], "image_id": 42, "question_id": 42000}

Answers count when they are equal after Unicode composition, case and punctuation are levelled;
"có" and "đúng" are one answer. There is no hub set: the rows are a JSON list from the authors, and
pictures are COCO 2014.

Source: Duong et al., ViVQA-X (VLAI-AIVN/ViVQA-X), for columns and splits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vlmtune.errors import DataError
from vlmtune.evaluation import metrics, readings
from vlmtune.evaluation.rows import read
from vlmtune.language.normalise import plain
from vlmtune.types import JSON, BenchmarkRow, Example, Judgement, Kind, RowSource, Verdict

_SAME: Mapping[str, str] = MappingProxyType({"đúng": "có", "yes": "có", "no": "không"})
_ENGLISH = MappingProxyType({"có": readings.YES, "không": readings.NO})


@dataclass(frozen=True, slots=True, kw_only=True)
class ViVQAX:
    """The benchmark."""

    name: str = "ViVQA-X"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which an answer cannot be graded."""
        return ("question", "answer")

    @property
    def key(self) -> str | None:
        """Rows are named by their `question_id`."""
        return "question_id"

    @property
    def protocols(self) -> Mapping[str, str]:
        """Ways to ask."""
        return {"generate": "the model writes an answer; worded as in training"}

    def rows(self, source: RowSource) -> Iterator[BenchmarkRow]:
        """Yield rows in the file's order."""
        images = ("image_name", "image")
        return read(source, name=self.name, repository=None, key=self.key, images=images)

    def example(self, row: BenchmarkRow, *, protocol: str) -> Example:
        """Put a row as a question."""
        return Example(
            id=f"{self.name}/{row.id}",
            images=(row.image,) if row.image is not None else (),
            question=str(row.columns["question"]),
            answer=str(row.columns["answer"]),
            kind=Kind.OPEN,
            source=self.name,
        )

    def candidates(self, protocol: str) -> tuple[str, ...]:
        """No protocol of this benchmark compares likelihoods."""
        return ()

    def judge(self, columns: Mapping[str, JSON], completion: str, *, thinking: bool) -> Judgement:
        """Compare the answer, out of its tags where it has some, with the gold one."""
        gold = _level(str(columns["answer"]))
        if not gold:
            raise DataError(
                f"ViVQA-X question {str(columns['question'])[:80]!r} has no answer to compare with"
            )
        found = _level(readings.answer_content(completion))
        verdict = Verdict.CORRECT if found == gold else Verdict.WRONG
        return Judgement(
            verdict=verdict if found else Verdict.UNREADABLE,
            gold=gold,
            reading=found,
            groups={
                name: str(columns[name])
                for name in ("answer_type", "question_type")
                if columns.get(name)
            },
        )

    def summary(
        self, judged: Sequence[tuple[Mapping[str, JSON], Judgement]], *, thinking: bool
    ) -> Mapping[str, JSON]:
        """Add the bias towards yes over questions whose answer is yes or no."""
        pairs = [
            (_ENGLISH[judgement.gold], _ENGLISH.get(judgement.reading, ""))
            for _, judgement in judged
            if judgement.gold in _ENGLISH
        ]
        return {"yes_bias": metrics.yes_bias(pairs)} if pairs else {}


def _level(text: str) -> str:
    found = plain(text)
    return _SAME.get(found, found)


BENCHMARK = ViVQAX()
