"""Where tokens stand when answers share their prompt, worked by hand."""

import numpy as np

from vlmtune.backends.packing import IGNORED, Numbered, pack

PROMPT = Numbered(
    ids_P=np.array([10, 11, 12, 13]), positions_AP=np.array([[0, 1, 2, 3], [0, 2, 2, 3]]), after=4
)
SHORT = Numbered(ids_P=np.array([20, 21]), positions_AP=np.array([[0, 1], [0, 1]]), after=2)
NONE = IGNORED


def test_answers_follow_the_last_token_of_their_prompt() -> None:
    packed = pack({5: PROMPT}, [5, 5], [[1, 2, 3], [7, 8]])
    assert packed.ids_RT.tolist() == [[10, 11, 12, 13, 1, 2, 13, 7]]
    assert packed.labels_RT.tolist() == [[NONE, NONE, NONE, 1, 2, 3, 7, 8]]
    assert packed.blocks_RT.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2]]
    assert packed.positions_ART[:, 0].tolist() == [
        [0, 1, 2, 3, 4, 5, 3, 4],
        [0, 2, 2, 3, 4, 5, 3, 4],
    ]
    assert (packed.prompts_R, packed.rows_B, packed.starts_B) == ((5,), (0, 0), (3, 6))
    assert packed.lengths_B == (3, 2)


def test_a_place_sees_its_own_answer_and_the_prompt_up_to_itself() -> None:
    seen = pack({0: SHORT}, [0, 0], [[1, 2], [7, 8]]).sees_RTT()[0].astype(int)
    assert seen.tolist() == [
        [1, 0, 0, 0, 0],  # the prompt's first token
        [1, 1, 0, 0, 0],  # its last, which opens the first answer
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],  # its last again, which opens the second
        [1, 0, 0, 1, 1],
    ]


def test_prompts_that_differ_have_rows_that_are_filled_up() -> None:
    packed = pack({0: PROMPT, 1: SHORT}, [0, 1, 0], [[1], [2], [3]], filling=99)
    assert packed.ids_RT.tolist() == [[10, 11, 12, 13, 13], [20, 21, 99, 99, 99]]
    assert (packed.rows_B, packed.starts_B) == ((0, 1, 0), (3, 1, 4))
    assert packed.blocks_RT[1].tolist() == [0, 1, -1, -1, -1]


def test_apart_each_answer_has_a_row_of_its_own() -> None:
    packed = pack({0: SHORT}, [0, 0], [[1, 2], [7]], together=False)
    assert packed.ids_RT.tolist() == [[20, 21, 1], [20, 21, 0]]
    assert packed.labels_RT.tolist() == [[NONE, 1, 2], [NONE, 7, NONE]]


def test_an_empty_answer_keeps_its_place_and_is_not_scored() -> None:
    packed = pack({0: SHORT}, [0, 0], [[], [7]])
    assert packed.labels_RT.tolist() == [[NONE, 7]]
    assert packed.lengths_B == (0, 1)
    alone = pack({0: SHORT}, [0], [[]])
    assert alone.ids_RT.tolist() == [[20, 21]]
    assert alone.labels_RT.tolist() == [[NONE, NONE]]
