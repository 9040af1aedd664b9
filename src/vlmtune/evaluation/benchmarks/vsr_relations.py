"""VSR's relations, their seven categories, and where a relation stands in a caption.

It names 71 relations, "among" twice; the official script lets the later line win, and so does
`CATEGORY`. Five relations of the table occur in no split ("deep down", "up", "from", "to",
"after"), and one of the data is not in the table ("congruent").

Source: analysis_scripts/rel_meta_category_dict.txt of cambridgeltl/visual-spatial-reasoning, by the
authors of VSR, under the Apache License 2.0; written as Python, otherwise unchanged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LINES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Adjacency": (
            "adjacent to", "alongside", "at the side of", "at the right side of",
            "at the left side of", "attached to", "at the back of", "ahead of", "against",
            "at the edge of",
        ),
        "Directional": (
            "off", "past", "toward", "down", "deep down", "up", "away from", "along", "around",
            "from", "into", "to", "across", "across from", "through", "down from",
        ),
        "Orientation": ("facing", "facing away from", "parallel to", "perpendicular to"),
        "Projective": (
            "on top of", "beneath", "beside", "behind", "left of", "right of", "under",
            "in front of", "below", "above", "over", "in the middle of",
        ),
        "Proximity": ("by", "close to", "near", "far from", "far away from"),
        "Topological": (
            "connected to", "detached from", "has as a part", "part of", "contains", "within",
            "at", "on", "in", "with", "surrounding", "among", "consists of", "out of", "between",
            "inside", "outside", "touching",
        ),
        "Unallocated": ("beyond", "next to", "opposite to", "after", "among", "enclosed by"),
    }
)  # fmt: skip
"""Category -> relations, line by line as published."""

CATEGORY: Mapping[str, str] = MappingProxyType(
    {relation: category for category, names in LINES.items() for relation in names}
)
"""Relation -> category; of two lines the later wins."""

# Longest first, so that "facing away from" is not taken for "facing".
_ANY = re.compile(
    r"(?<!\w)(?:"
    + "|".join(re.escape(name) for name in sorted([*CATEGORY, "congruent"], key=len, reverse=True))
    + r")(?!\w)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A caption taken apart.

    Attributes:
        subject: "person" of "The person is inside the refrigerator."
        relation: "inside".
        object: "refrigerator".
    """

    subject: str
    relation: str
    object: str


def find(caption: str) -> str | None:
    """Find a caption's relation: whole words, the longest that fits, else None."""
    found = [match[0] for match in _ANY.finditer(caption)]
    return max(found, key=len) if found else None


def parse(caption: str, *, relation: str) -> Parts | None:
    """Take a caption apart at its relation.

    The `subj` column cannot serve instead: one row in 20 has lost its first letter.

    Args:
        caption: "The cow is ahead of the person."
        relation: "ahead of".

    Returns:
        Its parts, or None when the caption is not of VSR's form.
    """
    pattern = rf"The (.+?)(?: is| are)? {re.escape(relation)} the (.+?)\."
    match = re.fullmatch(pattern, caption.strip())
    return Parts(subject=match[1], relation=relation, object=match[2]) if match else None
