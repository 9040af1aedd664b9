"""Spatial relations: the one relation an answer commits to, in the order the question asks.

Asked where the cat is relative to the dog:

    'left', 'to the LEFT-hand side', 'bên trái'             -> left of
    'The dog is to the right of the cat'                    -> left of (the inverse, things swapped)
    'not to the left', 'left or right', 'The cat left the room', 'The bird is left of the dog' -> -
"""

from collections.abc import Sequence

from vlmtune.language import doubt, ontology
from vlmtune.language.arguments import OBJECT, SUBJECT, Arguments, mask
from vlmtune.language.found import Claim, Found, merge, unreadable
from vlmtune.language.normalise import fold, word_set
from vlmtune.language.relation_words import THING, Mention, mentions_in, relation_tokens

_HARD_STOPS = frozenset([".", ";", "!", "?", "\n"]) | {"\n"}
_STOPS = _HARD_STOPS | word_set(", : ( ) - – — / | & and but while whereas so và còn nhưng")
_VERBS = word_set(
    "is are was were be being stands sits lies appears seems looks remains rests has have there "
    "stand sit lie that which who là có nằm đứng ngồi đang được"
)
_POSTURES = word_set(
    "located positioned placed situated standing sitting lying resting found seen visible standing "
    "directly just slightly right immediately exactly simply only clearly spatially relatively "
    "definitely certainly indeed partly mostly actually it they he she this ở nằm đứng ngồi là "
    "đang được đặt ngay hẳn phía nó chúng"
)
_FILLERS = word_set(
    "the a an of to from it its them him her each other one another this that side here there "
    "directly slightly respectively also too very as well both của nó nhau kia này đó ấy con cái "
    "chiếc quả so với gầm lòng mặt"
)
_GENERIC = word_set(
    "answer relation relationship position location object subject first side direction place "
    "spatial correct final right left it this that he she they them one former item thing "
    "placement "
    "orientation option result conclusion bit little word there which what where think believe i "
    "say would response "
    "correctly as we see can be seen i'd it's that's there's he's she's they're i'm here "
    "confident certain sure clear conclude must checking looking dap an la cau tra loi "
    "tôi toi mình ta ràng nghĩ tin rằng thấy đúng chắc chắn "
    "đáp án câu trả lời vị trí quan hệ không gian nó đó chúng mối tương đối kết quả"
)
_TOGETHER = frozenset({"each", "another", "nhau"})
_DETERMINERS = word_set("the a an this that con cái chiếc")


def read_relation(text: str, arguments: Arguments) -> Found:
    """Read the relation that an answer commits to.

    Args:
        text: The answer, at most a few thousand characters.
        arguments: The things of the question; see `arguments_of`.

    Returns:
        A Found whose claims are names of `vlmtune.language.ontology`, from subject to object.
    """
    folded = fold(text)
    if not folded:
        return unreadable("empty")
    if doubt.refuses(folded):
        return unreadable("a refusal")
    tokens = mask(relation_tokens(text), arguments)
    mentions, problem = mentions_in(tokens)
    named = frozenset(name for mention in mentions if not mention.weak for name in mention.claim)
    if problem:
        return unreadable(problem, named)
    rest = [t for i, t in enumerate(tokens) if not any(m.start <= i < m.end for m in mentions)]
    spoken = " ".join(rest)
    word = doubt.hedges(spoken) or doubt.denies(spoken)
    if word:
        return unreadable(f"a hedge or denial: {word!r}", named)
    return _claims(tokens, mentions, arguments, named)


def is_relation_phrase(text: str) -> bool:
    """Tell whether a text is a relation and nothing else: 'left', 'in front of'."""
    tokens = [token for token in relation_tokens(text) if token not in _STOPS]
    mentions, problem = mentions_in(tokens)
    return not problem and bool(mentions) and sum(m.end - m.start for m in mentions) == len(tokens)


def _claims(
    tokens: Sequence[str], mentions: Sequence[Mention], arguments: Arguments, named: frozenset[str]
) -> Found:
    claims: list[Claim] = []
    foreign = ""
    for mention in mentions:
        if mention.weak and not _is_predicate(tokens, mention):
            continue
        claim, problem = _oriented(tokens, mention, arguments)
        if claim is not None:
            claims.append(claim)
        elif not mention.weak or not foreign:
            foreign = problem
            if not mention.weak:
                return unreadable(problem, named)
    merged = merge(claims)
    named |= frozenset(name for claim in merged for name in claim)
    if not merged:
        return unreadable(foreign or "no relation", named)
    if len(merged) > 1 and not _is_compound(merged):
        return unreadable(f"{len(merged)} relations", named)
    return Found(claims=merged, named=named)


