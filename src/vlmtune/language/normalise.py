r"""One spelling for what looks the same: the first step of every reader.

    '**Ｌｅｆｔ**.'                 -> 'left.'
    '$\boxed{\text{Three}}$'        -> 'three'
    'be\u0302n tra\u0301i' (NFD)    -> 'bên trái'
    '٣'                            -> '3'

What carries meaning stays: '-3' keeps its sign, '3²' becomes '3^2', a line break stays a break.
"""

import re
import unicodedata

LONGEST_ANSWER = 1500
"""Characters. A relation, number, letter or yes never takes more; a longer text is unreadable."""

LONGEST_TEXT = 5000
"""Characters of the longest caption or open answer that is compared."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
_RAISED = re.compile("[²³¹⁰⁴-⁹₀-₉]+|[¼-¾⅐-⅞↉]")
_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("‘’‛ʼ′´`＇", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑‒﹣−", "-"),
        **dict.fromkeys("―⸺", "—"),
        "\u2028": "\n",
        "\u2029": "\n",
        "\x85": "\n",
        "。": ".",
        "、": ",",
        "∕": "/",
        "⁄": "/",
        "⁓": "~",
        "∼": "~",
        "～": "~",
    }
)
# What a command shows as is kept as a sign; commands that only change the look vanish.
_SIGNS = {
    "pm": "±", "mp": "±", "approx": "≈", "sim": "~", "simeq": "≈", "geq": "≥", "ge": "≥",
    "leq": "≤", "le": "≤", "neq": "≠", "ne": "≠", "times": "×", "cdot": "×", "div": "÷",
    "gt": ">", "lt": "<", "infty": "∞", "sqrt": "^", "frac": "/", "dfrac": "/", "tfrac": "/",
    "quad": " ", "qquad": " ", "ldots": "...", "dots": "...", "cdots": "...", "neg": "not ",
    "lnot": "not ", "cancel": "~~", "bcancel": "~~", "xcancel": "~~", "sout": "~~", "percent": "%",
}  # fmt: skip
_LOOKS = re.compile(
    r"\\(?:boxed|fbox|framebox|mbox|text[a-z]{0,6}|math[a-z]{0,6}|operatorname|displaystyle|"
    r"boldsymbol|bf|it|rm|tt|left|right|large|Large|huge|Huge|bigl?|Bigl?)(?![a-zA-Z])\*?"
)
_COMMAND = re.compile(r"\\([a-zA-Z]{1,20})")
_LATEX_SPACE = re.compile(r"\\[,;:! ]")
_LATEX_DELIMITER = re.compile(r"\\[\[\]()]|\$(?!\d)|(?<=\w)\$|[{}]")
_HTML = re.compile(r"</?(?:b|i|u|em|strong|p|span|code|mark|h[1-6]|br)\s{0,3}/?>", re.IGNORECASE)
_STRUCK_HTML = re.compile(r"</?(?:s|del|strike)\s{0,3}>", re.IGNORECASE)
_BULLET = re.compile(r"(?m)^[ \t]*(?:[*•‣▪●◦>]+|#{1,6})[ \t]+")
_FENCE = re.compile(r"(?m)^[ \t]*(?:```|~~~)[^\n]*$|```")
_EMPHASIS = re.compile(r"(?<!\w)[*_]{1,3}|[*_]{1,3}(?!\w)|(?<=\w)\*\*(?=\w)(?!\d)")
_SPACES = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r" ?\n[ \n]*")


def show(text: str) -> str:
    r"""Remove what a reader does not see and unify what looks alike; case stays.

    Args:
        text: Anything, lone surrogates included.

    Returns:
        NFKC text with ASCII digits, plain quotes and dashes, no invisible characters, markdown or
        LaTeX dressing; single spaces; line breaks kept as single '\n'; stripped.
    """
    text = _RAISED.sub(lambda match: _lower_raised(match[0]), text)
    text = unicodedata.normalize("NFKC", text.translate(_PUNCTUATION)).translate(_PUNCTUATION)
    text = _CONTROL.sub(" ", _INVISIBLE.sub("", text))
    if not text.isascii():
        text = "".join(map(_ascii_digit, text))
    return _tidy(_undress(text))


def fold(text: str) -> str:
    """Do what `show` does, and casefold: the form in which words are compared."""
    return unicodedata.normalize("NFC", show(text).casefold())


def plain(text: str) -> str:
    """Reduce a text to its words: folded, no punctuation, no English article in front.

    Two answers with equal, non-empty `plain` say the same.
    """
    words = words_of(fold(text))
    if len(words) > 1 and words[0] in {"a", "an", "the"}:
        words = words[1:]
    return " ".join(words)


_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_|\n")


def words_of(folded: str) -> list[str]:
    """Split into words; apostrophes stay inside ("don't"), everything else separates."""
    return _WORD.findall(folded)


def tokens_of(folded: str) -> list[str]:
    """Split into words, single signs and line breaks."""
    return _TOKEN.findall(folded)


def word_set(words: str) -> frozenset[str]:
    """Write a vocabulary as one line of words."""
    return frozenset(words.split())


def is_blank(text: str) -> bool:
    """Tell whether nothing visible is there: whitespace, controls and invisible marks only."""
    return not _CONTROL.sub("", _INVISIBLE.sub("", text)).strip()


def _lower_raised(run: str) -> str:
    # NFKC alone would turn 3² into 32 and 3½ into 31/2.
    plain_run = unicodedata.normalize("NFKC", run)
    return f" {plain_run} " if "\u2044" in plain_run else f"^{plain_run}"


def _ascii_digit(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    value = unicodedata.digit(character, None)
    # Digits without place value (Ethiopic, dingbats) are numbers of their own.
    return character if value is None else f" {value} "


def _undress(text: str) -> str:
    if "\\" in text:
        text = _LATEX_SPACE.sub(" ", _LOOKS.sub("", text))
        text = text.replace("\\%", "%").replace("\\$", "$ ").replace("\\#", "#")
        text = _LATEX_DELIMITER.sub(" ", text)
        text = _COMMAND.sub(lambda match: _SIGNS.get(match[1], f" {match[1]} "), text)
    if "$" in text or "{" in text or "}" in text:
        text = re.sub(r"\$(\d[^$\n]{0,40})\$", r" \1 ", text)
        text = _LATEX_DELIMITER.sub(" ", text)
    if "<" in text:
        text = _HTML.sub(" ", _STRUCK_HTML.sub("~~", text))
    text = _BULLET.sub("", _FENCE.sub("", text))
    return _EMPHASIS.sub("", text).replace("`", "")


def _tidy(text: str) -> str:
    return _BREAKS.sub("\n", _SPACES.sub(" ", text)).strip()
