"""Robo2VLM-1: multiple-choice questions about robot manipulation, 6,676 in the test split.

    {"id": "...", "question": "Is the gripper open?", "choices": "['Yes', 'No', 'Unclear']",
     "correct_answer": 0, "image": ...}

`choices` is a list written as text, and `correct_answer` an index from 0. Loaders that go over the
text's characters, or take the index for a letter, grade every answer against option A.

Source: dataset card of keplerccc/Robo2VLM-1 (Apache-2.0).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vlmtune.errors import DataError
from vlmtune.evaluation import readings
from vlmtune.evaluation.rows import python_list, read
from vlmtune.language.prompts import letter
from vlmtune.types import JSON, BenchmarkRow, Example, Judgement, Kind, RowSource

REPOSITORY = "keplerccc/Robo2VLM-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Robo2VLM:
    """The benchmark."""

    name: str = "Robo2VLM"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which an answer cannot be graded."""
        return ("question", "choices", "correct_answer")

    @property
    def key(self) -> str | None:
        """Rows are named by their `id`."""
        return "id"

    @property
    def protocols(self) -> Mapping[str, str]:
        """Ways to ask."""
        return {"generate": "the model writes an answer; worded as in training"}

    def rows(self, source: RowSource) -> Iterator[BenchmarkRow]:
        """Yield rows in the file's order."""
        return read(source, name=self.name, repository=REPOSITORY, key=self.key)

    def example(self, row: BenchmarkRow, *, protocol: str) -> Example:
        """Put a row as a question."""
        answer, choices = _gold(row.columns)
        return Example(
            id=f"{self.name}/{row.id}",
            images=(row.image,) if row.image is not None else (),
            question=str(row.columns["question"]),
            answer=answer,
            kind=Kind.CHOICE,
            choices=choices,
            source=self.name,
        )

    def candidates(self, protocol: str) -> tuple[str, ...]:
        """No protocol of this benchmark compares likelihoods."""
        return ()

    def judge(self, columns: Mapping[str, JSON], completion: str, *, thinking: bool) -> Judgement:
        """Read a letter, or the text of one option, and compare."""
        answer, choices = _gold(columns)
        score = readings.choice(
            str(columns["question"]), answer=answer, choices=choices, completion=completion
        )
        return Judgement(
            verdict=score.verdict,
            gold=answer,
            reading="" if score.reading.value is None else str(score.reading.value),
            groups={"options": f"{len(choices)} options"},
            details={"why": score.why},
        )

    def summary(
        self, judged: Sequence[tuple[Mapping[str, JSON], Judgement]], *, thinking: bool
    ) -> Mapping[str, JSON]:
        """Add what guessing would score."""
        chances = [1 / len(_gold(columns)[1]) for columns, _ in judged]
        return {"chance": sum(chances) / len(chances)}


def _gold(columns: Mapping[str, JSON]) -> tuple[str, tuple[str, ...]]:
    row = f"row {columns.get('id', columns.get('question'))}"
    options = python_list(columns["choices"])
    if not isinstance(options, Sequence) or isinstance(options, str) or not options:
        raise DataError(
            f"Robo2VLM {row}: 'choices' should be a list, or one written as text, not {options!r}"
        )
    index = columns["correct_answer"]
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(options):
        raise DataError(
            f"Robo2VLM {row}: 'correct_answer' is {index!r}; with {len(options)} choices it should "
            f"be an index from 0 to {len(options) - 1}"
        )
    return letter(index), tuple(str(option) for option in options)


BENCHMARK = Robo2VLM()
