"""Spatial relations: which words mean the same, which are each other's inverse.

Groups are narrow on purpose. 'near' is not 'next to', and 'above' is not 'on top of': a benchmark
that tells them apart asks whether the model can. All 66 relations of Visual Spatial Reasoning are
here, so that the longest phrase wins: 'facing away from' is never read as 'facing', nor 'in front
of' as 'in'.

Source: relation inventory of VSR, Liu, Emerson and Collier 2023, TACL 11.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.language.found import Claim
from vlmtune.language.normalise import word_set

# name: English phrases | Vietnamese phrases. Left and right are a small grammar of their own.
_GROUPS = """
above: above, over, higher than, directly overhead, overhead | phía trên, bên trên, đằng trên,
    cao hơn
under: under, below, beneath, underneath, lower than, down below, on the underside of | dưới,
    phía dưới, bên dưới, ở dưới, đằng dưới, dưới gầm, thấp hơn
on: on, on top of, on the top of, on top, atop, upon, on the surface of, resting on, standing
    on, sitting on, lying on, perched on | trên bề mặt, trên mặt, trên đỉnh, trên nóc
in front of: in front of, in front, in the front of, to the front of, front of | phía trước,
    đằng trước, trước mặt, bên trước, trước
behind: behind, in back of, to the rear of, at the rear of, in the rear of | phía sau, đằng sau,
    sau lưng, bên sau, sau
inside: inside, inside of, in, within, in the interior of, on the inside of | trong, bên trong,
    phía trong, nằm trong, ở trong, trong lòng
contains: contains, containing, contain | chứa, bao gồm, chứa đựng
outside: outside, outside of, on the outside of | ngoài, bên ngoài, phía ngoài, ở ngoài
next to: next to, beside, adjacent to, adjacent, alongside, side by side, side by side with, at
    the side of, by the side of, right next to, directly beside | cạnh, bên cạnh, kế bên, ngay
    cạnh, sát cạnh, kề bên, cạnh bên, kế, kề, sát bên
near: near, close to, nearby, near to, close by, in the vicinity of, not far from, in close
    proximity to, in proximity to | gần, ở gần, gần với, gần đó, không xa
by: by
far from: far from, far away from, distant from, far away, far | xa, ở xa, cách xa, xa khỏi
touching: touching, touches, in contact with, making contact with, touch | chạm, chạm vào, tiếp
    xúc, tiếp xúc với, đụng, chạm tới
against: against, leaning against, up against | tựa vào, dựa vào, tựa, dựa
facing: facing, faces, looking toward, looking towards, facing toward, facing towards | quay mặt
    về, quay mặt vào, hướng về, hướng vào, đối mặt với, hướng mặt về, quay về phía
facing away from: facing away from, faces away from, facing away, looking away from, turned away
    from | quay lưng lại với, quay lưng với, quay lưng về phía, quay lưng lại, quay lưng về,
    quay lưng vào, quay lưng
opposite to: opposite to, opposite, opposite of, opposite from | đối diện, đối diện với
across from: across from
parallel to: parallel to, parallel with, parallel | song song, song song với
perpendicular to: perpendicular to, perpendicular with, perpendicular, at a right angle to, at
    right angles to | vuông góc, vuông góc với
connected to: connected to, connected with, joined to, linked to | kết nối với, nối với, nối
    liền với
attached to: attached to, fastened to, fixed to | gắn vào, gắn với, gắn liền với, gắn trên
detached from: detached from, separated from, disconnected from | tách rời khỏi, tách khỏi, tách
    rời, rời khỏi
part of: part of, a part of | một phần của, là một phần của, bộ phận của
has as a part: has as a part, has as part | có một phần là
consists of: consists of, is made up of, made up of, composed of, comprised of | cấu tạo từ
surrounding: surrounding, surrounds, all around, encircling, encircles | bao quanh, vây quanh
surrounded by: surrounded by, encircled by | bị bao quanh bởi, được bao quanh bởi, bị vây quanh
    bởi
