r"""Multiple choice: the one option an answer commits to, by letter or by text.

With the options table, chair, lamp:

    'B', '(b)', 'B.', 'Option B', '**B**', '\boxed{B}', 'chair', 'A chair', '(B) chair'  -> B
    '(B) table', 'A or B', 'not B', 'E', 'armchair', 'Be', '(A)(B)(C)'                   -> -
    'Based on the image, A'                                                              -> A
"""

import re
from collections.abc import Callable, Sequence

from vlmtune.language import doubt
from vlmtune.language.arguments import arguments_of
from vlmtune.language.found import Found, agree, single, unreadable
from vlmtune.language.normalise import show, tokens_of, word_set
from vlmtune.language.numbers import read_count
from vlmtune.language.relations import is_relation_phrase, read_relation
from vlmtune.language.yes_no import read_yes_no

_MOST_OPTIONS = 26
_WITHOUT_OPTIONS = 6
_CUES = word_set(
    "option choice answer letter is : = án chọn câu lựa phương là ( [ select choose pick"
)
_LABELLED = re.compile(r"(?m)^\s*\(?([A-Z])[).:]\s*(.{1,200}?)\s*$")
_INLINE = re.compile(r"\(([A-Z])\)\s*([^()\n]{1,200}?)\s*(?=\([A-Z]\)|[\n.?]|$)")
_PREFIX = re.compile(r"^\s*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Z])[.):])\s*(?=\S)")
_WRAPPED = re.compile(
    r"^[\s(\[<'\"]*(?:(?:the )?(?:correct |final |right |best |my )?(?:option|choice|answer|letter)"
    r"(?: is)?|đáp án(?: đúng)?(?: là)?|chọn|câu|lựa chọn|phương án)?[\s:=(\[<'\"#-]*"
    r"([a-z])[\s)\]>'\".:,;!?*-]*$",
    re.IGNORECASE,
)
# 'A' in front of one of these is the letter; in front of a noun it is the article.
_NOT_NOUNS = word_set(
    "is are was be seems looks appears matches fits or and nor but because since as due not with "
    "it the this that would should for by vs versus than which in at on of to from "
    "là và hoặc hay vì đúng không"
)
_ARTICLES = word_set("the a an")
_DENIAL_WORDS = re.compile(
    r"\b(?:not|never|nor|neither|wrong|incorrect|except|rather than|instead of|cannot|excluding"
    r"|(?:anything|everything|all) but|without|hardly|false|untrue|no longer|isnt|arent|wasnt"
    r"|doesnt)"
    r"\b|\bno (?=_)|\w+n't\b|\b(?:không|chẳng|chả|chưa|đâu) (?:phải|chọn|đúng|là|có|hề|thể)\b"
    r"|\bkhông (?=(?:the |an? |option )?(?:_|\(?[a-f]\b))|\bsai\b|\bngoại trừ\b|~~"
)


def options_of(question: str) -> tuple[str, ...]:
    r"""Read lettered options out of a question: '(A) 3\n(B) 2' -> ('3', '2')."""
    for pattern in (_LABELLED, _INLINE):
        found = [(match[1], match[2]) for match in pattern.finditer(question[-8000:])]
        letters = [letter for letter, _ in found]
        if len(found) >= 2 and letters == [chr(ord("A") + i) for i in range(len(found))]:
            return tuple(text for _, text in found)
    return ()


def without_letters(choices: Sequence[str]) -> tuple[str, ...]:
    """Drop letters that options carry themselves: '(A) table', '(B) chair' -> table, chair."""
    matches = [_PREFIX.match(choice) for choice in choices]
    letters = ["".join(filter(None, match.groups())).upper() if match else "" for match in matches]
    if letters == [chr(ord("A") + index) for index in range(len(choices))]:
        return tuple(
            choice[match.end() :] for choice, match in zip(choices, matches, strict=True) if match
        )
    return tuple(choices)


def read_gold(answer: str, choices: Sequence[str], *, question: str = "") -> Found:
    """Read a gold answer: '(B)', 'b', 'B. chair', or the text of an option."""
    bare = show(answer).strip()
    wrapped = re.fullmatch(r"[(\[]([A-Za-z])[)\]][.:]?|([A-Za-z])[.):]?", bare)
    if wrapped:
        letter = (wrapped[1] or wrapped[2]).upper()
        if not choices or ord(letter) - ord("A") < len(choices):
            return single(letter)
    folded = _words(bare)
    exact = [i for i, choice in enumerate(choices) if _words(show(choice)) == folded and folded]
    if len(exact) == 1:
        return single(chr(ord("A") + exact[0]))
    return read_choice(answer, choices=choices, question=question)


