import numpy as np

from vlmtune.backends.mlx.inputs import PromptInputs
from vlmtune.backends.mlx.packs import shared_head, side_by_side

IMAGE = 9


def inputs(ids) -> PromptInputs:
    return PromptInputs(
        ids_T=np.array(ids, dtype=np.int32), pixels=None, grids_N3=np.empty((0, 3), dtype=np.int64)
    )


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
