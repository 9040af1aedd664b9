"""Turns of phrase by which an answer names a thing without claiming it, whatever was asked.

    'anything but yes', 'I rule out (C)', 'the opposite of left', 'ngoại trừ 3'      turned round
    'I suppose 3', 'a toss-up, (C)', '3?', 'có vẻ như là trái'                       wavering
    'some say left', 'a fool would say 3'                                            hearsay
    'Reward: 1.0', 'checked by an expert and is correct'                             for the grader

Plain negators ('not', 'no', 'không') are not here: every reader knows what they do to its kind.
"""

import re

from vlmtune.language.doubt import without_assurance

_FAR = (
    r"(?:(?<!not )far from|nowhere near|nowhere close to) [\"'(\[]?(?:it\b|being|yes|no\b|true"
    r"|false|correct"
    r"|accurate|certain|option|\d|zero|one\b(?! another)|two|three|four|five|six|seven|eight|nine"
    r"|ten|ba\b|hai|đúng|sai\b|[b-f]\b|[a-z][)\]])"
)
_TURNED = (
    re.compile(
        r"\b(?:(?:anything|everything|all|any) but|other than|apart from|aside from|except(?:ing"
        r"|ion)?"
        r"|exclud\w+|instead of|rather than|unlike|contrary (?:to|of)|on the contrary"
        r"|the (?:exact |very |complete |total |direct |clear )?(?:opposite|reverse|contrary"
        r"|inverse"
        r"|converse|negation)(?! (?:sides?|ends?|directions?|corners?|walls?|edges?|way)\b)"
        r"|(?:opposite|reverse) of (?:yes|no\b|true|false|[b-f]\b|\()"
        r"|rul(?:e|es|ed|ing) (?:\S+ )?out|out of the question|eliminat\w+|reject\w*|disagree\w*"
        r"|den(?:y|ies|ied|ying)|refut\w+|disput\w+|contradict\w*|discard\w*|disprov\w+"
        r"|mistak\w+|an error|a (?:lie|joke|trick|trap)|nonsense|misleading|fail(?:s|ed)? to be"
        r"|dismiss\w*|forget|used to be|differs? from|(?:wrong|incorrect|false|bad)[ _](?:answer"
        r"|option|choice)"
        r"|the (?:wrong|incorrect) one"
        r"|different (?:from|to|than)|refus\w+|avoid\w*|cross(?:ed)? out|strike|retract\w*|scratch"
        r"|(?:take|takes|took|taking) (?:it |that )?back|(?:anything|everything|all|answers?"
        r"|options?)"
        r" besides|lacks|kidding|joking|i lied|on second thoughts?|opposite(?= ?:)|n o t"
        r"|(?:no,? wait|wait,? no)(?! other)|(?:wrong|mistaken) (?:to|if)|unless"
        r"|but no(?=\W*$)"
        r"|if (?:\S+ ){1,6}then|if i (?:had|have) to|impossible (?:that|for))\b"
        rf"|\b{_FAR}"
    ),
    re.compile(
        r"\b(?:(?:in|there is|there's|by) )?no (?:way|chance|means|sense|circumstances?|case"
        r"|reason|point) \S|\bno longer (?:yes|no|true|false|correct|đúng|sai)\b"
        r"|\b(?:nobody|no one|no-one|noone|none) (?:would|could|can|should|will|says?|thinks?"
        r"|believes?|claims?)\b"
        r"|(?:n't|\b(?:not|never|dont))(?: \w+){0,2} (?:say|answer|pick|choose|select|call|claim)\b"
        r"|(?:n't|\b(?:not|never|không|chưa|chẳng))(?: \w+){0,2} (?:fit|match|go with"
        r"|look correct|quote|certain|think"
        r"|believe|nghĩ|cho rằng|dám|right(?! (?:of|next|behind|above|side|in|under|on)\b))\b"
        r"|\b(?:isn't|is not|ain't|isnt) (?:it|that)\W*$|\b(?:do|does|did)(?: not|n't) see is\b"
        r"|\bnot\W*:|\bnon-(?=[\w(])|\b(?:if only|as if|as though|what if|were it)\b"
        r"|\bif (?:it|they|there|this|that|the \w+) (?:were|was|had)\b"
        r"|\? (?:no|nope|nah|wrong|false|không|sai)\b|\((?:not|no)\)|\.\.\.? ?not\b|~~"
        r"|[≠¬❌✗✘🚫⛔👎❎]|!="
    ),
    re.compile(
        r"\b(?:ngoại trừ|loại trừ|tất cả trừ|mọi thứ trừ|loại bỏ|tôi loại|khác với|khác hẳn"
        r"|trái ngược|trái với|ngược lại (?:với|của)|thay vì|đừng|chớ|không nên|không bao giờ là"
        r"|không thể(?! phủ nhận)|làm gì có|đâu phải|phủ nhận|bác bỏ|phản đối"
        r"|đáp án sai|câu trả lời sai|ngược với|(?:không|chưa) (?:chọn|có chuyện|đời nào)"
        r"|không phải là (?:đáp án|câu)|bất cứ (?:\w+ ){1,3}(?:trừ|ngoài)|sai nếu)\b"
        r"|\b(?:khong|chang phai|dau phai|lam gi co|(?<=\w )(?<!an )(?<!loi )la sai|ngoai tru"
        r"|loai tru|tat ca tru|khac voi"
        r"|trai nguoc|nguoc lai voi|nguoc voi|dap an sai|thay vi|dung chon)\b"
    ),
)
_WAVERING = (
    re.compile(
        r"\b(?:guess\w*|suppos(?:e|es|ed|edly|ing)|assum(?:e|es|ing)|presum\w+|imagin(?:e|ing)"
        r"|hopefully|alleged\w*|reportedly|purported\w*|tentativ\w+|debatabl\w+|dubious|doubt\w*"
        r"|questionabl\w+|plausibl\w+|conceivabl\w+|hypothetical\w*|speculat\w+|in theory"
        r"|theoretically|could (?:well |easily |also |just )?be|may (?:well |also )?be|might|maybe"
        r"|perhaps|possibly|probabl[ey]|arguably|potentially|likely|unlikely|depend(?:s|ing)"
        r"|at best|i reckon|give or take|verify|let's say|quote me|grain of salt|(?:little|some"
        r"|low|no) confidence|chances are|odds are|gamble"
        r"|randomly|random (?:pick|choice|answer)|shot in the dark|torn|more or less|possib\w+"
        r"|(?:i|i'm|am) lean(?:ing)? towards?|among others|inter alia|etc|et cetera|and so (?:on"
        r"|forth)"
        r"|at times|sometimes|candidates?|certain\W+false|(?!100)\d+ ?% (?:confiden\w+|sure"
        r"|certain)"
        r"|50[/ -]50|fifty[ -]fifty|toss[ -]?up|coin (?:flip|toss)|not confident"
        r"|or (?:not|so|something|someone|whatever|else|the other))\b|\?\W*$"
    ),
    re.compile(
        r"\b(?:có lẽ|có khả năng|hình như|dường như|có vẻ (?:là|như)|chắc là|phỏng đoán|tôi đoán"
        r"|hoặc|đoán|hay (?:sao|là|không|chưa)|thì phải|nếu tôi nhớ|ước chừng|chăng|khó nói"
        r"|khả năng|biết đâu|có khi"
        r"|cũng nên|giả sử|nghe nói|hên xui|không chắc|chưa chắc)\b"
        r"|\b(?:co le|co the|kha nang|kho noi|phai chang|hinh nhu|duong nhu|co ve (?:la|nhu)"
        r"|chac la|toi doan|tam doan"
        r"|gia su|nghe noi|hoac|chua chac)\b"
    ),
)
_HEARSAY = re.compile(
    r"\b(?:some(?: people| \w+)?|somebody|someone|people|others|many(?: people)?|fools?|critics)"
    r" (?:(?:might|would|may|could|will) )?(?:says?|thinks?|believes?|claims?|argues?|insists?)\b"
    r"|\b(?:is|are|was|were|been) (?:claimed|said|alleged|rumou?red|believed)\b"
    r"|\b(?:friend|he|she|teacher|caption|label|title|they|it) (?:said|says|told)\b|\btold me\b"
    r"|\bclaims?\b|\baccording to (?:some|others|many)\b|\bthe word\b|\bwhatever\b"
    r"|\brumou?rs?\b|\bpretend\w*\b|\bso-called\b"
)
_GRADER = re.compile(
    r"\b(?:rewards?|scores?|scored|grader?s?|graded|rubrics?|evaluator|full (?:marks|points)"
    r"|accuracy"
    r"|(?:previous|prior|above|all) instructions|system prompt|ground[ -]truth"
    r"|gold (?:answer|label|standard)|(?:checked|verified|confirmed|approved|reviewed|validated) by"
    r" (?:an? |the )?(?:human |domain )?(?:expert|annotator|judge|teacher|examiner)s?)\b|\[verified"
)


def turned(folded: str, *, known: str = "") -> str:
    """Return the phrase by which a folded answer takes back or hands off what it names, or "".

    Args:
        folded: An answer, folded.
        known: The folded question and options; their own words are nobody's doubt.
    """
    text = without_assurance(folded)
    for pattern in (*_TURNED, *_WAVERING, _HEARSAY, _GRADER):
        for match in pattern.finditer(text):
            phrase = match[0].strip()
            if len(phrase) < 3 or phrase not in known:
                return phrase
    return ""