enclosed by: enclosed by, enclosed in, enclosed within | được bao bọc bởi
encloses: encloses, enclosing | bao bọc
between: between, in between | giữa, ở giữa, nằm giữa
in the middle of: in the middle of, in the center of, in the centre of, at the center of, at the
    centre of, in the midst of, in the middle | chính giữa, ở trung tâm, ở chính giữa
among: among, amongst, amid | trong số
around: around | xung quanh, quanh
along: along | dọc theo
across: across | ngang qua, băng qua
through: through | xuyên qua
past: past
beyond: beyond
after: after
at: at
at the edge of: at the edge of, on the edge of, at the border of | ở rìa, ở mép, ở cạnh mép, bên
    mép
at the back of: at the back of, in the back of, on the back of
ahead of: ahead of
off: off
up: up
down: down
deep down: deep down
down from: down from
toward: toward, towards | về phía, hướng tới
away from: away from | ra xa, rời xa
from: from
into: into | vào trong
to: to
out of: out of | ra khỏi
with: with | cùng với
congruent: congruent
"""
WEAK = word_set(
    "on in at by to from with up down off over around along after past through across into among "
    "against of within upon part giữa trong trên dưới trước sau gần xa cạnh ngoài kế kề quanh tựa "
    "dựa sát touch contain faces far"
)
"""Single words that often relate nothing: they claim a relation only as a predicate."""
_INVERSE = """
left of: right of
right of: left of
above: under
on: under
under: above on
in front of: behind
behind: in front of
inside: contains
contains: inside
part of: has as a part
has as a part: part of
consists of: part of
surrounding: surrounded by
surrounded by: surrounding
enclosed by: encloses
encloses: enclosed by
"""
SYMMETRIC = frozenset(
    {
        "next to", "near", "by", "far from", "touching", "opposite to", "across from",
        "parallel to", "perpendicular to", "connected to", "attached to", "detached from",
        "congruent", "with",
    }
)  # fmt: skip
"""Relations that hold both ways."""

AXES: Mapping[str, str] = MappingProxyType(
    {
        "left of": "width", "right of": "width", "above": "height", "under": "height",
        "on": "height", "in front of": "depth", "behind": "depth",
    }
)  # fmt: skip
"""Directions that may be named together: 'above and to the left of' is one place."""

AMBIGUOUS: Mapping[str, Claim] = MappingProxyType(
    {"trên": frozenset({"on", "above"}), "ở trên": frozenset({"on", "above"})}
)
"""Vietnamese 'trên' covers both 'on' and 'above'."""


def _groups() -> list[tuple[str, str]]:
    """Split the table into (name, phrases); an indented line goes on with the one before."""
    lines = _GROUPS.replace("\n    ", " ").strip().splitlines()
    return [(name, phrases) for name, _, phrases in (line.partition(":") for line in lines)]


def _phrases() -> dict[tuple[str, ...], Claim]:
    table: dict[tuple[str, ...], Claim] = {}
    for name, phrases in _groups():
        for phrase in phrases.replace("|", ",").split(","):
            if phrase.strip():
                table[tuple(phrase.split())] = frozenset({name})
    return table | {tuple(phrase.split()): claim for phrase, claim in AMBIGUOUS.items()}


def _inverses() -> dict[str, Claim]:
    rows = (line.partition(":") for line in _INVERSE.strip().splitlines())
    known = {"left of", "right of", *(name for name, _ in _groups())}
    # 'above on' are two names, 'in front of' is one.
    return {
        name: frozenset({right.strip()} if right.strip() in known else right.split())
        for name, _, right in rows
    } | {name: frozenset({name}) for name in SYMMETRIC}


PHRASES: Mapping[tuple[str, ...], Claim] = MappingProxyType(_phrases())
"""Every phrase, as words, with what it can mean."""
INVERSE: Mapping[str, Claim] = MappingProxyType(_inverses())
"""What 'A r B' says about B and A; relations that are absent say nothing."""
LONGEST_PHRASE = max(map(len, PHRASES))
