"""Finds relation phrases among the words of an answer: whole words, the longest phrase first.

'to the left-hand side of'  -> left of          'at the right of'      -> right of
'facing away from'          -> facing away from 'right behind'         -> behind
'leftover', 'the person'    -> nothing          'The cat left the room' -> not spatial
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from vlmtune.language import ontology
from vlmtune.language.doubt import without_assurance
from vlmtune.language.found import Claim
from vlmtune.language.normalise import fold, tokens_of, word_set

THING = "\x01"
"""First character of a token that stands for a thing of the question; see `arguments`."""

_PICTURE = (
    r"(?:image|picture|photo|photograph|scene|frame|figure|shot|ảnh|hình|hình ảnh|bức ảnh"
    r"|bức hình|tấm ảnh|tấm hình|bức tranh|khung hình)"
)
_STAGE = re.compile(
    rf"\b(?:in|on|within|from|inside|of|throughout) (?:the |this |that |an? )?"
    rf"(?:given |provided |shown |above )?{_PICTURE}(?: (?:provided|shown|above|given))?\b"
    r"|\bfrom (?:the |my |our |your |a |this )?(?:[\w']+ ){0,2}"
    r"(?:perspective|point of view|viewpoint|view|vantage point|angle)"
    r"(?: of (?:the |a )?(?:viewer|camera|observer))?\b"
    r"|\b(?:as )?(?:seen|viewed|observed|shown|looking) (?:from|by|in) (?:the |a )?"
    rf"(?:camera|viewer|front|observer|{_PICTURE})\b(?: (?:provided|shown|above|given)\b)?"
    r"|\bbased on (?:the |this )?\w+|\baccording to (?:the |this )?\w+|\bin terms of\b"
    rf"|\btrong (?:bức |tấm |cái )?{_PICTURE}|\b(?:từ|theo|nhìn từ) (?:phía )?(?:góc nhìn"
    rf"|hướng nhìn)"
    r"(?: của)?(?: người xem| máy ảnh| camera)?"
)
# Place words about the text itself: 'the answer above', 'see below', 'on the other hand'.
_TALK = re.compile(
    r"\b(?:answers?|reasoning|text|statements?|responses?|explanation|analysis|solution|output"
    r"|message|description|thoughts?|question|instructions?) (?:above|below)\b(?! (?:the|it|its"
    r"|a)\b)"
    r"|\b(?:see|as|mentioned|described|stated|noted|explained|listed|said|based on the|given the)"
    r" (?:above|below)\b|\babove-? ?mentioned\b|\babove all\b|\bover ?all\b|\bthe above"
    r" (?:answer|reasoning|text|statement|response|explanation|analysis|is|was)\b"
    r"|\bdap an(?: dung)?(?: la)?\b|\bon the other hand\b|\bin the end\b|\bin (?:conclusion|short"
    r"|summary|fact|total|general)\b"
)
_AGAINST_WHAT = re.compile(
    r"\b(?:relative to|in relation to|with (?:respect|reference|regard|relation) to"
    r"|compared (?:to|with)"
    r"|in comparison (?:to|with)|so với|đối với|w\.?r\.?t\.?)(?!\w)"
)
_CORNER = MappingProxyType(
    {"upper": "above", "top": "above", "lower": "under", "bottom": "under", "above": "above"}
)
_SIDES = MappingProxyType(
    {"left": "left of", "right": "right of", "trái": "left of", "phải": "right of"}
)
_LEAD = word_set("to on at in towards toward")
_OWNER = word_set("the its his her their your my our")
_DEGREE = word_set("far immediate direct very extreme slight front back")
_TAIL = word_set("side hand part half sides handed")
_VIETNAMESE_LEAD = word_set("bên phía tay mé hướng đằng")
_JOINS = word_set("and or hoặc hay và / , - nor & |")
_DETERMINERS = word_set("the a an his her their its my your this that these those it him")
_HAVE = word_set("has have had just already recently was-just who that")
_SUBJECTS = word_set("i he she they we it who everyone someone everybody nobody one")
_AGREES = word_set("that's all you're")
# What may follow a side without being a noun that the side describes.
_AFTER_A_SIDE = word_set(
    "of from to and or but nor is are was were be when while where whereas as because since with "
    "in on at by near under above below behind beside between next the a an it its that there here "
    "not if than for side hand too also relative so we you i they he she then instead edge corner "
    "half part end và hoặc hay của"
)
_QUALIFIERS = word_set("bit little far very immediate answer relation direction position side word")
_IS = word_set("is are was were be lies sits stands")
_NOT_A_SIDE = word_set(
    "answer now here there away choice option relation one ones place way angle angles order over "
    "behind above below next in on under beside at by through against after between near inside "
    "underneath beneath adjacent alongside hand-written turn opposite click"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A relation phrase: what it can mean and the tokens it takes, [start, end).

    Attributes:
        claim: The relations it can stand for.
        start: Index of its first token.
        end: Index behind its last token.
        weak: Whether it is an everyday preposition, which often relates nothing.
        owner: The thing whose side it is ("the dog's left"), or "".
    """

    claim: Claim
    start: int
    end: int
    weak: bool = False
    owner: str = ""


