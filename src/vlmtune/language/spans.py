r"""Where the answer stands in a completion.

    <think>red cube (2,7)</think><answer>left</answer>     -> 'left', tagged, well formed
    <answer>left</answer><answer>right</answer>            -> nothing: two different answers
    <think>left                                            -> nothing: it never stopped thinking
    The dog is on the right.\nSo the cat is on the left.   -> the last line, not well formed

A tag counts wherever it stands, inside <think> too: an answer hidden there is a second answer.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vlmtune.language.doubt import denies
from vlmtune.language.normalise import LONGEST_ANSWER, fold, is_blank, word_set, words_of
from vlmtune.language.turns import turned

USUAL_TAGS = ("think", "answer")
"""The tags of a completion, where nobody asks for others."""

EXPLANATIONS = ("explain", "explanation")
"""Tags in which an answer may be explained behind it."""

_TAG = re.compile(r"<\s{0,3}(/?)\s{0,3}(think|answer)\s{0,3}>", re.IGNORECASE)
_ANY_ANGLE = re.compile("[＜﹤＞﹥／]")
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{")
_CUE = re.compile(
    r"(?:\b(?:final|correct|right|best|my)\s{1,3})?\b(?:answer|choice|conclusion|result)\b"
    r"[\s*_\"']{0,4}(?:(?:is|are|would be|should be)\b\s{0,3}:?|[:=])"
    r"|\bfinal\s{0,3}:|\b(?:đáp án|câu trả lời|trả lời|kết luận|kết quả)"
    r"(?: (?:đúng|cuối cùng|của tôi|chính xác))?\s{0,3}(?:là\b\s{0,3}:?|[:=])",
    re.IGNORECASE,
)
# A plain search for these is ten times as fast as the pattern, and most texts have none.
_CUE_WORDS = (
    "answer", "choice", "conclusion", "result", "final", "đáp án", "trả lời", "kết luận", "kết quả",
)  # fmt: skip
_SENTENCE = re.compile(r"(?<=\w)[.!?](?:\s|$)|\n")
_RULE = re.compile(r"[\s\-=_*#~`.|]*")
_STEP = re.compile(r"\s*(?:step|bước)\s{0,3}\d", re.IGNORECASE)
_DOUBT = word_set("or maybe perhaps possibly probably either might unsure alternatively hoặc hay")
# A last line that starts like this goes on with the line before it.
_CONTINUES = _DOUBT | word_set("and also but actually wait hmm however nor plus và nhưng cũng")
_CLAUSE_ENDS = re.compile(r"[.,;:!?\n]|\b(?:so|thus|therefore|hence|then|nên|vậy|do đó)\b")
_BARE_WORDS = 4
_MOST_BARE_LINES = 40
_MOST_SPELLINGS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The part of a completion that is graded.

    Attributes:
        text: The answer; "" when there is none.
        tagged: Whether it came out of <answer> tags.
        outside: What follows the tags; it must not say something else.
        explained: The answer that an explanation behind the tags states ("so the answer is 3"), or
            "". Other words of an explanation are free: that of "two" may speak of one dog and one.
        problem: Why there is no answer, or "".
    """

    text: str = ""
    tagged: bool = False
    outside: str = ""
    explained: str = ""
    problem: str = ""


def well_formed(completion: str, tags: Sequence[str] = USUAL_TAGS) -> bool:
    """Tell whether it is one pair of each tag, in this order, none blank, and nothing else.

    Whitespace around and between is free, and so is the tags' case. What they say is the business
    of accuracy, not of format.

    Args:
        completion: The model's text, any length.
        tags: Names without brackets; the usual ones are one <think> and then one <answer>.
    """
    loose, strict = _patterns(tuple(tags))
    found = list(loose.finditer(completion))
    names = [(match[1] + match[2]).lower() for match in found]
    if names != [side + tag for tag in tags for side in ("", "/")]:
        return False
    if not all(strict.fullmatch(match[0]) for match in found):
        return False
    # Tags that only show after normalisation would be seen by the reader but not here.
    if len(list(loose.finditer(_with_plain_tags(completion)))) != len(found):
        return False
    edges = [0, *(place for match in found for place in match.span()), len(completion)]
    texts = [completion[edges[place] : edges[place + 1]] for place in range(0, len(edges), 2)]
    outside, inside = texts[::2], texts[1::2]
    return not any(map(str.strip, outside)) and not any(map(is_blank, inside))


