"""Yes and no: the one side an answer takes.

'Yes, the cat is not on the mat.', 'not false', 'có', 'True'    -> yes
'untrue', 'không đúng', 'No, there is none.', 'not correct'     -> no
'yes and no', 'maybe', "I don't know", 'now', 'not necessarily' -> -
"""

import re
from collections.abc import Sequence

from vlmtune.language import doubt
from vlmtune.language.found import Found, single, unreadable
from vlmtune.language.normalise import fold, tokens_of, word_set

_YES = word_set(
    "yes yeah yep yup yea aye true correct affirmative accurate valid đúng vâng ừ phải đồngý "
    "chínhxác chuẩn"
)
_NO = word_set("no nope nah false incorrect untrue wrong inaccurate invalid negative sai nay")
_WEAK_YES = word_set("indeed absolutely certainly definitely sure surely exactly totally")
_NEGATORS = word_set("not never n't hardly cannot không chẳng chả chưa đâucó")
# Words that may stand between a negator and what it negates.
_BETWEEN = word_set(
    "a an the ever really entirely exactly quite at all actually even be is in fact always very "
    "completely strictly hoàn toàn hề là hẳn that necessarily"
)
_ENDS = frozenset([".", ",", ";", ":", "!", "?", "\n", "-", "–", "—", "(", ")", '"', "'"]) | {
    "\n",
    "",
}
_JOINS = word_set("and or but và hoặc hay nhưng lẫn cũng cả then also & /")
_SPOKEN = word_set("is answer say be was says said would therefore so thus hence là nói")
_STRIPPED = re.compile(
    r"\b(?:correct|right|true|final|valid) (?:answer|option|response|choice|statement is that)\b"
    r"|\bno (?:longer|other|more|less|fewer|matter)\b|\bđáp án (?:đúng|chính xác)\b"
    r"|\bcâu trả lời (?:đúng|chính xác)\b|\bphải không\b\??|\bđúng không\b\??|\bcó phải\b"
    r"|\bbên phải\b|\bphía phải\b|\btay phải\b"
)
_RIGHT = re.compile(
    r"\b(?:that's|that is|you're|you are|it's|it is) right\b(?! (?:of|to|next|on|in))"
)
_VAGUE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|presumably|likely|unlikely|might|may be|could be"
    r"|partially|partly|sometimes|depends|neither|both|either|half|somewhat|kind of|sort of"
    r"|not necessarily|not (?:exactly|entirely|completely|quite)|not only|hard to)\b"
    r"|\b(?:có lẽ|có thể|có khả năng|hình như|chắc là|dường như|tùy|tuỳ|cả hai|vừa|không hẳn"
    r"|chưa chắc|hên xui|có hay không|có không)\b"
)
_VIETNAMESE_QUESTION = re.compile(r"\b(?:có )?(?:phải )?(\w.{0,200}?) (?:hay )?không ?\?*$")
_NESTED = re.compile(
    r"\b(?:true|false|untrue|correct|incorrect|the case|wrong|sai|đúng) (?:that|là|khi|rằng)\b"
)
_BRACKETED = re.compile(r"\b(not|never|không|không phải|chẳng phải|chả phải) ?[\"'(\[]+ ?")
# 'No is wrong' speaks of an answer; 'No, it is wrong' gives one.
_OF_AN_ANSWER = re.compile(
    r"\b(?:yes|no|true|false|correct|incorrect|đúng|sai|có|không)[\"')\]]* (?:is|was|would be|là"
    r"|la)"
    r"(?:n't)? (?:\w+ ){0,2}?(?:not|hardly|wrong|incorrect|false|untrue|mistaken|sai|không|khong)\b"
)
_WITHOUT_APOSTROPHE = re.compile(r"\b(is|are|was|were|do|does|did|has|have|could|would|should)nt\b")
_WHOLE = {"1": "yes", "0": "no", "y": "yes", "n": "no", "t": "yes", "f": "no"}
_TWO_WORDS = (("chính xác", "chínhxác"), ("đồng ý", "đồngý"), ("đâu có", "đâucó"))
_EMPTY = word_set(
    "they he she the a an is are was were there it this that does do did be being of to"
)
_NEGATIVE_WORDS = word_set("not n't never no any can không có")
_AUXILIARIES = word_set("is are was were does do did can could has have will would")


def read_yes_no(text: str, *, question: str = "") -> Found:
    """Read the side an answer takes.

    Args:
        text: The answer, at most a few thousand characters.
        question: What was asked; 'The cat is on the mat.' can only be judged with it.

    Returns:
        A Found with 'yes' or 'no', or with the reason why there is neither.
    """
    folded = fold(text)
    bare = folded.strip(" .,;:!?()[]\"'")
    if not bare:
        return unreadable("empty")
    if bare in _WHOLE:
        return single(_WHOLE[bare])
    if doubt.refuses(folded):
        return unreadable("a refusal")
    vague = _VAGUE.search(doubt.without_assurance(folded))
    clean = _STRIPPED.sub(" ", _RIGHT.sub(" yes ", doubt.without_assurance(folded)))
    for phrase, word in _TWO_WORDS:
        clean = clean.replace(phrase, word)
    clean = re.sub(r"\b(\w+)n't\b", r"\1 n't", clean.replace("cannot", "can not"))
    clean = _BRACKETED.sub(r"\1 ", clean)
    clean = _WITHOUT_APOSTROPHE.sub(r"\1 n't", clean)
    tokens = tokens_of(re.sub(r"(?<=\w)-(?=\w)", " ", clean))
    sides = _sides(_split_negations(tokens))
    named = frozenset(sides)
    if vague:
        return unreadable(f"a hedge: {vague[0]!r}", named)
    of_an_answer = _OF_AN_ANSWER.search(_STRIPPED.sub(" ", folded))
    if len(named) > 1 or of_an_answer:
        return unreadable("a denial of an answer" if of_an_answer else "yes and no", named)
    if len(sides) > 1 and _NESTED.search(clean):
        return unreadable("a denial inside a denial", named)
    if named:
        return single(sides[0])
    return _statement(tokens, question)


