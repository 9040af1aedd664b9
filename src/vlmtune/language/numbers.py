"""Counts: the one whole number an answer commits to.

'three (3)', '3.0', '٣', 'There are three dogs.'   -> 3
'no dogs', 'none', 'không có con chó nào'            -> 0
'3 or 4', '2-4', 'about 3', 'at least 3', '3rd', '-3', '1+2', 'a couple', '4 cats' of dogs -> -
"""

import re
from dataclasses import dataclass

from vlmtune.language import doubt, nouns, number_words
from vlmtune.language.found import Found, merge, single, unreadable
from vlmtune.language.normalise import fold, word_set, words_of
from vlmtune.language.zero import says_zero

_MOST_DIGITS = 15
_VAGUE = re.compile(
    r"\b(?:few|several|couple|handful|dozens|hundreds|thousands|lots|lot|plenty|numerous|multiple"
    r"|various|countless|pair|pairs|tens|scores|many|ish|ton|tons|bunch|group of|majority|most"
    r"|infinity|infinite|inf|twos|threes|fours|fives|sixes|sevens|eights|nines|half|quarter"
    r"|quarters|third of|percent|percentage|pct)\b"
    r"|\b(?:vài|mấy|nhiều|dăm|hàng|đôi|cặp|một số|một ít|mươi|rưỡi|nửa|phần trăm|vô số|phân nửa"
    r"|đa số)\b"
)
# Words that turn a number into a bound or an estimate, wherever they stand.
_LOOSE = re.compile(
    r"\b(?:at least|at most|at minimum|at maximum|minimum|maximum|approximately|approx|roughly"
    r"|nearly|almost|circa|up to|upwards? of|more than|less than|fewer than|greater than|no more"
    r"|no fewer|no less|as many as|as few as|and more|or more|more or less|plus|minus|negative"
    r"|estimated?|estimate|give or take|or so|point|divided|times|squared|between [\w ]{1,20} and"
    r"|from [\w ]{1,20} to|not more|beyond)\b"
    r"|\b(?:ít nhất|nhiều nhất|tối thiểu|tối đa|khoảng|chừng|tầm|xấp xỉ|gần như|hơn|trở lên"
    r"|trở xuống|không quá|cỡ|ước chừng|ước tính|ước lượng|phẩy|(?<!tổng )cộng|nhân|chia|âm|trừ)\b"
)
# These bound a number only directly before it; elsewhere they are places ("around the table").
_BEFORE = word_set(
    "about around over under above below near by some another first last top every each non than "
    "least most "
    "gần trên dưới quanh thứ ngoài đến tới từ ≈ ~"
)
_AFTER = word_set(
    "half quarter quarters third thirds fourth fourths fifths percent pct ish point phẩy rưỡi "
    "times x degrees lần"
)
_UNITS = word_set(
    "meter meters metre metres m cm mm km kg g lb lbs foot feet ft inch inches yard yards mile "
    "miles second seconds minute minutes hour hours day days week weeks month months year years "
    "degree pixel pixels px dollar dollars usd euro euros pound pounds cent cents am pm o'clock "
    "liter liters litre litres mét giờ phút giây tuổi đồng độ dặm"
)
# Stands for the hyphen of '5-star', which makes an adjective of a number.
_COMPOUND = "\x02"
_HYPHENATED = re.compile(r"(?<!\w)(\w+)-(?=([^\W\d_]+))")
_SIGNS_BEFORE = frozenset("+=*/×÷^<>≤≥≠≈~±#$€£¥|\\&@")
_SIGNS_AFTER = frozenset("+=*/×÷^<>≤≥≈~±%°€£¥|\\&") | {_COMPOUND}
_PRONOUN_BEFORE = word_set(
    "the this that which each every another other a an any some first last next only big small "
    "large little left right middle other same taller smaller bigger larger"
) | frozenset(nouns.COLOURS)
_PRONOUN_AFTER = word_set("of can could would should may might another who which that by")
_CLAUSES = word_set("and but no while")
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_|\n")
_LITERAL = re.compile(r"\d+(?:[.,']\d+)*")
_SPACED = re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3})+(?![\w])(?![.,]\d)")
_NOT_ONE = re.compile(r"\b(?:not|\w+n't|without|never)(?: \w+){0,2}? (?:a single|one)\b")
_NOTHING_TOO = re.compile(r"\b(?:none|nil|nobody|no one|nothing)\b(?! (?:of|else))")
_INTERJECTION = re.compile(
    r"^\s*(?:no|không)\s*[,.:;!]|\b(?:and|but|with|,) no \w+|\bsố không\b|\bkhông trăm\b"
)
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)|1er|\d+[ºª]")
_VIETNAMESE = re.compile("[đăâêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    """A number in an answer: its value, and where its words begin and end."""

    value: int
    start: int
    end: int


def read_count(text: str, *, question: str = "") -> Found:
    """Read the count that an answer commits to.

    Args:
        text: The answer, at most a few thousand characters.
        question: What was asked; its noun decides what is counted.

    Returns:
        A Found with the number in decimal digits, or with the reason why there is none.
    """
    folded = fold(text)
    if not folded:
        return unreadable("empty")
    if doubt.refuses(folded):
        return unreadable("a refusal")
    asked = nouns.asked_words(question)
    tokens, literals, problem = _tokens(folded, vietnamese=_is_vietnamese(folded + question))
    mentions, sign_problem = _mentions(tokens, literals)
    named = frozenset(str(mention.value) for mention in mentions)
    problem = problem or sign_problem or _qualified(folded, tokens, mentions, question)
    if problem:
        return unreadable(problem, named)
    if not mentions:
        return _without_number(folded, tokens, asked)
    return _with_numbers(folded, tokens, mentions, asked)


def _with_numbers(
    folded: str, tokens: list[str], mentions: list[_Mention], asked: list[str]
) -> Found:
    named = frozenset(str(mention.value) for mention in mentions)
    denial = doubt.denies(_without_interjection(folded))
    if denial:
        # Without its numbers "no dogs (0)" still denies all dogs; "zero is wrong" does not.
        without = " ".join(_outside(tokens, mentions)) if named == {"0"} else folded
        nothing = named == {"0"} or (len(mentions) == 1 and _NOT_ONE.search(folded))
        if nothing and says_zero(without, asked) and says_zero(folded, asked):
            return single("0")
        return unreadable(f"a denial: {denial!r}", named)
    if named != {"0"} and _NOTHING_TOO.search(folded):
        return unreadable("a number and none", named)
    others = [m for m in mentions if nouns.is_other(_phrase(tokens, m.end), asked)]
    if len(others) == len(mentions):
        return unreadable("a count of something else", named)
    articles = [single("1").claims[0]] if _has_article(tokens, mentions, asked) else []
    claims = merge([frozenset({str(mention.value)}) for mention in mentions] + articles)
    if len(claims) > 1:
        return unreadable(f"{len(claims)} numbers", named)
    return Found(claims=claims, named=named)


def _without_number(folded: str, tokens: list[str], asked: list[str]) -> Found:
    if says_zero(folded, asked):
        return single("0")
    if _has_article(tokens, [], asked) and not doubt.denies(folded):
        return single("1")
    return unreadable("no number")


def _without_interjection(folded: str) -> str:
    """Drop a leading 'no' that a number follows: 'No, there are 3' denies nothing of the 3."""
    return _INTERJECTION.sub(" ", doubt.without_assurance(folded))


def _is_vietnamese(text: str) -> bool:
    return _VIETNAMESE.search(fold(text[-4000:])) is not None


def _tokens(folded: str, *, vietnamese: bool) -> tuple[list[str], dict[int, int], str]:
    """Split an answer; numbers in digits become one token each, with their value by position."""
    text = _SPACED.sub(lambda match: match[0].replace(" ", ""), folded)
    text = _HYPHENATED.sub(_part_words, text)
    tokens: list[str] = []
    literals: dict[int, int] = {}
    position, problem = 0, ""
    for match in _TOKEN.finditer(text):
        if match.start() < position:
            continue
        token = match[0]
        if token[0].isdigit() and token.isdigit():
            literal = _LITERAL.match(text, match.start())
            token = literal[0] if literal else token
            following = text[match.start() + len(token) : match.start() + len(token) + 1]
            value = None if following.isalnum() else _value(token, vietnamese=vietnamese)
            if value is None:
                problem = f"{token!r} is no whole number"
            else:
                literals[len(tokens)] = value
        elif any(map(str.isdigit, token)) and not _ORDINAL.fullmatch(token):
            problem = f"{token!r} is no whole number"
        position = match.start() + len(token)
        if literals.get(len(tokens)) is not None and _signed(text, match.start()):
            problem = "a number with a sign"
        tokens.append(token)
    return tokens, literals, problem


def _part_words(match: re.Match[str]) -> str:
    """Spell 'twenty-one' as two words, and mark the hyphen of '5-star' and 'five-star'."""
    left, right = match[1], match[2]
    counts = left.isdigit() or number_words.parse([left], 0) is not None
    if counts and number_words.parse([right], 0) is None and right not in number_words.MAGNITUDES:
        return f"{left} {_COMPOUND} "
    return f"{left} "


def _signed(text: str, start: int) -> bool:
    """Tell whether a number carries a minus: '-3' does, 'dogs - 3' and 'there: - 3' do not."""
    before = text[:start]
    if before.endswith("."):
        return not before.endswith("..")
    if before.endswith(("-", "–")):
        return True
    stripped = before.rstrip()
    return stripped in {"-", "–"}


def _value(token: str, *, vietnamese: bool) -> int | None:
    """Read digits with separators: 1,000 and 1.000.000 and 3.0, but not 3.5 or 1,2."""
    if len(token) > _MOST_DIGITS + 6:
        return None
    whole, dot, decimals = token.rpartition(".")
    if not dot:
        return _grouped(token)
    if "." in whole or (vietnamese and len(decimals) == 3 and len(whole) <= 3):
        return _grouped(token)
    return _grouped(whole) if not decimals.strip("0") else None


def _grouped(token: str) -> int | None:
    parts = re.split("[.,']", token)
    if len(parts) > 1:
        separators = set(token) & set(".,'")
        fits = len(separators) == 1 and 1 <= len(parts[0]) <= 3 and parts[0] != "0"
        if not fits or any(len(part) != 3 for part in parts[1:]):
            return None
    digits = "".join(parts)
    return int(digits) if len(digits) <= _MOST_DIGITS else None


def _mentions(tokens: list[str], literals: dict[int, int]) -> tuple[list[_Mention], str]:
    mentions: list[_Mention] = []
    index = 0
    while index < len(tokens):
        parsed = _number_at(tokens, literals, index)
        if parsed is None:
            index += 1
            continue
        value, end = parsed
        if value == 0 and tokens[index] == "không" and not _counts_zero(tokens, index):
            index = end
            continue
        if tokens[index : index + 1] == ["one"] and _is_pronoun(tokens, index):
            index = end
            continue
        if index and tokens[index - 1] == "thứ":
            index = end
            continue
        problem = _spoiled(tokens, index, end)
        if problem:
            return [*mentions, _Mention(value=value, start=index, end=end)], problem
        mentions.append(_Mention(value=value, start=index, end=end))
        index = end
    return mentions, ""


def _number_at(tokens: list[str], literals: dict[int, int], index: int) -> tuple[int, int] | None:
    if index not in literals:
        return number_words.parse(tokens, index)
    value, end = literals[index], index + 1
    while end < len(tokens) and tokens[end] in number_words.MAGNITUDES:
        value, end = value * number_words.MAGNITUDES[tokens[end]], end + 1
    return value, end


def _counts_zero(tokens: list[str], index: int) -> bool:
    """Tell whether 'không' is the digit: behind 'số', or inside a longer number."""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    return (index > 0 and tokens[index - 1] == "số") or after == "trăm"


def _is_pronoun(tokens: list[str], index: int) -> bool:
    before = tokens[index - 1] if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    if before == "only" and (index < 2 or tokens[index - 2] not in {"the", "an", "a"}):
        return after in _PRONOUN_AFTER
    return before in _PRONOUN_BEFORE or before == "no" or after in _PRONOUN_AFTER


def _spoiled(tokens: list[str], start: int, end: int) -> str:
    """Say what next to a number makes it another thing than a count, or ""."""
    before = tokens[start - 1] if start else ""
    after = tokens[end] if end < len(tokens) else ""
    if before in _BEFORE or before in _SIGNS_BEFORE:
        return f"{before!r} before a number"
    if after in _AFTER or after in _SIGNS_AFTER or _ORDINAL.fullmatch(after):
        return f"{after!r} behind a number"
    if after in {"-", "–"} and end + 1 == len(tokens):
        return "an open range"
    # A quote that was opened before closes here.
    if after in {"'", '"'} and before != after and tokens[:start].count(after) % 2 == 0:
        return "a measure in feet or inches"
    ranged = after in {"-", "–", "to", "đến", "tới", ":"} or tokens[end : end + 2] == [".", "."]
    follows = next((t for t in tokens[end + 1 : end + 4] if t != "."), "")
    if ranged and (follows[:1].isdigit() or number_words.parse([follows], 0) is not None):
        return "a range"
    return ""


def _qualified(folded: str, tokens: list[str], mentions: list[_Mention], question: str) -> str:
    """Say which word makes the answer vague, or ""."""
    text = re.sub(r"\b(?:how many|hom nay)\b", " ", doubt.without_assurance(folded))
    # Number words that end in 'mươi' or start with 'nhiều nhất' are judged as what they are.
    text = re.sub(r"\b(?:hai|ba|bốn|năm|sáu|bảy|bẩy|tám|chín) mươi\b|\bhalf a? ?dozen\b", " ", text)
    for pattern in (_LOOSE, _VAGUE):
        match = pattern.search(text)
        if match:
            return f"vague: {match[0]!r}"
    hedge = doubt.hedges(folded)
    if hedge:
        return f"a hedge: {hedge!r}"
    words = set(words_of(fold(question[:2000])))
    unit = next(
        (tokens[m.end] for m in mentions if m.end < len(tokens) and tokens[m.end] in _UNITS), ""
    )
    return f"a measure in {unit!r}" if unit and unit not in words else ""


def _phrase(tokens: list[str], start: int) -> list[str]:
    phrase: list[str] = []
    for token in tokens[start : start + 5]:
        if not token[0].isalpha() or token in nouns.PHRASE_ENDS | _CLAUSES:
            break
        phrase.append(token)
    return phrase


def _outside(tokens: list[str], mentions: list[_Mention]) -> list[str]:
    taken = {index for mention in mentions for index in range(mention.start, mention.end)}
    return [token for index, token in enumerate(tokens) if index not in taken]


def _has_article(tokens: list[str], mentions: list[_Mention], asked: list[str]) -> bool:
    """Find 'a dog' where dogs are asked: it says one as plainly as '1 dog'."""
    taken = {index for mention in mentions for index in range(mention.start, mention.end)}
    for index, token in enumerate(tokens):
        compared = index > 0 and tokens[index - 1] in {"from", "than", "unlike"}
        if token in {"a", "an"} and index not in taken and not compared:
            phrase = _phrase(tokens, index + 1)
            if any(nouns.is_asked(phrase[:length], asked) for length in (1, 2, 3)):
                return True
    return False