@functools.lru_cache(maxsize=16)
def _patterns(tags: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Find the tags asked for and the usual ones: a <think> that nobody asked for is no form."""
    names = "|".join(map(re.escape, dict.fromkeys((*USUAL_TAGS, *tags))))
    loose = re.compile(rf"<\s{{0,3}}(/?)\s{{0,3}}({names})\s{{0,3}}>", re.IGNORECASE)
    return loose, re.compile(rf"</?(?:{names})>", re.IGNORECASE)


def section(completion: str, tag: str) -> str | None:
    """Take what stands in the one pair of a tag, outside <think> and <answer>.

    Returns:
        The text; None where there is no pair, more than one, a tag without a partner, other tags
        inside, or where the pair stands inside the thinking or the answer.
    """
    if tag not in completion.lower() and completion.isascii():
        return None
    text = _with_plain_tags(completion)
    found = list(_patterns((tag,))[0].finditer(text))
    mine = [index for index, match in enumerate(found) if match[2].lower() == tag]
    if len(mine) != 2 or mine[1] != mine[0] + 1:
        return None
    opened, closed = found[mine[0]], found[mine[1]]
    within = {match[2].lower(): not match[1] for match in found[: mine[0]]}
    if opened[1] or not closed[1] or any(within.values()):
        return None
    return text[opened.end() : closed.start()]


def cued_answer(text: str) -> str:
    """Take what "the answer is" or a box introduces somewhere in a text; "" without either."""
    boxed = _boxes(text)
    if boxed is not None:
        return boxed.text or boxed.problem
    lines = [line for line in text.splitlines() if line.strip()]
    first = next((index for index, line in enumerate(lines) if _CUE.search(line)), None)
    if first is None:
        return ""
    return _SENTENCE.split(_after_cue(lines[first:]).strip(), maxsplit=1)[0]


def without_section(completion: str, tag: str) -> str:
    """Cut out the one pair of a tag that `section` reads; other texts come back as they are."""
    if section(completion, tag) is None:
        return completion
    text = _with_plain_tags(completion)
    found = [match for match in _patterns((tag,))[0].finditer(text) if match[2].lower() == tag]
    return text[: found[0].start()] + text[found[1].end() :]


def find_answer(completion: str) -> Span:
    """Find the answer of a completion.

    Args:
        completion: The model's text, any length.

    Returns:
        A Span; without tags it is the last line, or what follows "the answer is".
    """
    text = _with_plain_tags(completion)
    tags = list(_TAG.finditer(text))
    answers = [match for match in tags if match[2].lower() == "answer"]
    if answers:
        return _tagged(text, tags, answers)
    thoughts = [match for match in tags if match[2].lower() == "think"]
    if thoughts:
        last = thoughts[-1]
        if not last[1]:
            return Span(problem="the thinking never ends")
        text = text[last.end() :]
    bare, stated = _without_explanations(text)
    return replace(_untagged(bare), explained=stated)


def gold_text(answer: str) -> str:
    """Take the answer out of a gold text that may itself carry <think> and <answer> tags."""
    contents = _contents(_with_plain_tags(answer))
    return contents[0] if contents else answer


def _with_plain_tags(text: str) -> str:
    if text.isascii():
        return text
    text = _HIDDEN.sub("", text)
    return unicodedata.normalize("NFKC", text) if _ANY_ANGLE.search(text) else text


def _contents(text: str) -> list[str] | None:
    """Read the <answer> pairs in order, or None when a tag has no partner."""
    contents: list[str] = []
    opened: int | None = None
    for match in _TAG.finditer(text):
        if match[2].lower() != "answer":
            continue
        if bool(match[1]) == (opened is None):
            return None
        if opened is None:
            opened = match.end()
        else:
            contents.append(text[opened : match.start()])
            opened = None
    return contents if opened is None else None


def _tagged(text: str, tags: Sequence[re.Match[str]], answers: Sequence[re.Match[str]]) -> Span:
    contents = _contents(text)
    if contents is None:
        return Span(tagged=True, problem="an <answer> tag has no partner")
    if _differ(contents):
        return Span(tagged=True, problem=f"{len(contents)} <answer> pairs that differ")
    last_open, last_close = answers[-2], answers[-1]
    if _inside_thinking(tags, last_open):
        return Span(tagged=True, problem="the only <answer> stands inside the thinking")
    if _TAG.search(contents[-1]):
        return Span(tagged=True, problem="tags inside <answer>")
    tail, explained = _without_explanations(text[last_close.end() :])
    outside = _TAG.sub(" ", tail)
    return Span(text=contents[-1], tagged=True, outside=outside, explained=explained)


def _without_explanations(tail: str) -> tuple[str, str]:
    """Take well-formed explanations out of what follows an answer, and the answer they state.

    A tag without a partner, and tags inside, make no explanation: they stay where they are.
    """
    stated = ""
    for tag in EXPLANATIONS:
        explanation = section(tail, tag)
        if explanation is not None:
            stated = stated or _stated(explanation)
            tail = without_section(tail, tag)
    return tail, stated


def _stated(explanation: str) -> str:
    if cued := cued_answer(explanation):
        return cued
    lines = [line for line in explanation.splitlines() if line.strip()]
    # "No wait, 3" and "or 3" take the answer back; they explain nothing.
    return explanation if lines and _continues(lines[0]) else ""


def _inside_thinking(tags: Sequence[re.Match[str]], answer: re.Match[str]) -> bool:
    thoughts = [match for match in tags if match[2].lower() == "think"]
    before = [match[1] for match in thoughts if match.end() <= answer.start()]
    after = [match[1] for match in thoughts if match.start() >= answer.end()]
    return bool(before) and before[-1] == "" and "/" in after


def _differ(contents: Sequence[str]) -> bool:
    """Tell whether texts differ in words or signs; case and spacing do not count."""
    spellings = set(contents)
    if len(spellings) == 1:
        return False
    # Nobody repeats one answer in that many spellings, or at that length.
    if len(spellings) > _MOST_SPELLINGS or any(len(text) > LONGEST_ANSWER for text in spellings):
        return True
    return len({"".join(fold(text).split()).strip(".") for text in spellings}) > 1


def _untagged(text: str) -> Span:
    boxed = _boxes(text)
    if boxed is not None:
        return boxed
    lines = [line for line in text.splitlines() if line.strip() and not _RULE.fullmatch(line)]
    if not lines:
        return Span()
    cued = None
    lowered = text.lower()
    if any(word in lowered for word in _CUE_WORDS):
        cued = next((index for index, line in enumerate(lines) if _CUE.search(line)), None)
    if cued is not None:
        return Span(text=_after_cue(lines[cued:]))
    start = len(lines) - 1
    while start > 0 and (_continues(lines[start]) or _is_bare(lines[start - 1], lines[start])):
        start -= 1
        if len(lines) - start > _MOST_BARE_LINES:
            return Span(problem=f"a list of more than {_MOST_BARE_LINES} lines")
    return Span(text="\n".join(lines[start:]))


def _after_cue(lines: Sequence[str]) -> str:
    """Take what follows "the answer is"; keep the whole line when it doubted before."""
    match = _CUE.search(lines[0])
    if match is None:
        return "\n".join(lines)
    before = fold(lines[0][: match.start()][-LONGEST_ANSWER:])
    if _DOUBT & set(words_of(before)) or _denied_before(before):
        return "\n".join(lines)
    return "\n".join([lines[0][match.end() :], *lines[1:]])


def _denied_before(folded: str) -> bool:
    """Tell whether the clause that leads to an answer denies it: 'nobody thinks the answer is'.

    An earlier clause may deny what it likes: 'It is not right, so the answer is'.
    """
    clause = _CLAUSE_ENDS.split(folded)[-1]
    return bool(denies(clause) or turned(clause))


def _continues(line: str) -> bool:
    words = words_of(fold(line[:80]))
    return bool(words) and words[0] in _CONTINUES


def _is_bare(*lines: str) -> bool:
    """Tell whether lines are bare answers: a column of those is a list, not a conclusion."""
    if any(_STEP.match(line) for line in lines):
        return False
    return all(len(line) <= 80 and 0 < len(words_of(fold(line))) <= _BARE_WORDS for line in lines)


def _boxes(text: str) -> Span | None:
    r"""Read \boxed{...}: several that differ are several answers."""
    contents: list[str] = []
    end = 0
    for match in _BOX.finditer(text):
        depth, end = 1, match.end()
        limit = min(len(text), match.end() + LONGEST_ANSWER)
        while end < limit and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        if depth:
            return Span(problem="a box that is never closed")
        if len(contents) < _MOST_SPELLINGS and _denied_before(
            fold(text[: match.start()][-LONGEST_ANSWER:])
        ):
            return Span(problem="a boxed answer that is denied")
        contents.append(text[match.end() : end - 1])
    if not contents:
        return None
    if _differ(contents):
        return Span(problem="boxed answers that differ")
    return Span(text=contents[0], outside=text[end:])
