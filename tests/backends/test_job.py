"""What a backend is asked to train, as both engines read it."""

import pytest

from vlmtune.backends.job import Job
from vlmtune.config import RunConfig
from vlmtune.types import Lesson, Prompt


def lesson(name: str) -> Lesson:
    prompt = Prompt(example_id=name, messages=(), images=(), style="spatial-v1")
    return Lesson(prompt=prompt, answer="yes")


def job(stage: str = "sft", *, held: str = "") -> Job:
    config = RunConfig.model_validate({"stage": stage, "grpo": {"max_completion_length": 24}})
    return Job(
        config=config,
        lessons=[lesson(name) for name in "ab"],
        evaluation=[lesson(name) for name in held],
        journal=None,
    )


def test_rows_to_train_on_come_first_and_go_by_their_ids():
    assert job(held="cd").names == ["a", "b", "c", "d"]
    assert job().names == ["a", "b"]


@pytest.mark.parametrize(("stage", "room"), [("sft", None), ("dpo", None), ("grpo", 24)])
def test_only_answers_that_are_yet_to_be_drawn_take_room(stage, room):
    assert job(stage).room == room
