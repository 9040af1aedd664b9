"""The many ways to say that there is none of something."""

import re
from collections.abc import Sequence

from vlmtune.language import doubt, nouns
from vlmtune.language.normalise import word_set, words_of

_NOTHING = re.compile(r"\b(?:none|zero|nil|nought|naught|nothing|nobody|no one|no-one|noone)\b")
_NONE = re.compile(
    r"\bno (?P<no>[^\W\d].{0,60})|^\W*no\W*$"
    r"|\b(?:not|\w+n't|cannot|without|never)\b(?: \w+){0,2}? (?:any|a single|a"
    r"|an)\b(?P<any>.{0,60})"
    r"|\bthere (?:is not|are not|isn't|aren't)(?P<there> .{0,60})"
    r"|\b(?:không|chẳng|chả|chưa)(?: hề)?(?: có| thấy| nhìn thấy| xuất hiện"
    r"| tồn tại)(?P<khong>.{0,60})"
    r"|\bkhông(?P<nao>(?: \w+){1,5} nào)|^\W*không\W*$|\bsố không\b"
)
_NEGATED = re.compile(
    r"\b(?:not|n't|isn't|never|non|greater than|more than|above) ?-? ?(?:zero|none|nothing|nil"
    r"|nobody|no one)\b"
    r"|\bnon-?zero\b|\bkhông phải (?:là )?(?:số )?không\b|\bno (?:more|fewer|less) than\b"
    r"|\bno (?:way|longer)\b|\bkhông (?:0|zero|none)\b"
)
_ENDS = word_set("in on at that are is was were ở trong trên dưới nào cả và and but which only chỉ")


def says_zero(folded: str, asked: Sequence[str]) -> bool:
    """Tell whether a folded answer says that there is none of what was asked.

    Args:
        folded: An answer without any number that counts something.
        asked: The noun phrase of the question; 'no cats' says nothing about dogs.
    """
    text = doubt.without_assurance(folded)
    if _NEGATED.search(text) or doubt.refuses(folded):
        return False
    if _NOTHING.search(text):
        return not _about_other(_NOTHING.split(text, maxsplit=1)[1], asked)
    match = _NONE.search(text)
    if match is None:
        return False
    rest = next((group for group in match.groups() if group), "")
    return not _about_other(rest, asked)


def _about_other(rest: str, asked: Sequence[str]) -> bool:
    phrase = []
    for word in words_of(re.split(r"[,.;:!?\n]", rest.strip(" ,.;:"), maxsplit=1)[0]):
        if word in _ENDS:
            break
        phrase.append(word)
    return nouns.is_other(phrase, asked)
