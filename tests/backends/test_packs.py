from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.backends.packs import PACK_TOKENS, packs


@dataclass(frozen=True)
class Inputs:
    """A prompt of which nothing but its ids is known."""

    ids_T: Sequence[int]


def lengths(prompts, *, together=True):
    return [[len(one.ids_T) for one in pack] for pack in packs(prompts, together=together)]


def of_length(count) -> Inputs:
    return Inputs([1] * count)


def test_prompts_share_a_pass_while_their_filled_up_lengths_fit():
    half = PACK_TOKENS // 2
    # Two halves fill a pass. Beside a half, a prompt of one more would make 2 x (half + 1).
    assert lengths([of_length(n) for n in (half, half, 5)]) == [[half, half], [5]]
    assert lengths([of_length(n) for n in (half, half + 1)]) == [[half], [half + 1]]


def test_short_prompts_count_as_long_as_the_longest_beside_them():
    third = PACK_TOKENS // 3
    assert lengths([of_length(n) for n in (1, third, 1, 1)]) == [[1, third, 1], [1]]


def test_a_prompt_longer_than_a_pass_goes_alone():
    long = PACK_TOKENS + 1
    assert lengths([of_length(n) for n in (3, long, 3)]) == [[3], [long], [3]]


def test_where_prompts_may_not_share_each_goes_alone():
    assert lengths([of_length(n) for n in (3, 4, 5)], together=False) == [[3], [4], [5]]


def test_no_prompts_make_no_pass():
    assert lengths([]) == []


def test_prompts_are_read_only_as_a_pass_needs_them():
    read = []

    def reading():
        for count in (PACK_TOKENS, 2, 3):
            read.append(count)
            yield of_length(count)

    next(packs(reading(), together=True))
    assert read == [PACK_TOKENS, 2]
