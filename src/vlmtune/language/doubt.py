"""Words that take an answer back: refusals, hedges and denials, in English and Vietnamese.

An answer that refuses, hedges or denies commits to nothing, whatever else it names.
"""

import re

_CANNOT = (
    r"(?:can ?not|can't|cant|could ?n[o']t|couldn't|unable to|impossible to|hard to|difficult to"
    r"|not possible to|no way to|not able to)"
)
_REFUSAL = re.compile(
    rf"\b{_CANNOT}\s(?:\w+\s){{0,2}}(?:determine|tell|say|answer|identify|know|judge|provide|infer|"
    r"decide|be (?:determined|seen|said|told|answered|known|identified)|see (?:the|any|an) image|"
    r"assess|discern|confirm|verify|count|make out|view|access|help|assist)"
    r"|\b(?:do ?n[o']t|do not|does not|doesn't|did not|didn't|dunno|would not|wouldn't) "
    r"(?:really |actually |even )?know\b|\bdunno\b|\bidk\b"
    r"|\b(?:not|n't|un) ?(?:sure|certain|clear|determinable|known)\b"
    r"|\b(?:unsure|uncertain|unclear|unknown|undetermined|undeterminable|indeterminate|ambiguous"
    r"|who knows|no one knows|nobody knows|god knows|unanswerable|inconclusive|unspecified"
    r"|undefined)\b|\bkhong (?:biet|ro|chac|xac dinh|the)\b"
    r"|\bno (?:idea|clue|answer|information|info|way to|image|picture|photo|data|context|opinion)\b"
    r"|\bn ?/ ?a\b|\bnot (?:applicable|given|specified|provided|enough|determined|available)\b"
    r"|\b(?:insufficient|null|nan|undecided)\b"
    r"|\b(?:không|chưa|chẳng|chả)(?: thể| hề)? (?:biết|rõ|chắc|xác định|thể|nhìn rõ|thấy rõ|trả lời"
    r"|đủ thông tin)"
)
# 'có thể thấy' and 'as we can see' report, they do not doubt.
_SAFE = re.compile(
    r"\bcó thể (?:nhìn |nói |quan sát )?(?:thấy|được|rằng|là thấy)\b"
    r"|\b(?:beyond |without |there is |there's )?(?:no|a|any) doubts?(?: that| about it)?\b"
    r"|\b(?:undoubted\w*|undoubtably|doubtless\w*|(?:without|beyond) (?:any )?question)\b"
    r"|\bfor (?:sure|certain)\b"
    r"|\bno (?:problem|matter|question|wonder)\b|\bkhông gian\b|\bkhông ảnh\b"
    r"|\bkhông nghi ngờ gì\b|(?<!không )(?<!chưa )\bchắc chắn\b|\bchac chan\b"
)
_HEDGE = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|probably|presumably|likely|unlikely|alternatively"
    r"|might|may be|could be|could also|potentially|supposedly|arguably|neither"
    r"|depends|depending|sometimes|partly|partially|sort of|kind of|somewhere|guess(?:ing)?"
    r"|both|and/or|versus|vs|whichever|any of|doubt\w{0,4}|one of)\b"
    r"|\b(?:hoặc|hay|có lẽ|có thể|có khả năng|hình như|chắc là|chắc|dường như|tùy|tuỳ|cả hai"
    r"|vừa|đoán|không hẳn|hoặc là|một trong)\b"
)
_DENIAL = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no|without|except|nowhere|hardly|false|wrong|incorrect"
    r"|untrue|opposite day|instead of|rather than"
    r"|(?:anything|everything|all) but|nothing(?! else)|nobody|isnt|arent"
    r"|doesnt|wasnt)\b|\w*n't\b"
    r"|\b(?:không|chẳng|chả|chưa|sai|đâu có|đừng|ngoại trừ|thay vì|chớ)\b"
)
_ASKING = re.compile(
    r"(^|[.!?\n])\s{0,9}(?:is|are|was|were|does|do|did|can|could|should|will|would|has|have|where"
    r"|what|which|who|how many|how)\b[^.!?\n]{0,400}\?",
    re.IGNORECASE,
)
# A hint repeated: 'Answer with the letter of one option.', 'Trả lời bằng một số.'
_INSTRUCTION = re.compile(
    r"(^|[.!?\n])\s{0,9}(?:please )?(?:(?:answer|respond|reply) (?:the question )?"
    r"(?:(?:with|using|in|by) (?:(?:only|just|exactly|either) )?(?:a|an|the|one|your|yes|option"
    r"|letter|number)\b|yes or no\b)|(?:choose|select|pick|give|write|name) (?:(?:only|just|exactly"
    r"|from) )*(?:the letter|one|a|an|the (?:final|correct|best|right|following))"
    r" (?:\w+ ){0,3}?(?:options?|letters?|answers?|choices?|numbers?|words?|relations?)\b"
    r"|(?:hãy )?trả lời (?:bằng|với) (?:một|chữ|số|có|cụm)|(?:hãy )?chọn một (?:trong|đáp|lựa"
    r"|phương))"
    r"[^.:!?\n]{0,200}(?:[.:!?\n]|$)",
    re.IGNORECASE,
)
_LONGEST_ECHO = 2000
_SHORTEST_ECHO = 3
_STRUCK = re.compile(r"~~")


def without_questions(text: str, question: str) -> str:
    """Drop what an answer only asks: the question or its hint repeated, 'Is it left?'.

    Args:
        text: An answer, not folded.
        question: What was asked; an echo of it claims nothing.
    """
    words = question[:_LONGEST_ECHO].split()
    if len(words) >= _SHORTEST_ECHO:
        echo = r"\s{1,9}".join(map(re.escape, words))
        text = re.sub(echo, " ", text, flags=re.IGNORECASE)
    return _INSTRUCTION.sub(r"\1 ", _ASKING.sub(r"\1 ", text))


def without_assurance(folded: str) -> str:
    """Drop phrases that look like denial or doubt and are neither: 'no doubt', 'không gian'."""
    return _SAFE.sub(" ", folded)


def refuses(folded: str) -> bool:
    """Tell whether a folded answer says that it does not know."""
    return _REFUSAL.search(without_assurance(folded)) is not None


def hedges(folded: str) -> str:
    """Return the word by which a folded answer keeps two doors open, or ""."""
    match = _HEDGE.search(without_assurance(folded))
    return match[0] if match else ""


def denies(folded: str) -> str:
    """Return the word by which a folded answer denies something, or ""."""
    match = _DENIAL.search(without_assurance(folded)) or _STRUCK.search(folded)
    return match[0] if match else ""