def _is_compound(claims: Sequence[Claim]) -> bool:
    """Tell whether claims name different directions of one place: above and to the left."""
    axes = [ontology.AXES.get(name, "") for claim in claims for name in sorted(claim)[:1]]
    return "" not in axes and len(set(axes)) == len(axes)


def _oriented(
    tokens: Sequence[str], mention: Mention, arguments: Arguments
) -> tuple[Claim | None, str]:
    """Turn a mention into a claim from the question's subject to its object."""
    before, stranger = _before(tokens, mention)
    after, other = _after(tokens, mention)
    owner = mention.owner.removesuffix("'s")
    if owner:
        after, other = owner, ""
    if not before and after:
        before = _inverted_subject(tokens, mention, after)
        stranger = "" if before else stranger
    if stranger and arguments.subject and not before:
        return None, f"about {stranger!r}, which was not asked"
    if other and not after and arguments.object:
        return None, f"relative to {other!r}, which was not asked"
    if before == "both" or (before and before == after):
        symmetric = all(name in ontology.SYMMETRIC for name in mention.claim)
        if before == "both" and symmetric:
            return mention.claim, ""
        return None, "a thing related to itself"
    if before == OBJECT or after == SUBJECT:
        inverse = frozenset().union(
            *(ontology.INVERSE.get(name, frozenset()) for name in mention.claim)
        )
        return (inverse, "") if inverse else (None, "no inverse")
    return mention.claim, ""


def _before(tokens: Sequence[str], mention: Mention) -> tuple[str, str]:
    """Find the thing that a mention is said of, or an unasked one; both "" when there is none."""
    words: list[str] = []
    for index in range(mention.start - 1, -1, -1):
        token = tokens[index]
        if token in _HARD_STOPS:
            break
        if token.startswith(THING):
            thing = token.removesuffix("'s")
            pair = {t for t in tokens[max(0, index - 4) : index] if t.startswith(THING)} - {thing}
            linked = (
                "and" in tokens[max(0, index - 3) : index]
                or "và" in tokens[max(0, index - 3) : index]
            )
            return ("both", "") if pair and linked else (thing, "")
        words.append(token)
    words.reverse()
    return "", _stranger(words)


def _stranger(words: Sequence[str]) -> str:
    """Find an unasked subject: the noun before the last verb, when no asked thing is around."""
    for index in range(len(words) - 1, 0, -1):
        if words[index] not in _VERBS and words[index] != "ở":
            continue
        noun = words[index - 1]
        known = noun in _GENERIC | _POSTURES | _VERBS | _FILLERS or not noun[0].isalpha()
        if known:
            continue
        return noun
    # 'the man on the left': a noun phrase without a verb.
    if len(words) > 1 and words[-2] in _DETERMINERS and words[-1].isalpha():
        return "" if words[-1] in _GENERIC | _POSTURES | _VERBS | _FILLERS else words[-1]
    return ""


def _after(tokens: Sequence[str], mention: Mention) -> tuple[str, str]:
    """Find the thing behind a mention, or an unasked one; both "" when nothing follows."""
    words: list[str] = []
    for token in tokens[mention.end :]:
        if token.startswith(THING):
            return token.removesuffix("'s"), ""
        if token in _STOPS or token in _VERBS:
            break
        words.append(token)
    content = [w for w in words if w not in _FILLERS and w[0].isalnum() and not w.endswith("ly")]
    marked = words[:1] and (words[0] in _DETERMINERS or tokens[mention.end - 1] == "of")
    preposition = mention.claim.isdisjoint({"left of", "right of"})
    return "", (" ".join(content) if content and (marked or preposition) else "")


def _inverted_subject(tokens: Sequence[str], mention: Mention, after: str) -> str:
    """Find the subject of 'To the left of the dog is the cat'."""
    seen = verb = False
    for token in tokens[mention.end :]:
        if token in _HARD_STOPS:
            break
        if token.removesuffix("'s") == after:
            seen = True
        elif seen and token in _VERBS:
            verb = True
        elif verb and token.startswith(THING):
            return token
    return ""


def _is_predicate(tokens: Sequence[str], mention: Mention) -> bool:
    """Tell whether an everyday preposition stands where a relation is stated."""
    before = next((t for t in reversed(tokens[: mention.start]) if t not in {"the", "'", '"'}), "")
    opens = (
        not before
        or before in _STOPS
        or before in _VERBS
        or before in _POSTURES
        or before in {"or", "hoặc", "hay", "answer", "either", "relation", "both"}
        or before.startswith(THING)
    )
    if before.startswith(THING) and _token_after(tokens, mention) == before:
        return False
    return opens


def _token_after(tokens: Sequence[str], mention: Mention) -> str:
    return next((t for t in tokens[mention.end :] if t not in _DETERMINERS), "")