def relation_tokens(text: str) -> list[str]:
    """Split a text into the tokens in which relations are looked for.

    Phrases about the picture itself ("in the image", "from the viewer's perspective") are gone,
    and "upper left" is spelled "above and left".
    """
    folded = re.sub(r"(?<=\w)-(?=\w)", " ", fold(text))
    folded = _AGAINST_WHAT.sub(" of ", folded)
    folded = _TALK.sub(" ", _STAGE.sub(" ", without_assurance(folded)))
    tokens: list[str] = []
    words = tokens_of(folded)
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in _CORNER and following in {"left", "right"}:
            tokens += [_CORNER[word], "and"]
        elif (
            word in _CORNER and index and words[index - 1] in {"left", "right"} and word != "above"
        ):
            tokens += ["and", _CORNER[word]]
        else:
            tokens.append(word)
    return tokens


def mentions_in(tokens: Sequence[str]) -> tuple[list[Mention], str]:
    """Find all relation phrases, left to right, none inside another.

    Returns:
        The mentions, and the reason why the text is not about space ("left the room"), or "".
    """
    mentions: list[Mention] = []
    index = 0
    while index < len(tokens):
        side = _side_at(tokens, index)
        phrase = _phrase_at(tokens, index)
        if side is not None and (phrase is None or side.end >= phrase.end):
            problem = _not_spatial(tokens, side)
            if problem:
                return mentions, problem
            if not _is_adjective(tokens, side):
                mentions.append(side)
            index = side.end
        elif phrase is not None:
            mentions.append(phrase)
            index = phrase.end
        else:
            index += 1
    return mentions, ""


def _phrase_at(tokens: Sequence[str], start: int) -> Mention | None:
    for length in range(min(ontology.LONGEST_PHRASE, len(tokens) - start), 0, -1):
        words = tuple(tokens[start : start + length])
        claim = ontology.PHRASES.get(words)
        if claim is not None:
            end = start + length
            weak = length == 1 and words[0] in ontology.WEAK
            return Mention(claim=claim, start=start, end=end, weak=weak)
    return None


def _side_at(tokens: Sequence[str], start: int) -> Mention | None:
    """Match [to|on|at] [the|its|the dog's] [far] left [hand] [side] [of]."""
    index, owner = start, ""
    if _token(tokens, index) in _VIETNAMESE_LEAD:
        while _token(tokens, index) in _VIETNAMESE_LEAD:
            index += 1
        side = _token(tokens, index)
        if side not in {"trái", "phải"}:
            return None
        return Mention(claim=frozenset({_SIDES[side]}), start=start, end=index + 1)
    if _token(tokens, index) in _LEAD:
        index += 1
    while _token(tokens, index) in _OWNER or _owns(_token(tokens, index)):
        if _owns(tokens[index]):
            owner = tokens[index]
        index += 1
    while _token(tokens, index) in _DEGREE:
        index += 1
    side = _token(tokens, index)
    if side not in _SIDES or (side in {"trái", "phải"} and not _alone(tokens, index)):
        return None
    if side == "right" and index == start and _token(tokens, index + 1) in _NOT_A_SIDE:
        return None
    index += 1
    while _token(tokens, index) in _TAIL:
        index += 1
    if _token(tokens, index) == "of" or (_token(tokens, index) == "from" and index > start + 1):
        index += 1
    return Mention(claim=frozenset({_SIDES[side]}), start=start, end=index, owner=owner)


def _owns(token: str) -> bool:
    return token.startswith(THING) and token.endswith("'s")


def _token(tokens: Sequence[str], index: int) -> str:
    return tokens[index] if 0 <= index < len(tokens) else ""


def _alone(tokens: Sequence[str], index: int) -> bool:
    """Tell whether Vietnamese trái/phải stands alone or in a list; else it is 'fruit' or 'must'."""
    before, after = _token(tokens, index - 1), _token(tokens, index + 1)
    opens = before in {"", ".", ",", ":", "\n", "là", "ở"} or before in _JOINS
    closes = after in {"", ".", ",", ":", "\n", "của", "!", "?"} or after in _JOINS
    return opens and closes


def _is_bare(tokens: Sequence[str], side: Mention) -> bool:
    return side.end - side.start == 1


def _not_spatial(tokens: Sequence[str], side: Mention) -> str:
    """Recognise 'left' as the past of leave: 'The cat left the room', 'has left', 'left over'."""
    if not _is_bare(tokens, side) or tokens[side.start] != "left":
        return ""
    before, after = _token(tokens, side.start - 1), _token(tokens, side.end)
    verb = before in _HAVE or after in _DETERMINERS or after in {"over", "alone", "overs"}
    if before.startswith(THING) and not before.endswith("'s"):
        verb = True
    remaining = "there" in tokens[: side.start] and not before.startswith(("the", "to"))
    owner = _token(tokens, side.start - 2)
    # 'It is left' has no noun in front of its side; 'the man left' has.
    named = owner in _DETERMINERS and before not in _QUALIFIERS | _IS
    verb = verb or remaining or before in _SUBJECTS or named
    return "'left' as a verb" if verb else ""


def _is_adjective(tokens: Sequence[str], side: Mention) -> bool:
    """Recognise 'the left cat', 'in the right place' and 'you are right': which, not where."""
    words = tokens[side.start : side.end]
    if words[-1] not in {"left", "right"}:
        return False
    after, before = _token(tokens, side.end), _token(tokens, side.start - 1)
    agrees = before in _AGREES or (before == "are" and _token(tokens, side.start - 2) == "you")
    if words[-1] == "right" and len(words) == 1 and (after in _NOT_A_SIDE or agrees):
        return True
    noun = after.startswith(THING) or (
        after.isalpha() and after not in _AFTER_A_SIDE and not after.endswith(("ly", "ed", "ing"))
    )
    return noun and not _OWNER.isdisjoint(words)
