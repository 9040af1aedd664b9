"""Whoever can grade one row is a reward function, and a function as TRL calls it."""

from dataclasses import dataclass

from vlmtune.rewards.columns import Row
from vlmtune.rewards.row_reward import RowReward
from vlmtune.types import Example, How, Kind, Reading, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Length(RowReward):
    """Pays a tenth for each letter."""

    name: str = "length"

    def score_row(self, row: Row) -> Score:
        said = str(row.completion)
        reading = Reading(value=said, how=How.PHRASE)
        return Score(value=len(said) / 10, parts={}, reading=reading, why="")


def test_a_batch_is_graded_row_by_row_and_columns_that_mean_nothing_are_left_alone():
    paid = Length()(
        prompts=["a?", "b?"], completions=["yes", "maybe"], answer=["yes", "no"], weather=[1, 2]
    )
    assert paid == [0.3, 0.5]


def test_an_example_earns_what_its_row_earns():
    example = Example(id="a", images=(), question="a?", answer="yes", kind=Kind.OPEN, source="s")
    assert Length().score(example, "never").value == 0.5


def test_trl_logs_it_under_its_name():
    assert Length(name="letters").__name__ == "letters"
