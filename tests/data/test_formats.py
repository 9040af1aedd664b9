"""Row shapes: every layout becomes the same Example, or says what is missing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtune.data.formats import Keys, to_example
from vlmtune.errors import DataError
from vlmtune.types import Example, Kind, Turn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png"):
        (tmp_path / name).write_bytes(b"not decoded here")
    return tmp_path


def example(row: dict[str, Any], folder: Path, **keys: Any) -> Example:
    return to_example(
        row, row_id="file/000007", source="file", image_folder=folder, keys=Keys(**keys)
    )


def names(found: Example) -> list[str]:
    return [Path(image.name).name for image in found.images]


def test_a_grpo_row(folder: Path) -> None:
    row = {"id": "x/1", "image": "a.png", "prompt": "How many?", "answer": "2", "hard": [1]}
    found = example(row, folder)
    assert (found.id, found.question, found.answer) == ("x/1", "How many?", "2")
    assert (found.kind, found.source, found.facts) == (Kind.COUNT, "file", {"hard": [1]})
    assert names(found) == ["a.png"]


@pytest.mark.parametrize("question", ["prompt", "question", "problem"])
@pytest.mark.parametrize("answer", ["answer", "solution", "expected_answer", "ground_truth"])
def test_aliases_of_question_and_answer(question: str, answer: str, folder: Path) -> None:
    found = example({question: "Q?", answer: "A"}, folder)
    assert (found.question, found.answer, found.facts, found.images) == ("Q?", "A", {}, ())


def test_of_two_answer_columns_the_second_reaches_the_rewards(folder: Path) -> None:
    row = {"prompt": "Q?", "answer": "3", "solution": "<answer>3</answer>"}
    found = example(row, folder)
    assert (found.answer, found.facts) == ("3", {"solution": "<answer>3</answer>"})


def test_a_blank_alias_gives_way_to_one_with_content(folder: Path) -> None:
    found = example({"prompt": None, "question": "Q?", "answer": "", "solution": "A"}, folder)
    assert (found.question, found.answer) == ("Q?", "A")


def test_a_solution_keeps_its_tags(folder: Path) -> None:
    solution = "<answer>hai</answer><explain>Có hai con mèo.</explain>"
    assert example({"problem": "Q?", "solution": solution}, folder).answer == solution


def test_choices_as_cv_bench_and_robo2vlm_have_them(folder: Path) -> None:
    cv_bench = {
        "image": "a.png",
        "question": "How many organs are in the image?",
        "prompt": "How many organs are in the image? (A) 3 (B) 2",
        "choices": ["3", "2"],
        "answer": "(B)",
    }
    found = example(cv_bench, folder)
    assert found.question == "How many organs are in the image?"
    assert (found.kind, found.choices, found.answer) == (Kind.CHOICE, ("3", "2"), "(B)")
    robo = {"image": "a.png", "question": "Q?", "choices": "['up', 'down']", "correct_answer": 1}
    assert example(robo, folder, answer="correct_answer").answer == "(B)"


def test_a_conversation_of_two_turns(folder: Path) -> None:
    row = {
        "id": 5,
        "image": "a.png",
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "<image>\nHow many cats?"},
            {"from": "gpt", "value": 2},
            {"from": "human", "value": "Which one sleeps?"},
            {"from": "gpt", "value": "<answer>the left one</answer>"},
        ],
    }
    found = example(row, folder)
    assert found.id == "file/5"
    assert found.turns == (Turn(user="How many cats?", assistant="2"),)
    assert found.question == "Which one sleeps?"
    assert found.answer == "<answer>the left one</answer>"
    assert found.facts == {"system": "Be brief."}


def test_a_conversation_with_a_number_as_answer_or_with_none(folder: Path) -> None:
    ask = {"from": "user", "value": "How many cats?"}
    assert (
        example({"conversations": [ask, {"from": "assistant", "value": 3}]}, folder).answer == "3"
    )
    assert example({"conversations": [ask]}, folder).answer is None


def test_a_conversation_may_name_its_sides_role_and_content(folder: Path) -> None:
    row = {
        "conversations": [
            {"role": "user", "content": "Q?"},
            {"role": "assistant", "content": "A"},
        ]
    }
    assert example(row, folder).answer == "A"


def test_images_without_any_placeholder_are_fine(folder: Path) -> None:
    row = {"image": ["a.png", "b.png"], "texts": [{"user": "Q?", "assistant": "A"}]}
    assert names(example(row, folder)) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("image", "text"),
    [("a.png", "<image><image>Q?"), (None, "<image>Q?"), (["a.png"] * 2, "<image>Q?")],
)
def test_placeholders_that_do_not_match_the_images_are_refused(
    image: object, text: str, folder: Path
) -> None:
    with pytest.raises(DataError, match="images and placeholders differ"):
        example({"image": image, "prompt": text, "answer": "A"}, folder)


def test_texts_become_turns(folder: Path) -> None:
    row = {
        "images": ["a.png"],
        "texts": [
            {"user": "Q1", "assistant": "A1", "source": "x"},
            {"user": "Q2", "assistant": "A2"},
        ],
    }
    found = example(row, folder)
    assert found.turns == (Turn(user="Q1", assistant="A1"),)
    assert (found.question, found.answer) == ("Q2", "A2")


def test_messages_with_typed_parts_and_a_picture_column(folder: Path) -> None:
    row = {
        "images": ["a.png"],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"index": 0, "type": "image", "text": None},
                    {"index": None, "type": "text", "text": "Q?"},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
        ],
    }
    found = example(row, folder)
    assert (found.question, found.answer, names(found)) == ("Q?", "A", ["a.png"])


def test_messages_that_bring_their_pictures_along(folder: Path) -> None:
    parts = [
        {"type": "image", "image": "b.png"},
        {"type": "image_url", "image_url": {"url": "a.png"}},
        {"type": "text", "text": "Q?"},
    ]
    found = example({"messages": [{"role": "user", "content": parts}]}, folder)
    assert names(found) == ["b.png", "a.png"]
    parts[1]["image_url"] = {"url": "https://example.org/a.png"}
    found = example({"messages": [{"role": "user", "content": parts}]}, folder)
    assert found.images[1].name == "https://example.org/a.png"


def test_vlm_r1_rows_keep_their_solution_and_their_method(folder: Path) -> None:
    row = {
        "id": 1,
        "image": ["a.png", "b.png"],
        "conversations": [
            {"from": "human", "value": "<image><image>How many?"},
            {"from": "gpt", "value": "<answer>3</answer><explain>I see three.</explain>"},
        ],
        "accu_reward_method": "llm",
    }
    found = example(row, folder)
    assert found.answer == "<answer>3</answer><explain>I see three.</explain>"
    assert (len(found.images), found.facts) == (2, {"accu_reward_method": "llm"})


@pytest.mark.parametrize("chosen", ["chosen", "chosen_answer", "winner_answer"])
@pytest.mark.parametrize("rejected", ["rejected", "rejected_answer", "loser_answer"])
def test_preferences_under_every_alias(chosen: str, rejected: str, folder: Path) -> None:
    found = example({"image": "a.png", "prompt": "Q?", chosen: "good", rejected: "bad"}, folder)
    assert (found.question, found.answer, found.rejected) == ("Q?", "good", "bad")
    assert found.facts == {}


@pytest.mark.parametrize(
    ("label", "answer"), [(1, "yes"), (0, "no"), (True, "yes"), (0.0, "no"), ("False", "no")]
)
def test_a_vsr_row_asks_whether_its_caption_is_true(
    label: object, answer: str, folder: Path
) -> None:
    row = {"image": "a.png", "caption": "The cat is on the mat.", "label": label, "relation": "on"}
    found = example(row, folder)
    assert found.question == 'Is this statement true? "The cat is on the mat."'
    assert (found.kind, found.answer, found.facts) == (Kind.YES_NO, answer, {"relation": "on"})


def test_a_vsr_row_without_label_has_no_answer_and_one_with_another_label_is_refused(
    folder: Path,
) -> None:
    row: dict[str, Any] = {"caption": "The cat is on the mat.", "label": None}
    assert example(row, folder).answer is None
    with pytest.raises(DataError, match="label is neither true nor false: 'label' holds 2"):
        example({**row, "label": 2}, folder)


def test_a_stated_kind_and_rationales_are_taken_over(folder: Path) -> None:
    row = {"prompt": "Q?", "answer": "2", "kind": "count", "rationale": "I see two."}
    found = example(row, folder)
    assert (found.kind, found.rationale, found.facts) == (Kind.COUNT, "I see two.", {})


def test_keys_name_columns_that_the_aliases_do_not_cover(folder: Path) -> None:
    row = {"left": "a.png", "right": ["b.png"], "ask": "Q?", "gold": "B", "options": ["x", "y"]}
    found = example(
        row, folder, prompt="ask", answer="gold", choice="options", images=("right", "left")
    )
    assert names(found) == ["b.png", "a.png"]
    assert (found.question, found.answer, found.choices, found.facts) == (
        "Q?",
        "(B)",
        ("x", "y"),
        {},
    )


def test_an_answer_key_also_rules_a_conversation(folder: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "Q?"}], "gold": "A"}
    found = example(row, folder, answer="gold")
    assert (found.answer, found.facts) == ("A", {})


def test_a_named_column_that_is_missing_gets_a_suggestion(folder: Path) -> None:
    with pytest.raises(DataError, match="no 'qestion' among 'question', 'answer'; did you mean"):
        example({"question": "Q?", "answer": "A"}, folder, prompt="qestion")


def test_five_images_are_too_many_and_four_are_not(folder: Path) -> None:
    row = {"images": ["a.png", "b.png", "c.png", "d.png"], "prompt": "Q?"}
    assert len(example(row, folder).images) == 4
    with pytest.raises(DataError, match="too many images: the row has 5"):
        example({**row, "images": [*row["images"], "e.png"]}, folder)


def test_image_and_images_may_both_be_there_when_they_agree(folder: Path) -> None:
    assert names(example({"image": "a.png", "images": [], "prompt": "Q?"}, folder)) == ["a.png"]
    with pytest.raises(DataError, match="pictures are given twice"):
        example({"image": "a.png", "images": ["b.png"], "prompt": "Q?"}, folder)


def test_a_picture_under_another_name_is_not_overlooked(folder: Path) -> None:
    row = {"photo": "a.png", "prompt": "Q?", "answer": "A"}
    with pytest.raises(DataError, match=r"'photo' holds 'a.png'.*image_keys: \['photo'\]"):
        example(row, folder)
    assert names(example(row, folder, images=("photo",))) == ["a.png"]
    assert example(row, folder, images=()).facts == {"photo": "a.png"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"promt": "Q?", "answer": "A"},
            "found 'promt', 'answer'; .*'promt' may be meant as 'prompt'",
        ),
        ({}, "columns do not fit: found no column"),
        ({"caption": "A cat."}, "columns do not fit: found 'caption'"),
        ({"prompt": "Q?", "chosen": "A", "rejectd": "B"}, "also needs rejected; 'rejectd' may be"),
        ({"chosen": "A", "rejected": "B"}, "also needs prompt"),
        ({"prompt": " "}, "question is empty"),
        ({"prompt": "<image>", "image": "a.png"}, "question is empty"),
        ({"prompt": ["Q?"]}, "cell is not text: 'prompt' holds list"),
        ({"prompt": "a<|image_pad|>b"}, "text holds a special token"),
        ({"caption": "", "label": 1}, "statement is empty"),
        ({"conversations": "Q?"}, "conversation is not a list of lines"),
        ({"conversations": ["Q?"]}, "line is not an object"),
        ({"conversations": [{"value": "Q?"}]}, "line has no speaker"),
        ({"conversations": [{"from": "bot", "value": "A"}]}, "speaker is unknown"),
        ({"conversations": [{"from": "gpt", "value": "A"}]}, "speakers do not take turns"),
        ({"conversations": [{"from": "human", "value": "Q"}] * 2}, "speakers do not take turns"),
        ({"conversations": [{"from": "system", "value": "S"}]}, "nobody asks"),
        ({"texts": [{"user": "Q?"}]}, "exchange lacks a side: 'texts.0.' has 'user'"),
        ({"texts": [{"user": "Q", "assistant": ""}] * 2}, "an earlier turn is empty"),
        (
            {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
            "part is of unknown type",
        ),
        ({"messages": [{"role": "user", "content": None}]}, "cell is not text"),
    ],
)
def test_a_row_that_fits_no_shape_says_what_is_missing(
    row: dict[str, Any], message: str, folder: Path
) -> None:
    with pytest.raises(DataError, match=message):
        example(row, folder)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["from", "value", "role", "content", "type", "text", "user", "assistant"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
SHAPE_COLUMNS = ["conversations", "messages", "texts", "chosen", "rejected", "caption", "label"]
COLUMNS = st.sampled_from(
    [*SHAPE_COLUMNS, "id", "image", "images", "prompt", "question", "answer", "choices", "kind"]
)


@settings(max_examples=300, deadline=None)
@given(row=st.dictionaries(COLUMNS | st.text(max_size=4), JSON_VALUES, max_size=6))
def test_any_json_object_becomes_an_example_or_a_data_error(row: dict[str, Any]) -> None:
    try:
        found = example(row, Path("no-such-folder"))
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert found.question
    assert found.answer is None or found.answer.strip() == found.answer != ""
    assert len(found.images) <= 4
    assert not found.choices or 2 <= len(found.choices) <= 26


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.fixed_dictionaries({"from": JSON_VALUES, "value": JSON_VALUES})))
def test_any_conversation_becomes_an_example_or_a_data_error(lines: list[Any]) -> None:
    try:
        found = example({"conversations": lines, "id": "x"}, Path("no-such-folder"))
    except DataError as error:
        assert "\n" not in str(error)
        return
    assert found.question
