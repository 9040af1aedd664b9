"""What a reader found in an answer, in one shape for every kind."""

from dataclasses import dataclass, field
from typing import TypeAlias

Claim: TypeAlias = frozenset[str]
"""One claim: the names it can stand for, usually one; Vietnamese 'trên' is both on and above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The claims an answer makes, or why it makes none that counts.

    Attributes:
        claims: Distinct claims; readable answers have one, compound directions ("upper left") two.
        named: Every value that was mentioned, also in unreadable answers.
        problem: Why nothing counts, for people; "" when `claims` does.
    """

    claims: tuple[Claim, ...] = ()
    named: frozenset[str] = field(default_factory=frozenset)
    problem: str = ""

    @property
    def readable(self) -> bool:
        """Whether the answer commits to something."""
        return bool(self.claims)

    @property
    def value(self) -> str | None:
        """The answer in canonical words, or None."""
        if not self.claims:
            return None
        return " and ".join(sorted("/".join(sorted(claim)) for claim in self.claims))


def unreadable(problem: str, named: frozenset[str] = frozenset()) -> Found:
    """Build the outcome of an answer that does not count."""
    return Found(named=named, problem=problem)


def single(value: str) -> Found:
    """Build the outcome of an answer that names exactly one value."""
    return Found(claims=(frozenset({value}),), named=frozenset({value}))


def agree(first: Found, second: Found) -> bool:
    """Tell whether two readable answers make the same claims, each of them once."""
    if not first.readable or len(first.claims) != len(second.claims):
        return False
    left = list(second.claims)
    for claim in first.claims:
        partner = next((other for other in left if claim & other), None)
        if partner is None:
            return False
        left.remove(partner)
    return True


def merge(claims: list[Claim]) -> tuple[Claim, ...]:
    """Join claims that can mean the same: {on, above} and {on} become {on}."""
    merged: list[Claim] = []
    for claim in claims:
        for index, other in enumerate(merged):
            if claim & other:
                merged[index] = claim & other
                break
        else:
            merged.append(claim)
    return tuple(merged)
