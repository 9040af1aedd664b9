"""Which two things a relation question is about, and in which order.

'Where is the cat relative to the dog?'             subject cat, object dog
'Relative to the dog, where is the cat?'            subject cat, object dog
'Is the red cube left or right of the blue ball?'   subject red cube, object blue ball
'Con mèo ở đâu so với con chó?'                     subject mèo, object chó
gold 'left of(cat, dog)'                            subject cat, object dog
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.language import nouns
from vlmtune.language.normalise import fold, tokens_of, word_set
from vlmtune.language.relation_words import THING, mentions_in, relation_tokens

SUBJECT = THING + "x"
OBJECT = THING + "y"

_LONGEST_QUESTION = 2000
_TO = (
    r"(?:relative to|in relation to|with (?:respect|reference|regard|relation) to"
    r"|compared (?:to|with)|in comparison (?:to|with)|as seen from|w\.?r\.?t\.?)"
)
_POSE = (
    r"(?:(?:currently |spatially )?(?:located|positioned|placed|situated|standing|sitting|lying"
    r"|oriented|found|arranged|seen|related|aligned)\s)?"
)
_PLACE = r"(?:position|location|placement|relation|relationship|orientation|direction|place)"
_LIE = r"(?:đang |được )*(?:nằm |đứng |ngồi |đặt |có vị trí )?(?:ở )?"
_WHERE = r"(?:đâu|phía nào|bên nào|vị trí nào|chỗ nào|hướng nào|như thế nào|phía bên nào)"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        (
            rf"{_TO}\s(?P<y>[^?]{{1,120}}?),?\s(?:where|how|in what|in which|on which)[^?]{{0,40}}?"
            rf"\s(?:is|are|was|were)\s(?P<x>[^?]{{1,120}}?)(?:\s{_POSE}\s?)?(?:\?|$)"
        ),
        (
            rf"(?:where|how)(?:'s|\s(?:is|are|was|were|does|do|can))\s(?P<x>[^?]{{1,120}}?)\s{_POSE}"
            rf"(?:be found\s)?{_TO}\s(?P<y>[^?\n]{{1,120}})"
        ),
        rf"{_PLACE}s?\sof\s(?P<x>[^?]{{1,120}}?)\s(?:{_TO}|to|from)\s(?P<y>[^?\n]{{1,120}})",
        rf"{_PLACE}\sbetween\s(?P<x>[^?]{{1,120}}?)\sand\s(?P<y>[^?\n]{{1,120}})",
        (
            r"which side of\s(?P<y>[^?]{1,120}?)\s(?:is|are)\s(?P<x>[^?]{1,120}?)"
            r"(?:\son|\sat)?(?:\?|$)"
        ),
        r"direction (?:is|are|does)\s(?P<x>[^?]{1,120}?)\s(?:from|lie from)\s(?P<y>[^?\n]{1,120})",
        r"from\s(?P<y>[^?,]{1,120}),\swhere\s(?:is|are)\s(?P<x>[^?]{1,120})",
        rf"so với\s(?P<y>[^?]{{1,120}}?)(?:,|\sthì)\s(?P<x>[^?]{{1,120}}?)\s{_LIE}{_WHERE}",
        (
            rf"(?:^|[,.:]\s?)(?P<x>[^?,.]{{1,120}}?)\s{_LIE}{_WHERE}\s(?:so với|của"
            rf"|đối với)\s(?P<y>[^?\n]{{1,120}})"
        ),
        (
            r"vị trí(?: tương đối| không gian)?(?: của)?\s(?P<x>[^?]{1,120}?)\s(?:so với|đối với)\s"
            r"(?P<y>[^?\n]{1,120})"
        ),
        (
            r"quan hệ(?: không gian| vị trí)?(?: giữa)?\s(?P<x>[^?]{1,120}?)\s(?:và"
            r"|với)\s(?P<y>[^?\n]{1,120})"
        ),
    )
)
_ONLY_SUBJECT = re.compile(
    rf"where(?:'s|\s(?:is|are|was|were))\s(?P<x>[^?]{{1,120}}?)(?:\s{_POSE}\s?)?(?:\?|$)"
    rf"|(?:^|[,.:]\s?)(?P<x2>[^?,.]{{1,120}}?)\s{_LIE}(?:đâu|chỗ nào|vị trí nào)"
)
_PREDICATE = re.compile(
    r"^\s*([^()]{1,60}?)\s*\(\s*([^(),]{1,80}?)\s*,\s*([^(),]{1,80}?)\s*\)\s*\.?\s*$"
)
_PICTURE_END = re.compile(
    r"\s(?:in|on|from)\s(?:the |this )?(?:given |provided )?(?:image|picture|photo|scene"
    r"|viewer)\b.*$"
    r"|\strong (?:bức |tấm )?(?:ảnh|hình)\b.*$|\s(?:là gì|là như thế nào|như thế nào|ra sao"
    r"|là ở đâu)\b.*$"
)
_EMPTY_WORDS = word_set(
    "the a an this that these those of and is are was were be being it its there does do did can "
    "you to with some which who what where how in on at from located positioned placed situated "
    "con cái chiếc quả bức tấm của là các những một và có thì nào đâu so với ở nằm đang gì "
    "relation relationship spatial position answer choose describe image picture photo"
)
_QUESTION_WORDS = word_set(
    "is are was were does do what which where how considering given relative positions provided "
    "either whether please select"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The two things of a question, as folded words; either may be empty."""

    subject: tuple[str, ...] = ()
    object: tuple[str, ...] = ()


