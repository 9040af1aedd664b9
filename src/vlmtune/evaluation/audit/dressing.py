"""The same answer in other signs: what people and models write without meaning anything else."""

import unicodedata

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_ARABIC_INDIC = {ord("0") + digit: 0x0660 + digit for digit in range(10)}


def full_width(text: str) -> str:
    """Write ASCII signs in their wide forms: 3 -> ３."""
    return text.translate(_FULL_WIDTH)


def other_digits(text: str) -> str:
    """Write digits in Arabic-Indic: 3 -> ٣."""
    return text.translate(_ARABIC_INDIC)


def hidden(text: str) -> str:
    """Put a zero-width sign between all characters."""
    return "\u200b".join(text)


def apart(text: str) -> str:
    """Take accents off their letters (NFD); "" where that changes nothing."""
    taken = unicodedata.normalize("NFD", text)
    return taken if taken != text else ""


def boxed(text: str) -> str:
    r"""Write an answer as LaTeX does: \boxed{3}."""
    return rf"\boxed{{{text}}}"


def in_words(number: int) -> str:
    """Write a number from 0 to 99 in English words; "" beyond."""
    if not 0 <= number < 100:
        return ""
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
