"""Cells: answers, options, texts and picture columns."""

from pathlib import Path

import PIL.Image
import pytest

from vlmtune.data import cells
from vlmtune.data.images import AddressImage, BytesImage, FileImage
from vlmtune.errors import DataError

FRUIT = ("apple", "pear", "plum")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  2 ", "2"),
        (2, "2"),
        (2.0, "2"),
        (2.5, "2.5"),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        (["left of"], "left of"),
        ("<think>a</think><answer>2</answer>", "<think>a</think><answer>2</answer>"),
        (None, None),
        (" ", None),
        ([], None),
    ],
)
def test_an_answer_is_written_out_and_tags_are_kept(value: object, expected: str | None) -> None:
    assert cells.answer(value, column="answer") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["2", "3"], "answer is a list"),
        ({"text": "2"}, "cell is not text: 'answer' holds dict"),
        (float("nan"), "answer is not a number"),
        (float("inf"), "answer is not a number"),
        (10**100, "answer is too long"),
        ("see <image>", "answer holds an image placeholder"),
        ("done<|im_end|>", r"text holds a special token: 'answer' has <\|im_end\|>"),
        ("\ud800", "text is not valid Unicode"),
    ],
)
def test_an_answer_that_no_completion_can_match_is_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cells.answer(value, column="answer")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ("a", "b")),
        ([3, 2.0, "1"], ("3", "2", "1")),
        ("['a', \"b's\"]", ("a", "b's")),
        ('["a", "b"]', ("a", "b")),
        ("('a', 'b')", ("a", "b")),
        (["(A) apple", "(B) pear"], ("apple", "pear")),
        (["A. apple", "B. pear"], ("apple", "pear")),
        (["(A) apple", "(C) pear"], ("(A) apple", "(C) pear")),
        (None, ()),
        ("", ()),
        ([], ()),
    ],
)
def test_choices_are_read_from_lists_and_from_lists_written_as_text(
    value: object, expected: tuple[str, ...]
) -> None:
    assert cells.choices(value, column="choices") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("apple or pear", "choices are not a list"),
        ("__import__('os')", "choices are not a list"),
        ("[" * 5000, "choices are not a list"),
        ({"A": "apple"}, "choices are not a list: 'choices' holds dict"),
        ("['a' 'b']", "wrong number of choices: 'choices' has 1"),
        (["a"], "wrong number of choices"),
        (["a"] * 27, "wrong number of choices: 'choices' has 27"),
        (["a", None], "choice is empty"),
        (["a", ["b", "c"]], "answer is a list"),
    ],
)
def test_choices_that_cannot_be_lettered_are_refused(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cells.choices(value, column="choices")


@pytest.mark.parametrize(
    "value",
    [
        "(B)",
        "B",
        "b",
        "B.",
        "B)",
        "(b)",
        1,
        1.0,
        "1",
        "pear",
        " PEAR ",
        "(B) pear",
        "B. pear",
        ["B"],
    ],
)
def test_every_way_to_name_the_second_option_becomes_its_letter(value: object) -> None:
    assert cells.option(value, options=FRUIT, column="answer") == "(B)"


def test_a_tagged_option_is_checked_and_kept_as_it_is() -> None:
    tagged = "<think>round</think>\n\n<answer>B</answer>"
    assert cells.option(tagged, options=FRUIT, column="solution") == tagged
    with pytest.raises(DataError, match="not one of the choices: 'solution' is 'F'"):
        cells.option("<answer>F</answer>", options=FRUIT, column="solution")


@pytest.mark.parametrize("value", ["(D)", "D", 3, -1, "fig", "(B) apple", "A or B", "3"])
def test_an_answer_outside_the_choices_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="answer is not one of the choices"):
        cells.option(value, options=FRUIT, column="answer")


def test_numbers_as_options_are_told_from_indices() -> None:
    numbers = ("3", "2", "1", "0")
    assert cells.option("(C)", options=numbers, column="answer") == "(C)"
    assert cells.option("3", options=numbers, column="answer") == "(A)", "text comes before index"
    with pytest.raises(
        DataError, match=r"could mean two choices: 'answer' is 3, which fits \(A\) or"
    ):
        cells.option(3, options=numbers, column="answer")


def test_the_same_option_twice_needs_a_letter() -> None:
    twice = ("pear", "pear")
    assert cells.option("B", options=twice, column="answer") == "(B)"
    with pytest.raises(DataError, match="could mean two choices"):
        cells.option("pear", options=twice, column="answer")


def test_placeholders_are_counted_and_taken_out() -> None:
    assert cells.asked("<image><image>\nWhich one? ", column="prompt") == ("Which one?", 2)


def test_pictures_come_as_paths_bytes_or_both(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    value = ["a.png", b"raw", {"bytes": b"raw", "path": "b.png"}, {"bytes": None, "path": "a.png"}]
    found = list(cells.pictures(value, column="images", folder=tmp_path, label="row"))
    path = str(tmp_path / "a.png")
    assert found == [
        FileImage(path),
        BytesImage("row#image2", b"raw"),
        BytesImage("row#image3/b.png", b"raw"),
        FileImage(path),
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("file:///etc/passwd", "image is an address of a kind that is not read"),
        ("data:text/html;base64,AAAA", "image is an address of a kind that is not read"),
        ("data:image/png;base64,A?A", "image is not base64"),
        ("s3://bucket/a.png", "image is an address"),
        (7, "image is neither a path nor bytes: 'image' holds int"),
        ([None], "image is neither a path nor bytes"),
        ({"bytes": None, "path": None}, "image is neither"),
        ("nothing.png", "image not found"),
        (".", "image is a folder"),
        ("a\0b", "image path cannot be used"),
    ],
)
def test_a_picture_that_is_not_there_is_refused(
    value: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        list(cells.pictures(value, column="image", folder=tmp_path, label="row"))


def test_addresses_and_inline_pictures_are_taken_unopened(tmp_path: Path) -> None:
    values = ["https://example.org/a.png", "data:image/png;base64,iVBORw0K"]
    found = list(cells.pictures(values, column="image", folder=tmp_path, label="row"))
    assert found == [
        AddressImage("https://example.org/a.png"),
        BytesImage("row#image2", b"\x89PNG\r\n"),
    ]


def test_a_decoded_picture_is_kept_losslessly(tmp_path: Path) -> None:
    image = PIL.Image.linear_gradient("L").convert("RGB")
    (found,) = cells.pictures(image, column="image", folder=tmp_path, label="row")
    assert found.open().tobytes() == image.tobytes()