def arguments_of(question: str, gold: str = "") -> Arguments:
    """Find the two things a question relates.

    Args:
        question: What was asked.
        gold: The gold answer; it helps where the question names fewer than two things.
    """
    from_gold = _PREDICATE.match(gold)
    if from_gold:
        return Arguments(subject=_words(from_gold[2]), object=_words(from_gold[3]))
    asked = _from_question(question)
    if asked.object:
        return asked
    stated = _around_relation(gold)
    if not asked.subject:
        return stated
    return Arguments(subject=asked.subject, object=stated.object)


def gold_relation(gold: str) -> str:
    """Take the relation out of 'left of(cat, dog)'; other golds stay as they are."""
    match = _PREDICATE.match(gold)
    return match[1] if match else gold


def mask(tokens: Sequence[str], arguments: Arguments) -> list[str]:
    """Replace the words of the two things by `SUBJECT` and `OBJECT`; "dog's" keeps its 's."""
    marked = _mask_phrases(list(tokens), arguments)
    subject, other = map(_names, (arguments.subject, arguments.object))
    marked = _mask_compounds(marked, subject - other, other - subject)
    result: list[str] = []
    for token in marked:
        thing = token
        stem = _stem(token.removesuffix("'s"))
        if stem in subject - other:
            thing = SUBJECT
        elif stem in other - subject:
            thing = OBJECT
        if thing != token and token.endswith("'s"):
            thing += "'s"
        # 'red cube' is one thing although both of its words name it.
        if thing.startswith(THING) and result and result[-1] == thing.removesuffix("'s"):
            result.pop()
        result.append(thing)
    return result


def _names(words: tuple[str, ...]) -> frozenset[str]:
    """Name a thing by every word of it, and by the whole where that is a known noun."""
    whole = nouns.thing_at(words, 0)
    names = {_stem(word) for word in _content(words)}
    return frozenset(names | ({whole[0]} if whole else set()))


def _mask_compounds(tokens: list[str], subject: frozenset[str], other: frozenset[str]) -> list[str]:
    """Replace known nouns of several words: 'lò nướng' is the oven."""
    index = 0
    while index < len(tokens):
        found = nouns.thing_at(tokens, index)
        if found is not None and found[1] - index > 1 and found[0] in subject | other:
            tokens[index : found[1]] = [SUBJECT if found[0] in subject else OBJECT]
        index += 1
    return tokens


def _mask_phrases(tokens: list[str], arguments: Arguments) -> list[str]:
    pairs = sorted(
        ((arguments.subject, SUBJECT), (arguments.object, OBJECT)), key=lambda pair: -len(pair[0])
    )
    for words, thing in pairs:
        length, index = len(words), 0
        while length > 1 and index + length <= len(tokens):
            part = tokens[index : index + length]
            owned = part[-1] == words[-1] + "'s"
            if tuple(part) == words or (owned and tuple(part[:-1]) == words[:-1]):
                tokens[index : index + length] = [thing + ("'s" if owned else "")]
            index += 1
    return tokens


def _from_question(question: str) -> Arguments:
    folded = re.sub(r"(?<=\w)-(?=\w)", " ", fold(question[:_LONGEST_QUESTION]))
    for pattern in _PATTERNS:
        match = pattern.search(folded)
        if match:
            subject, other = _words(match["x"]), _words(match["y"])
            if subject and other:
                return Arguments(subject=subject, object=other)
    around = _around_relation(folded.split("?")[0])
    if around.subject and around.object:
        return around
    match = _ONLY_SUBJECT.search(folded)
    if match:
        return Arguments(subject=_words(match["x"] or match["x2"]))
    return _by_order(folded)


def _by_order(folded: str) -> Arguments:
    """Take the first thing that a question names as its subject, everything after as its object."""
    words = [
        w
        for w in tokens_of(folded.split("?", maxsplit=1)[0])
        if w.isalpha() and w not in _QUESTION_WORDS
    ]
    content = _content(tuple(words))
    return Arguments(subject=tuple(content[:1]), object=tuple(content[1:]))


def _around_relation(text: str) -> Arguments:
    """Split 'The cat is to the left of the dog' at its relation."""
    tokens = relation_tokens(text[:_LONGEST_QUESTION])
    strong = [mention for mention in mentions_in(tokens)[0] if not mention.weak]
    mentions = strong or mentions_in(tokens)[0][:1]
    if not mentions:
        return Arguments()
    before = [w for w in tokens[: mentions[0].start] if w not in _QUESTION_WORDS]
    after = tokens[mentions[-1].end :]
    return Arguments(subject=_words(" ".join(before)), object=_words(" ".join(after)))


def _words(phrase: str) -> tuple[str, ...]:
    """Clean a noun phrase: no picture, no determiner in front, nothing behind a full stop."""
    cut = re.split(r"[?.!\n;]", _PICTURE_END.sub("", f" {phrase.strip()} "), maxsplit=1)[0]
    words = [token for token in tokens_of(fold(cut)) if token[0].isalnum()]
    while words and words[0] in _EMPTY_WORDS:
        words.pop(0)
    while words and words[-1] in _EMPTY_WORDS:
        words.pop()
    return tuple(words)


def _content(words: Sequence[str]) -> list[str]:
    relational = {
        index
        for mention in mentions_in(list(words))[0]
        for index in range(mention.start, mention.end)
    }
    return [
        word
        for index, word in enumerate(words)
        if word not in _EMPTY_WORDS and index not in relational and word.isalnum()
    ]


def _stem(word: str) -> str:
    """Name a word by its thing, so that 'kitten', 'cats' and 'mèo' all mean the cat."""
    thing = nouns.thing_at([word], 0)
    if thing is not None:
        return thing[0]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