def read_choice(text: str, *, choices: Sequence[str] = (), question: str = "") -> Found:
    """Read the option that an answer commits to.

    Args:
        text: The answer, at most a few thousand characters.
        choices: The options, without letters; empty when they are unknown, then A to F are.
        question: What was asked; it tells 'the cat is left of the dog' from the reverse.

    Returns:
        A Found with a capital letter, or with the reason why there is none.
    """
    shown = show(text)
    if not shown:
        return unreadable("empty")
    count = min(len(choices), _MOST_OPTIONS) or _WITHOUT_OPTIONS
    wrapped = _WRAPPED.match(shown)
    exact = _exact(shown, choices)
    if wrapped and not exact:
        letter = wrapped[1].upper()
        if ord(letter) - ord("A") >= count:
            return unreadable(f"there is no option {letter}")
        return single(letter)
    reader = None if exact else _reader(choices, question)
    spans: list[tuple[int, int, int]] = []
    meant, problem, unread = frozenset[int](), "", ""
    if reader is not None:
        meant, problem, unread = _meant(shown, choices, reader)
    elif not exact:
        spans = _mentioned(shown, choices)
    texts = exact or meant or frozenset(index for index, _, _ in spans)
    rest = "" if exact else _without(shown, spans)
    letters = _letters(rest)
    named = letters | frozenset(chr(ord("A") + index) for index in texts)
    problem = problem or _problem(unread if reader else rest, letters, count)
    if problem:
        return unreadable(problem, named)
    if not named:
        return unreadable("no option")
    if len(named) > 1:
        return unreadable(f"{len(named)} options", named)
    return single(next(iter(named)))


def _problem(rest: str, letters: frozenset[str], count: int) -> str:
    folded = rest.casefold()
    if doubt.refuses(folded):
        return "a refusal"
    denial = _DENIAL_WORDS.search(doubt.without_assurance(folded))
    if denial:
        return f"a denial: {denial[0]!r}"
    hedge = doubt.hedges(folded)
    if hedge:
        return f"a hedge: {hedge!r}"
    beyond = sorted(letter for letter in letters if ord(letter) - ord("A") >= count)
    return f"there is no option {beyond[0]}" if beyond else ""


def _words(shown: str) -> tuple[str, ...]:
    """Split into compared words: folded, without articles; signs of numbers stay attached."""
    text = re.sub(r"(?<![\w)])[-–](?=\d)", " minus ", shown.casefold())
    text = re.sub(r"(\d)\.(\d)", r"\1point\2", text)
    text = re.sub(r"\b(?:a|an|the) (?=[^\W\d])", " ", text)
    return tuple(token for token in tokens_of(text) if token[0].isalnum())


def _exact(shown: str, choices: Sequence[str]) -> frozenset[int]:
    """Find the options whose text is the whole answer."""
    words = _words(shown)
    if re.match(r"[A-Za-z]\s?[.):]", shown) and len(words) > 1:
        return frozenset()
    if words:
        return frozenset(i for i, choice in enumerate(choices) if _words(show(choice)) == words)
    # An option may be an article or a sign: then only the same text matches.
    same = [i for i, choice in enumerate(choices) if show(choice).casefold() == shown.casefold()]
    return frozenset(same) if len(same) == 1 and len(shown) > 1 else frozenset()


def _mentioned(shown: str, choices: Sequence[str]) -> list[tuple[int, int, int]]:
    """Find option texts inside an answer, the longest first: (option, start, end) in characters."""
    spans: list[tuple[int, int, int]] = []
    order = sorted(range(len(choices)), key=lambda index: -len(_words(show(choices[index]))))
    for index in order[:_MOST_OPTIONS]:
        words = [re.escape(word) for word in _option_words(choices[index])]
        if not words or (len(words) == 1 and len(words[0]) == 1 and words[0].isalpha()):
            continue
        glue = r"(?:[\s\-,.'\"]{1,3}(?:(?:the|a|an)\s)?)"
        pattern = re.compile(
            rf"(?<![\w.])(?<![-–]){glue.join(words)}(?!\w)(?![.,]\d)(?:'s)?", re.IGNORECASE
        )
        for match in pattern.finditer(shown):
            start, end = match.span()
            taken = any(start < other_end and other < end for _, other, other_end in spans)
            compared = _COMPARED.search(shown[max(0, start - 40) : start])
            if not taken and not compared:
                spans.append((index, start, end))
    return spans


def _option_words(choice: str) -> list[str]:
    words = re.findall(r"[-–]?\w+(?:[.'’]\w+)*", show(choice))
    return [word for word in words if word.casefold() not in _ARTICLES] or words


def _reader(choices: Sequence[str], question: str) -> Callable[[str], Found] | None:
    """Choose the reader that understands every option and tells them apart, if there is one."""
    if len(choices) < 2:
        return None
    arguments = arguments_of(question)
    readers: list[Callable[[str], Found]] = [
        lambda text: read_count(text, question=question),
        lambda text: read_yes_no(text, question=question),
    ]
    if all(map(is_relation_phrase, choices)):
        readers.append(lambda text: read_relation(text, arguments))
    for reader in readers:
        found = [reader(choice) for choice in choices[:_MOST_OPTIONS]]
        pairs = ((a, b) for i, a in enumerate(found) for b in found[:i])
        if all(one.readable for one in found) and not any(agree(a, b) for a, b in pairs):
            return reader
    return None


