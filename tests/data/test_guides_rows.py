"""The rows that four projects' guides show, typed in as their readers would: every one loads."""

from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vlmtune.data.formats import to_example
from vlmtune.data.load import stage_problem
from vlmtune.data.preprocessing import apply, load_functions
from vlmtune.types import Example, Kind, Stage, Turn

CAT, DOG = PIL.Image.new("RGB", (8, 6), "red"), PIL.Image.new("L", (6, 8), 90)
CAKES = {
    "prompt": "Why are cakes usually eaten at parties?",
    "chosen": "Cakes are eaten at parties to celebrate birthdays and anniversaries.",
    "rejected": "I don't know.",
}
TWO_PICTURES = {
    "images": [CAT, DOG],
    "prompt": "Compare these two images.",
    "chosen": "The first image shows a cat, the second shows a dog.",
    "rejected": "I can't tell what's in these images.",
}
SOLUTION = "<answer>hai</answer><explain>có hai con mèo trên ghế.</explain>"
VIVQA = {
    "id": 1,
    "image": "COCO_train2014_000000000139.jpg",
    "conversations": [
        {"from": "human", "value": "<image>Bạn là một trợ lý AI. Câu hỏi: có bao nhiêu con mèo?"},
        {"from": "gpt", "value": SOLUTION},
    ],
}


def read(row: dict[str, Any], *, stage: Stage, folder: Path = Path()) -> Example:
    found = to_example(row, row_id="guide/000001", source="guide", image_folder=folder)
    assert stage_problem(found, stage=stage) == ""
    assert all(image.open().mode == "RGB" for image in found.images)
    return found


def test_an_sft_row_of_pictures_and_texts() -> None:
    texts = [
        {"user": "What is in this image?", "assistant": "A cat sitting on a couch."},
        {"user": "What color is the cat?", "assistant": "The cat is orange."},
    ]
    found = read({"images": [CAT, DOG], "texts": texts}, stage=Stage.SFT)
    assert found.turns == (
        Turn(user="What is in this image?", assistant="A cat sitting on a couch."),
    )
    assert (found.question, found.answer) == ("What color is the cat?", "The cat is orange.")
    assert [image.open().size for image in found.images] == [(8, 6), (6, 8)]
    # One picture may stand alone, outside a list.
    assert len(read({"images": CAT, "texts": texts}, stage=Stage.SFT).images) == 1


def test_an_sft_row_of_a_conversation() -> None:
    lines = [
        {"from": "human", "value": "What is this?"},
        {"from": "gpt", "value": "This is a cat."},
        {"from": "human", "value": "What color?"},
        {"from": "gpt", "value": "Orange."},
    ]
    found = read({"image": CAT, "conversations": lines}, stage=Stage.SFT)
    assert found.turns == (Turn(user="What is this?", assistant="This is a cat."),)
    assert (found.question, found.answer, len(found.images)) == ("What color?", "Orange.", 1)


@pytest.mark.parametrize("chosen", ["chosen", "chosen_answer", "winner_answer"])
@pytest.mark.parametrize("rejected", ["rejected", "rejected_answer", "loser_answer"])
@pytest.mark.parametrize(("row", "pictures"), [({**CAKES, "image": CAT}, 1), (TWO_PICTURES, 2)])
def test_a_dpo_row_under_every_name(
    row: dict[str, Any], pictures: int, chosen: str, rejected: str
) -> None:
    renamed = {name: value for name, value in row.items() if name not in ("chosen", "rejected")}
    renamed |= {chosen: row["chosen"], rejected: row["rejected"]}
    found = read(renamed, stage=Stage.DPO)
    assert (found.question, len(found.images)) == (row["prompt"], pictures)
    assert (found.answer, found.rejected) == (row["chosen"], row["rejected"])
    assert found.facts == {}


def test_a_grpo_row_passes_its_other_columns_to_the_rewards(tmp_path: Path) -> None:
    row = {"prompt": "What is 2 + 2?", "answer": "4", "difficulty": "easy"}
    found = read({**row, "image": CAT}, stage=Stage.GRPO)
    assert (found.question, found.answer, found.kind) == ("What is 2 + 2?", "4", Kind.OPEN)
    assert found.facts == {"difficulty": "easy"}
    # Without a picture, and with a picture's path instead of the picture.
    assert read(row, stage=Stage.GRPO).images == ()
    CAT.save(tmp_path / "cat.png")
    named = read({**row, "image": "cat.png"}, stage=Stage.GRPO, folder=tmp_path)
    assert named.images[0].name == str(tmp_path / "cat.png")


def test_a_grpo_row_of_two_pictures() -> None:
    row = {
        "images": [CAT, DOG],
        "prompt": "Compare these two images and describe the differences.",
        "answer": "The first image shows a cat, the second shows a dog.",
    }
    found = read(row, stage=Stage.GRPO)
    assert (len(found.images), found.answer) == (2, row["answer"])


def test_a_vietnamese_grpo_row_keeps_its_solution(tmp_path: Path) -> None:
    CAT.save(tmp_path / VIVQA["image"], "JPEG")
    found = read(VIVQA, stage=Stage.GRPO, folder=tmp_path)
    assert (found.id, found.answer) == ("guide/1", SOLUTION)
    assert found.question == "Bạn là một trợ lý AI. Câu hỏi: có bao nhiêu con mèo?"


def test_the_guides_own_preprocessing_file_makes_pictures_rgb(tmp_path: Path) -> None:
    file = tmp_path / "dataset_preprocessing.py"
    file.write_text(
        "def convert_to_rgb(example):\n"
        '    """Convert image to RGB."""\n'
        '    if "image" in example:\n'
        '        image = example["image"]\n'
        '        if image.mode != "RGB":\n'
        '            image = image.convert("RGB")\n'
        '        example["image"] = image\n'
        "    return example\n"
    )
    row = apply(
        load_functions(str(file)),
        {"image": DOG, "prompt": "Q?", "answer": "A"},
        columns=("image",),
        folder=tmp_path,
        label="guide/000001",
    )
    assert read(row, stage=Stage.GRPO).images[0].open().size == (6, 8)
