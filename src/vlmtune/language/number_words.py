"""Number words to integers, English and Vietnamese, from 0 to 9999.

    'twenty one' -> 21        'hai mươi mốt' -> 21          'a dozen' -> 12
    'one hundred and five'    'một trăm linh năm' -> 105    'ba tá' -> 36

`parse` reads the longest number that starts at a word; what it cannot join into one number it
leaves for the next call, so that 'twenty, one' and 'hai ba' are two numbers, never one.
"""

from collections.abc import Sequence
from types import MappingProxyType

_ENGLISH_BELOW_20 = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_ENGLISH_UNITS = {word: value for value, word in enumerate(_ENGLISH_BELOW_20)} | {"single": 1}
_ENGLISH_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60,
    "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_VIETNAMESE_UNITS = {
    "không": 0, "một": 1, "hai": 2, "ba": 3, "bốn": 4, "năm": 5, "sáu": 6, "bảy": 7, "bẩy": 7,
    "tám": 8, "chín": 9,
}  # fmt: skip
# Forms that a digit takes only behind tens: hai mươi mốt, hai mươi tư, hai mươi lăm.
_AFTER_TENS = {"mốt": 1, "tư": 4, "lăm": 5, "nhăm": 5}
_ZERO_TENS = {"linh", "lẻ"}
_THOUSAND = {"nghìn", "ngàn"}
MAGNITUDES = MappingProxyType(
    {
        "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12,
        "trăm": 100, "nghìn": 1000, "ngàn": 1000, "vạn": 10**4, "triệu": 10**6, "tỷ": 10**9,
        "tỉ": 10**9, "chục": 10, "tá": 12,
    }
)  # fmt: skip
"""Words that multiply the number before them."""


def parse(words: Sequence[str], start: int) -> tuple[int, int] | None:
    """Read one number from consecutive words.

    Args:
        words: Folded words without signs between them.
        start: Where to begin.

    Returns:
        (value, end) of the longest number at `start`, or None.
    """
    found = _english(words, start) or _vietnamese(words, start)
    if found is None:
        return None
    value, end = found
    while end < len(words) and words[end] in MAGNITUDES:
        value *= MAGNITUDES[words[end]]
        end += 1
    return value, end


def _word(words: Sequence[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def _english(words: Sequence[str], start: int) -> tuple[int, int] | None:
    first, second = _word(words, start), _word(words, start + 1)
    if first == "half" and second == "dozen":
        return 6, start + 2
    if first == "half" and second == "a" and _word(words, start + 2) == "dozen":
        return 6, start + 3
    head = _english_below_1000(words, start)
    if head is None and first in {"a", "an"} and second in {"thousand", "dozen"}:
        head = (1, start + 1)
    if head is None or _word(words, head[1]) != "thousand":
        return head
    value, end = head[0] * 1000, head[1] + 1
    rest = _english_below_1000(words, _skip_and(words, end))
    return (value, end) if rest is None else (value + rest[0], rest[1])


def _english_below_1000(words: Sequence[str], start: int) -> tuple[int, int] | None:
    head = _english_below_100(words, start)
    if head is None and _word(words, start) == "a" and _word(words, start + 1) == "hundred":
        head = (1, start + 1)
    if head is None or _word(words, head[1]) != "hundred":
        return head
    value, end = head[0] * 100, head[1] + 1
    rest = _english_below_100(words, _skip_and(words, end))
    return (value, end) if rest is None else (value + rest[0], rest[1])


def _english_below_100(words: Sequence[str], start: int) -> tuple[int, int] | None:
    first, second = _word(words, start), _word(words, start + 1)
    if first in _ENGLISH_TENS:
        digit = _ENGLISH_UNITS.get(second, 0) if second != "single" else 0
        if 1 <= digit <= 9:
            return _ENGLISH_TENS[first] + digit, start + 2
        return _ENGLISH_TENS[first], start + 1
    if first in _ENGLISH_UNITS:
        return _ENGLISH_UNITS[first], start + 1
    return None


def _skip_and(words: Sequence[str], index: int) -> int:
    return index + 1 if _word(words, index) == "and" else index


def _vietnamese(words: Sequence[str], start: int) -> tuple[int, int] | None:
    head = _vietnamese_below_1000(words, start)
    if head is None or _word(words, head[1]) not in _THOUSAND:
        return head
    value, end = head[0] * 1000, head[1] + 1
    if _word(words, end) in _ZERO_TENS:
        digit = _digit(words, end + 1)
        return (value, end) if digit is None else (value + digit[0], digit[1])
    rest = _vietnamese_below_1000(words, end)
    # 'hai nghìn năm' is 2000 years or a sloppy 2500: the five stays a number of its own.
    if rest is None or rest[1] - end == 1:
        return value, end
    return value + rest[0], rest[1]


def _vietnamese_below_1000(words: Sequence[str], start: int) -> tuple[int, int] | None:
    unit = _VIETNAMESE_UNITS.get(_word(words, start))
    if unit is None or _word(words, start + 1) != "trăm":
        return _vietnamese_below_100(words, start)
    value, end = unit * 100, start + 2
    if _word(words, end) in _ZERO_TENS:
        digit = _digit(words, end + 1)
        return (value, end) if digit is None else (value + digit[0], digit[1])
    rest = _vietnamese_below_100(words, end)
    if rest is None or (rest[1] - end == 1 and _word(words, end) != "mười"):
        return value, end
    return value + rest[0], rest[1]


def _vietnamese_below_100(words: Sequence[str], start: int) -> tuple[int, int] | None:
    first, second = _word(words, start), _word(words, start + 1)
    if first == "mười":
        digit = _unit_after_tens(second)
        if digit and second not in {"mốt", "năm"}:
            return 10 + digit, start + 2
        return 10, start + 1
    if first == "hăm":
        digit = _unit_after_tens(second)
        return (20 + digit, start + 2) if digit else None
    unit = _VIETNAMESE_UNITS.get(first)
    if unit is None:
        return (4, start + 1) if first == "tư" else None
    if second == "mươi" and unit >= 2:
        digit = _unit_after_tens(_word(words, start + 2))
        # Twenty-five is 'hai mươi lăm'; 'hai mươi năm' is twenty years.
        if digit and _word(words, start + 2) != "năm":
            return unit * 10 + digit, start + 3
        return unit * 10, start + 2
    if second in _AFTER_TENS and unit >= 2:
        return unit * 10 + _AFTER_TENS[second], start + 2
    return unit, start + 1


def _unit_after_tens(word: str) -> int:
    return _AFTER_TENS.get(word) or _VIETNAMESE_UNITS.get(word, 0)


def _digit(words: Sequence[str], index: int) -> tuple[int, int] | None:
    word = _word(words, index)
    value = _VIETNAMESE_UNITS.get(word, _AFTER_TENS.get(word))
    return None if not value else (value, index + 1)