def _split_negations(tokens: Sequence[str]) -> list[str]:
    """Turn "n't", which the tokeniser may leave joined to an apostrophe, into one token."""
    result: list[str] = []
    for token in tokens:
        if token == "t" and result and result[-1] == "'":
            result[-1] = "n't"
        else:
            result.append(token)
    return result


def _sides(tokens: Sequence[str]) -> list[str]:
    """List every yes and no that is said, negations applied."""
    sides: list[str] = []
    weak: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token in _NEGATORS or (token == "no" and _at(tokens, index + 1) in _NEGATORS):
            side, end = _negated(tokens, index, said=bool(sides))
            if side:
                sides.append(side)
            index = end
            continue
        if token in _YES:
            if token != "phải" or _is_said(tokens, index):
                sides.append("yes")
        elif token == "có" and _opens(tokens, index):
            sides.append("yes")
        elif token in _NO:
            if token != "no" or _is_said(tokens, index):
                sides.append("no")
        elif token in _WEAK_YES or (token == "of" and _at(tokens, index + 1) == "course"):
            weak.append("no" if _at(tokens, index + 1 + (token == "of")) in _NEGATORS else "yes")
        index += 1
    return sides or weak[:1]


def _negated(tokens: Sequence[str], index: int, *, said: bool) -> tuple[str, int]:
    """Read a chain of negators and what it negates: 'not false', 'không phải là không đúng'."""
    start, count = index, 0
    while index < len(tokens) and (
        tokens[index] in _NEGATORS
        or (tokens[index] in _BETWEEN and count)
        or (tokens[index] == "phải" and _chains(tokens, index))
    ):
        count += tokens[index] in _NEGATORS
        index += 1
    target = _at(tokens, index)
    if target in _YES | _NO:
        positive = (target in _YES) == (count % 2 == 0)
        return ("yes" if positive else "no"), index + 1
    if tokens[index : index + 2] == ["the", "case"] or target == "case":
        return ("no" if count % 2 else "yes"), index + 1
    if tokens[start] in {"không", "chẳng", "chả", "chưa"}:
        return _vietnamese_no(tokens, start, said=said)
    if index == start + 1 and start == 0 and target in _ENDS:
        return "no", index
    if tokens[start] == "not" and _at(tokens, start + 1) in {"at", "really"} and start == 0:
        return "no", index
    return "", max(index, start + 1)


def _chains(tokens: Sequence[str], index: int) -> bool:
    following = [t for t in tokens[index + 1 : index + 3] if t not in _BETWEEN][:1]
    return bool(following) and (following[0] in _NEGATORS | _YES | _NO)


def _vietnamese_no(tokens: Sequence[str], index: int, *, said: bool) -> tuple[str, int]:
    """Read 'không' as an answer where it is one; inside a sentence it only negates the verb."""
    before, after = _at(tokens, index - 1), _at(tokens, index + 1)
    end = index + (2 if after in {"có", "phải"} else 1)
    if index == 0 or before in _JOINS or before in _SPOKEN:
        return "no", end
    if after in _ENDS and (before in _ENDS or not said):
        return "no", end
    return "", end


def _opens(tokens: Sequence[str], index: int) -> bool:
    before, after = _at(tokens, index - 1), _at(tokens, index + 1)
    return index == 0 or before in _SPOKEN or (before in _ENDS | _JOINS and after in _ENDS | _JOINS)


def _is_said(tokens: Sequence[str], index: int) -> bool:
    """Tell whether 'no' is an answer rather than a determiner ('there are no dogs')."""
    before, after = _at(tokens, index - 1), _at(tokens, index + 1)
    if index == 0 or (before in _SPOKEN and after in _ENDS):
        return True
    # A determiner has its noun behind it.
    return after in _ENDS or (before in _ENDS | _JOINS and after in _JOINS)


def _at(tokens: Sequence[str], index: int) -> str:
    return tokens[index] if 0 <= index < len(tokens) else ""


def _statement(tokens: Sequence[str], question: str) -> Found:
    """Judge a sentence without yes or no: it must repeat the question's words in their order."""
    negations = sum(token in {"not", "n't", "never", "no", "không"} for token in tokens)
    asked = _VIETNAMESE_QUESTION.sub(r"\1", fold(question[:2000]).split("\n")[0])
    if not asked or tokens[-1:] == ["?"] or re.search(r"\bnot?\b|n't|\bkhông (?!gian)", asked):
        return unreadable("neither yes nor no")
    words = [t for t in tokens if t.isalnum()]
    if not words or words[0] in _AUXILIARIES:
        return unreadable("neither yes nor no")
    short = " ".join(words[:2]) in {
        "it is",
        "there is",
        "there are",
        "it does",
        "they are",
        "is not",
    }
    content = [w for w in words if w not in _EMPTY | _NEGATIVE_WORDS]
    source = [_stem(w) for w in tokens_of(asked) if w not in _EMPTY]
    if not content and not short:
        return unreadable("neither yes nor no")
    iterator = iter(source)
    if not all(_stem(word) in iterator for word in content):
        return unreadable("neither yes nor no")
    whole = (short and len(content) <= 2) or len(content) >= 2
    if not whole or negations > 1:
        return unreadable("neither yes nor no")
    return single("no" if negations else "yes")


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word
