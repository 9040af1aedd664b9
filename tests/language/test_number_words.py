"""Number words: every number from 0 to 9999, spelled by rule, comes back."""

import pytest

from vlmtune.language.number_words import parse

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
CHU_SO = ("không", "một", "hai", "ba", "bốn", "năm", "sáu", "bảy", "tám", "chín")


def english(number: int, joint: str = "") -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        rest = f" {ONES[number % 10]}" if number % 10 else ""
        return TENS[number // 10] + rest
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = f" {joint}{english(number % size, joint)}" if number % size else ""
    return f"{english(number // size)} {name}{rest}"


def vietnamese(number: int) -> str:
    if number >= 1000:
        rest = number % 1000
        if not rest:
            return f"{CHU_SO[number // 1000]} nghìn"
        hundreds = f"{CHU_SO[rest // 100]} trăm"
        return f"{CHU_SO[number // 1000]} nghìn {hundreds}{below_hundred(rest % 100)}".strip()
    if number >= 100:
        return f"{CHU_SO[number // 100]} trăm{below_hundred(number % 100)}"
    return CHU_SO[number] if number < 10 else below_hundred(number).strip()


def below_hundred(rest: int) -> str:
    tens, unit = divmod(rest, 10)
    if not rest:
        return ""
    if not tens:
        return f" linh {CHU_SO[unit]}"
    head = " mười" if tens == 1 else f" {CHU_SO[tens]} mươi"
    if not unit:
        return head
    word = {1: "một" if tens == 1 else "mốt", 5: "lăm"}.get(unit, CHU_SO[unit])
    return f"{head} {word}"


@pytest.mark.parametrize("joint", ["", "and "])
def test_every_english_number_to_9999_is_read(joint) -> None:
    for number in range(10_000):
        words = english(number, joint).split()
        assert parse(words, 0) == (number, len(words)), " ".join(words)


def test_every_vietnamese_number_to_9999_is_read() -> None:
    for number in range(10_000):
        words = vietnamese(number).split()
        assert parse(words, 0) == (number, len(words)), " ".join(words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a dozen", 12), ("two dozen", 24), ("half a dozen", 6), ("một tá", 12), ("hai chục", 20),
        ("hăm mốt", 21), ("hai tư", 24), ("một trăm lẻ năm", 105), ("hai ngàn", 2000),
        ("a hundred", 100), ("twelve hundred", 1200), ("bẩy", 7), ("mười nhăm", 15),
    ],
)  # fmt: skip
def test_dozens_and_spoken_forms_are_read(words, expected) -> None:
    assert parse(words.split(), 0) == (expected, len(words.split()))


@pytest.mark.parametrize(
    "words", ["one two", "hai ba", "mười năm", "hai mươi năm", "twenty twenty", "three and four"]
)
def test_neighbouring_numbers_are_not_joined_into_one(words) -> None:
    found = parse(words.split(), 0)
    assert found is not None
    assert found[1] < len(words.split())


@pytest.mark.parametrize("word", ["often", "someone", "canine", "height", "lăm", "mốt", "dozens"])
def test_a_number_inside_a_word_is_no_number(word) -> None:
    assert parse([word], 0) is None