def _meant(
    shown: str, choices: Sequence[str], reader: Callable[[str], Found]
) -> tuple[frozenset[int], str, str]:
    """Find the option that means what an answer says, or why none does, and the words not judged.

    The reader judges what stands behind a letter: 'Option C: one'. Where it finds nothing to read,
    all words are still to be judged, else those in front of the letter.
    """
    start = _behind_letter(shown)
    # 'It is not on the mat, so (B)' denies nothing of the letter.
    concluded = max((match.end() for match in _CONCLUDES.finditer(shown[:start])), default=0)
    body = shown[start:]
    if start and _DENIED_LETTER.match(body):
        return frozenset(), "a denial of a letter", ""
    found = reader(_ASSURED.sub(" ", body).rstrip(" \"'") if start else shown)
    if not found.readable:
        silent = found.problem in _SILENT and not found.named
        return frozenset(), "" if silent else found.problem, shown[concluded:]
    meant = frozenset(i for i, choice in enumerate(choices) if agree(reader(choice), found))
    return meant, "" if len(meant) == 1 else f"{found.value!r} is no option", shown[concluded:start]


_SILENT = frozenset({"empty", "no number", "neither yes nor no", "no relation"})
_CONCLUDES = re.compile(
    r"[,.;] (?:and )?(?:so|therefore|thus|hence|nên|vậy|vì vậy|do đó)\b", re.IGNORECASE
)
_COMPARED = re.compile(r"\b(?:than|far from|nowhere near|unlike) (?:the |a |an )?$", re.IGNORECASE)
_HEAD_LETTER = re.compile(r"(?:[(\[][A-Za-z][)\]]|(?<![\w'])([A-Z])(?!\w)(?!['’]))[\s.:,)\]-]{0,3}")
_DENIED_LETTER = re.compile(
    r"[\"')\]]*\s?(?:is|was|would be|là|la|can|should)(?:n't)? (?:\w+ ){0,2}?"
    r"(?:not|hardly|wrong|incorrect|false|untrue|sai|không|khong)\b",
    re.IGNORECASE,
)
# Said of a letter, these are neither yes nor the right-hand side.
_ASSURED = re.compile(
    r"\b(?:is|was|must be|là) (?:the )?(?:correct|right|true|best|đúng|chính xác)\b"
    r"(?: (?:answer|option|choice|one))?"
    r"|\b(?:of course|certainly|definitely|surely|absolutely|indeed|clearly|obviously)\b",
    re.IGNORECASE,
)


def _behind_letter(shown: str) -> int:
    """Find where the words behind the first letter of an option begin; 0 without a letter."""
    for match in _HEAD_LETTER.finditer(shown):
        letter = match[1]
        if not letter or letter not in "AI" or not _is_word(letter, shown[match.end(1) :]):
            return match.end()
    return 0


def _without(shown: str, spans: Sequence[tuple[int, int, int]]) -> str:
    """Blank out the matched option texts, so that their words are read only once."""
    characters = list(shown)
    for _, start, end in spans:
        characters[start:end] = "_" * (end - start)
    return "".join(characters)


_LETTER = re.compile(r"(?<![\w'])([A-Za-z])(?![\w'])")


def _letters(rest: str) -> frozenset[str]:
    letters: set[str] = set()
    for match in _LETTER.finditer(rest):
        letter, start, end = match[1], match.start(), match.end()
        before = rest[:start].rstrip()
        after = rest[end:]
        enclosed = rest[start - 1 : start] in {"(", "["} and after[:1] in {")", "]"}
        headed = after[:1] in {")", ".", ":"} and not before
        cued = bool(before) and (tokens_of(before[-20:].casefold()) or [""])[-1] in _CUES
        if letter.isupper():
            if letter in "AI" and not (enclosed or headed) and _is_word(letter, after):
                continue
            letters.add(letter)
        elif enclosed or headed or (cued and _closes(after) and letter != "i"):
            letters.add(letter.upper())
    return frozenset(letters)


def _closes(after: str) -> bool:
    return not after.strip() or after.lstrip()[:1] in ".,;:)]!?\n"


def _is_word(letter: str, after: str) -> bool:
    """Tell the article in 'A chair' and the pronoun in 'I think' from the letters A and I."""
    following = re.match(r"\s+([^\W\d]+)", after)
    if letter == "I":
        return following is not None or after.startswith(("'", "’"))
    if following is None:
        return False
    if re.fullmatch("[A-Z]", following[1]):
        return False
    return following[1].casefold().strip("_") not in _NOT_NOUNS or following[1].startswith("_")
