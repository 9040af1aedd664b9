from vlmtune.reports.gallery import LONGEST_PIECE, MOST_PIECES, cards, pieces


def split(text: str) -> list[tuple[str, str]]:
    return [(piece.style, piece.text) for piece in pieces(text)]


def test_thought_and_answer_are_told_apart() -> None:
    assert split("<think>two</think> so <answer>2</answer>!") == [
        ("think", "<think>two</think>"),
        ("plain", " so "),
        ("answer", "<answer>2</answer>"),
        ("plain", "!"),
    ]


def test_an_answer_inside_the_thinking_stays_thought() -> None:
    assert split("<think><answer>9</answer></think>") == [
        ("think", "<think><answer>9</answer></think>")
    ]


def test_thinking_that_never_ends_is_all_thought() -> None:
    assert split("a<think>b <answer>") == [("plain", "a"), ("think", "<think>b <answer>")]


def test_no_character_is_lost() -> None:
    for text in ("", "</think></answer>", "<THINK>x</THINK><ANSWER>y</ANSWER>", "<think", "\n<a>"):
        assert "".join(piece.text for piece in pieces(text)) == text


def test_equal_answers_stand_in_one_line_with_their_number_best_first(
    make_sample, make_completion
) -> None:
    completions = [
        make_completion("b", reward=0.1, verdict="wrong", advantage=-0.004),
        make_completion("a", reward=1.0),
        make_completion("b", reward=0.1, verdict="wrong", advantage=-0.004),
        make_completion("b", reward=0.1, verdict="wrong", finish="length", advantage=-0.004),
    ]
    lines = cards([make_sample(completions=completions)], {})[0].lines
    assert [(line.pieces[0].text, line.times, line.cut) for line in lines] == [
        ("a", 1, False),
        ("b", 2, False),
        ("b", 1, True),
    ]
    assert [(line.reward, line.icon, line.tone) for line in lines[:2]] == [
        ("1.00", "✓", "4"),
        ("0.10", "✕", "0"),
    ]
    assert lines[1].advantage == "+0.00"


def test_a_long_thought_is_cut_and_the_answer_behind_it_stays(make_sample) -> None:
    text = f"<think>{'x' * 5000}</think><answer>2</answer>"
    line = cards([make_sample(texts=[text])], {})[0].lines[0]
    assert [len(piece.text) for piece in line.pieces] == [
        LONGEST_PIECE + 2,
        len("<answer>2</answer>"),
    ]
    assert line.folded == text


def test_an_answer_of_many_pieces_is_cut(make_sample) -> None:
    text = "<answer>2</answer>" * 500
    line = cards([make_sample(texts=[text])], {})[0].lines[0]
    assert len(line.pieces) == MOST_PIECES
    assert line.folded == text


def test_a_short_answer_has_no_fold(make_sample) -> None:
    assert cards([make_sample()], {})[0].lines[0].folded == ""


def test_a_reward_that_was_no_number_has_no_colour(make_sample, make_completion) -> None:
    broken = make_completion("a", reward=None, parts={"accuracy": None}, advantage=0.0)
    line = cards([make_sample(completions=[broken])], {})[0].lines[0]
    assert (line.reward, line.tone, line.parts) == ("", "", "accuracy ?")
