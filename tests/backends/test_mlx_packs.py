import numpy as np

from vlmtune.backends.mlx.inputs import PromptInputs
from vlmtune.backends.mlx.packs import PACK_TOKENS, packs, shared_head, side_by_side

IMAGE = 9


def inputs(ids) -> PromptInputs:
    return PromptInputs(
        ids_T=np.array(ids, dtype=np.int32), pixels=None, grids_N3=np.empty((0, 3), dtype=np.int64)
    )


def lengths(prompts, *, together=True):
    return [[len(one.ids_T) for one in pack] for pack in packs(prompts, together=together)]


def of_length(count) -> PromptInputs:
    return inputs([1] * count)


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


def test_shorter_ids_are_filled_up_at_the_end():
    ids_BT, lengths_B = side_by_side([np.array([7, 8], np.int32), np.array([5, 6, 4], np.int32)])
    assert ids_BT.tolist() == [[7, 8, 0], [5, 6, 4]]
    assert lengths_B.tolist() == [2, 3]


def head(*ids) -> int:
    return shared_head([inputs(one) for one in ids], image_token_id=IMAGE)


COMMON = list(range(10, 20))


def test_the_head_is_what_all_begin_with():
    assert head([*COMMON, 1, 2], [*COMMON, 3], [*COMMON, 1, 4]) == 10


def test_the_head_ends_before_the_first_picture():
    # The ids agree beyond it, the pixels need not.
    assert head([*COMMON, IMAGE, IMAGE, 1], [*COMMON, IMAGE, IMAGE, 2]) == 10


def test_every_prompt_keeps_a_token_of_its_own():
    # Without one there would be no state from which its first answer token is drawn.
    assert head(COMMON, [*COMMON, 1]) == 9


def test_a_short_head_is_not_worth_a_pass():
    assert head([1, 2, 3, 4], [1, 2, 3, 5]) == 0
    assert head([1, *COMMON], [2, *COMMON]) == 0


def test_a_single_prompt_shares_nothing():
    assert head(COMMON) == 0
