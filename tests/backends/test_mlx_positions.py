import numpy as np

from vlmtune.backends.mlx.positions import mrope_positions

IMAGE = 9


def positions(ids, grids):
    found, after = mrope_positions(
        np.array(ids, dtype=np.int32),
        np.array(grids, dtype=np.int64).reshape(-1, 3),
        image_token_id=IMAGE,
        merge_size=2,
    )
    return found.tolist(), after


def test_text_counts_up_alike_on_all_axes():
    assert positions([1, 2, 3], []) == ([[0, 1, 2]] * 3, 3)


def test_an_image_takes_a_block_and_text_goes_on_after_its_longest_side():
    # 2 x 3 merged patches after two tokens: the block starts at 2, the text after it at 2 + 3.
    found, after = positions([1, 2, *[IMAGE] * 6, 3], [(1, 4, 6)])
    assert found == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    ]
    assert after == 6


def test_two_images_side_by_side_follow_one_another():
    # Each is one merged patch; the second begins where the first ends.
    found, after = positions([IMAGE, IMAGE, 1], [(1, 2, 2), (1, 2, 2)])
    assert found == [[0, 1, 2]] * 3
    assert after == 3
