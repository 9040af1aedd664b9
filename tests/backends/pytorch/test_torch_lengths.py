"""Rows that are too long: stop, leave them out, or shrink their pictures; nothing is cut."""

import pytest

from vlmtune import config_file
from vlmtune.backends.lengths import fit
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.model import load
from vlmtune.errors import DataError
from vlmtune.models.resolve import resolve
from vlmtune.types import Lesson


@pytest.fixture(scope="module")
def reader():
    return load(resolve("pico", backend="pytorch"), Loading(device="cpu")).reader


@pytest.fixture
def lessons(prompts):
    """Text alone, one picture of 112 x 112 (16 tokens), and one of 200 x 100 (28 tokens)."""
    return [Lesson(prompt=prompts[place], answer="3") for place in (0, 1, 3)]


def limited(**flags):
    shared = {"stage": "sft", "backend": "pytorch"}
    return config_file.load(None, flags=shared | {f"training.{k}": v for k, v in flags.items()})


def lengths(reader, lessons):
    return [len(reader.read(row.prompt).ids_T) + len(reader.target_ids("3")) for row in lessons]


def test_rows_within_the_limit_are_left_alone(reader, lessons):
    found = fit(lessons, reader, limited(max_length=500))
    assert list(found.lessons) == lessons
    assert found.longest == max(lengths(reader, lessons))
    assert (found.dropped, found.resized) == ((), ())


def test_a_row_that_is_too_long_stops_the_run_and_says_by_how_much(reader, lessons):
    limit = max(lengths(reader, lessons)) - 1
    with pytest.raises(DataError, match=rf"1 of 3 rows .*row/3: {limit + 1} tokens.*is {limit}"):
        fit(lessons, reader, limited(max_length=limit))


def test_a_row_that_is_too_long_is_left_out_when_asked(reader, lessons):
    limit = max(lengths(reader, lessons)) - 1
    found = fit(lessons, reader, limited(max_length=limit, on_overlong="drop"))
    assert [row.prompt.example_id for row in found.lessons] == ["row/0", "row/1"]
    assert found.dropped == ("row/3",)


def test_a_picture_shrinks_until_the_row_fits_and_keeps_its_tokens_whole(reader, lessons):
    limit = max(lengths(reader, lessons)) - 8
    found = fit(lessons, reader, limited(max_length=limit, on_overlong="resize"))
    assert found.resized == ("row/3",)
    inputs = reader.read(found.lessons[2].prompt)
    grid = inputs.pictures["image_grid_thw"]
    assert int(inputs.token_types_T.sum()) == int(grid.prod()) // 4 < 28
    assert len(inputs.ids_T) + len(reader.target_ids("3")) <= limit


def test_text_that_is_too_long_by_itself_cannot_be_mended_by_smaller_pictures(reader, lessons):
    with pytest.raises(DataError, match="does not fit with pictures of any size"):
        fit(lessons[1:], reader, limited(max_length=20, on_overlong="resize"))


def test_the_limit_of_prompts_counts_without_the_answer(reader, lessons):
    limit = len(reader.read(lessons[2].prompt).ids_T)
    assert fit(lessons, reader, limited(max_prompt_length=limit)).lessons == tuple(lessons)
    with pytest.raises(DataError, match=r"training\.max_prompt_length is"):
        fit(lessons, reader, limited(max_prompt_length=limit - 1))


def test_no_row_left_is_an_error_under_every_policy(reader, lessons):
    with pytest.raises(DataError, match="3 of 3 rows are too long"):
        fit(lessons, reader, limited(max_length=5, on_overlong="drop"))
