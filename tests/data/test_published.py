"""Every published dataset, on a small table in its true schema, pictures as bytes inside it."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from vlmtune import discovery
from vlmtune.data.datasets import vivqa_x
from vlmtune.errors import ConfigError, DataError
from vlmtune.language import prompts
from vlmtune.types import Example, Kind, Turn

FIXTURES = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "dataset_rows.py"))
ROWS, VSR, VIVQA, PICTURE, TALK = (
    FIXTURES[name] for name in ("ROWS", "VSR", "VIVQA", "PICTURE", "TALK")
)
png, part, assistant, written, vivqa_folder = (
    FIXTURES[name] for name in ("png", "part", "assistant", "written", "vivqa_folder")
)


def load(name: str, folder: Path, *, split: str = "train", **options: Any):
    skipped: list[tuple[str, str]] = []
    rows = discovery.load("dataset", name).load(
        split=split,
        seed=0,
        options={"path": str(folder), **options},
        skip=lambda row, why: skipped.append((row, why)),
    )
    return list(rows), skipped


def only(name: str, folder: Path, **more: Any) -> Example:
    split = {"vsr": "test"}.get(name, "train")
    rows, skipped = load(name, written(folder, name, [ROWS[name]]), split=split, **more)
    assert skipped == []
    return rows[0]


def test_rlhf_v_reads_its_json_string(tmp_path: Path) -> None:
    found = only("rlhf_v", tmp_path)
    assert (found.question, found.answer, found.rejected) == ("What is it?", "A cup.", "A dog.")
    assert (found.id, found.source, found.facts) == ("rlhf_v/7", "rlhf_v", {"ds_name": "RLHF-V"})
    assert found.images[0].open().size == (8, 6)


def test_rlhf_v_accepts_an_object_and_reports_other_texts(tmp_path: Path) -> None:
    good = {"image": PICTURE, "text": {"question": "Q?", "chosen": "A", "rejected": "B"}}
    rows, _ = load("rlhf_v", written(tmp_path / "a", "rlhf_v", [good]))
    assert rows[0].rejected == "B"
    bad = [{"image": PICTURE, "text": text} for text in ("{", '{"question": "Q"}', "3")]
    rows, skipped = load("rlhf_v", written(tmp_path / "b", "rlhf_v", bad))
    assert rows == []
    assert [why.partition(":")[0] for _, why in skipped] == [
        "text is not JSON",
        "text has other parts",
        "text has other parts",
    ]


def test_pixmo_cap_asks_for_a_description_of_an_address(tmp_path: Path) -> None:
    found = only("pixmo_cap", tmp_path)
    assert (found.kind, found.question) == (Kind.CAPTION, "Describe this image in detail.")
    assert found.answer == "A long dense caption of the picture."
    assert found.images[0].name == "https://pictures.example/1.jpg"
    assert found.facts == {"transcripts": ["So this is"]}


def test_spatialvlm_says_why_it_cannot_be_loaded_and_what_can() -> None:
    with pytest.raises(DataError, match=r"never released; open stand-ins .* open_spaces and space"):
        load("spatialvlm", Path())


def test_open_spaces_and_its_variants(tmp_path: Path) -> None:
    found = only("open_spaces", tmp_path / "a")
    assert (found.question, found.answer) == ("How far is the door?", "Two metres.")
    assert (found.id, len(found.images)) == ("open_spaces/train/000000", 1)
    row = {**ROWS["open_spaces"], "reasoning": "The door is far."}
    rows, _ = load("open_spaces", written(tmp_path / "b", "x", [row]), variant="mc_r1")
    assert (rows[0].rationale, rows[0].source) == ("The door is far.", "open_spaces_mc_r1")
    with pytest.raises(ConfigError, match="did you mean 'mc_r1'"):
        load("open_spaces", tmp_path, variant="mc-r1")


def test_spacethinker_keeps_the_tags_of_its_answers(tmp_path: Path) -> None:
    found = only("spacethinker", tmp_path / "a")
    assert found.question == "How tall is the shelf?"
    assert found.answer == ROWS["spacethinker"]["output"]
    untagged = {**ROWS["spacethinker"], "output": "<think>A door.</think>\nTwo metres."}
    rows, _ = load("spacethinker", written(tmp_path / "b", "x", [untagged]))
    assert (rows[0].answer, rows[0].rationale) == ("Two metres.", "A door.")


def test_vsr_reads_statements_and_votes(tmp_path: Path) -> None:
    found = only("vsr", tmp_path, variant="zeroshot")
    assert found.question == 'Is this statement true? "The person is inside the refrigerator."'
    assert (found.answer, found.kind, found.source) == ("yes", Kind.YES_NO, "vsr_zeroshot")
    assert found.images[0].name == VSR["image_link"]
    assert found.facts["vote_true_validator_id"] == [2, 9]
    assert found.facts["relation"] == "inside"
    assert found.facts["variant"] == "zeroshot"


def test_vsr_finds_its_pictures_in_cocos_folders(tmp_path: Path) -> None:
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    (tmp_path / "coco" / "val2017" / VSR["image"]).write_bytes(png())
    found = only("vsr", tmp_path / "rows", image_folder=str(tmp_path / "coco"))
    assert found.images[0].name.endswith("val2017/000000451431.jpg")
    lost = {**VSR, "image": "000000000001.jpg"}
    folder = written(tmp_path / "lost", "vsr", [lost])
    rows, skipped = load("vsr", folder, split="test", image_folder=str(tmp_path / "coco"))
    assert (rows, skipped[0][1].startswith("image not found")) == ([], True)


def test_vsr_dev_is_also_called_validation(tmp_path: Path) -> None:
    folder = written(tmp_path, "vsr", [VSR], file="dev.jsonl")
    assert len(load("vsr", folder, split="validation")[0]) == 1
    with pytest.raises(ConfigError, match="has no split 'test'; Splits: dev"):
        load("vsr", folder, split="test")


def test_cv_bench_has_up_to_six_choices(tmp_path: Path) -> None:
    folder = written(tmp_path, "cv_bench", [ROWS["cv_bench"]], file="test_2d.parquet")
    rows, _ = load("cv_bench", folder, split="test")
    found = rows[0]
    assert (found.question, found.answer) == ("How many organs are in the image?", "(F)")
    assert (found.id, found.choices[5], found.kind) == ("cv_bench/3", "4", Kind.CHOICE)
    assert (found.facts["task"], found.facts["source"]) == ("Count", "ADE20K")
    assert load("cv_bench", folder, split="test", part="3D")[0] == []


def test_robo2vlm_reads_the_written_list_and_counts_from_zero(tmp_path: Path) -> None:
    found = only("robo2vlm", tmp_path)
    assert found.choices == ("1", "2", "none's", "five", "six")
    # Index 1 is "2", though a choice "1" is there as well.
    assert (found.answer, found.kind, found.id) == ("(B)", Kind.CHOICE, "droid_1")
    bad = [{**ROWS["robo2vlm"], "correct_answer": n} for n in (5, -1)]
    bad += [{**ROWS["robo2vlm"], "choices": "left or right"}]
    rows, skipped = load("robo2vlm", written(tmp_path / "bad", "robo2vlm", bad))
    assert (rows, len(skipped)) == ([], 3)
    assert "give 0 to 4" in skipped[0][1]
    assert skipped[2][1].startswith("choices are not a list")


def test_robo2vlm_takes_the_keys_that_another_tools_config_names(tmp_path: Path) -> None:
    keys = {"prompt_key": "question", "choice_key": "choices", "answer_key": "correct_answer"}
    assert only("robo2vlm", tmp_path, **keys, image_keys=["image"]).answer == "(B)"


def test_train_and_test_files_of_one_folder_are_told_apart(tmp_path: Path) -> None:
    row = ROWS["robo2vlm"]
    written(tmp_path, "x", [row] * 5, file="train-00000-of-00262.parquet")
    written(tmp_path, "x", [{**row, "id": "t"}], file="test-00000-of-00003.parquet")
    assert len(load("robo2vlm", tmp_path)[0]) == 5
    assert [found.id for found in load("robo2vlm", tmp_path, split="test")[0]] == ["t"]
    assert len(load("robo2vlm", tmp_path, split="train[1:3]")[0]) == 2
    assert len(load("robo2vlm", tmp_path, split="train[-40%:]")[0]) == 2


def test_open_r1_8k_keeps_its_solutions(tmp_path: Path) -> None:
    found = only("open_r1_8k", tmp_path)
    assert (found.question, found.answer) == ("Find x.", ROWS["open_r1_8k"]["solution"])
    assert found.facts == {"original_question": "Find x. A: 3", "original_answer": "3"}


def test_rlaif_v_reads_messages_whose_picture_part_is_null(tmp_path: Path) -> None:
    found = only("rlaif_v", tmp_path)
    assert (found.question, found.answer, found.rejected) == (
        "What is he doing?",
        "He cooks.",
        "He paints.",
    )
    assert len(found.images) == 1


def test_the_cauldron_has_turns_and_null_pictures(tmp_path: Path) -> None:
    found = only("cauldron", tmp_path / "a")
    assert found.turns == (Turn(user="What is this?", assistant="A cup."),)
    assert (found.question, len(found.images)) == ("And that?", 2)
    texts = [{"user": "2 + 2?", "assistant": "4", "source": "x"}]
    rows, _ = load("cauldron", written(tmp_path / "b", "x", [{"images": [None], "texts": texts}]))
    assert rows[0].images == ()
    with pytest.raises(ConfigError, match="needs the option 'subset'"):
        discovery.load("dataset", "cauldron").load(split="train", seed=0, options={}, skip=print)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "vsr"])
def test_a_table_with_other_columns_names_those_found_and_needed(name: str, tmp_path: Path) -> None:
    needed = next(iter(discovery.load("dataset", name).SOURCES.values())).columns
    wrong = {f"{key}_": value for key, value in ROWS[name].items()}
    with pytest.raises(DataError) as caught:
        load(name, written(tmp_path, name, [wrong]))
    message = str(caught.value)
    assert f"has no column '{needed[0]}'; did you mean '{needed[0]}_'?" in message
    assert f"Needed: {', '.join(needed)}" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["rlhf_v", "cv_bench", "robo2vlm", "open_spaces"])
def test_a_row_that_lost_its_picture_is_never_asked_blindly(name: str, tmp_path: Path) -> None:
    columns = {"image": None} if "image" in ROWS[name] else {"images": []}
    bare = ROWS[name] | columns
    if name == "open_spaces":
        bare["messages"] = [{"role": "user", "content": [part("text", "Q?")]}, assistant("A")]
    rows, skipped = load(name, written(tmp_path, name, [bare, ROWS[name]]))
    assert len(rows) == 1
    assert skipped[0][1].startswith("picture is missing")


def test_vivqa_x_is_normalised_and_asks_in_vietnamese(tmp_path: Path) -> None:
    decomposed = {**VIVQA, "answer": "kho\u0302ng"}
    rows, skipped = load("vivqa_x", vivqa_folder(tmp_path, [decomposed]), split="val")
    assert skipped == []
    found = rows[0]
    assert found.answer == "<answer>không</answer><explain>không có con mèo nào.</explain>"
    assert found.question == vivqa_x.INSTRUCTIONS + "có bao nhiêu con mèo?"
    assert found.images[0].name.endswith("val2014/COCO_val2014_000000000139.jpg")
    assert found.facts["explanations"] == ["không có con mèo nào.", "b", "c"]
    assert found.id == "vivqa_x/139001"
    # Its instructions are its own: no English hint follows them.
    assert prompts.question_text(found) == found.question
    bare, _ = load("vivqa_x", tmp_path, split="validation", instructions=False)
    assert bare[0].question == "có bao nhiêu con mèo?"


def test_vivqa_x_rows_that_cannot_be_used_are_reported(tmp_path: Path) -> None:
    rows = [VIVQA, {**VIVQA, "question": " "}, {**VIVQA, "image_name": None}, 3]
    rows += [{**VIVQA, "image_name": "COCO_val2014_000000000001.jpg"}, {**VIVQA, "answer": 4}]
    found, skipped = load("vivqa_x", vivqa_folder(tmp_path, rows), split="val")
    assert len(found) == 1
    assert [why.partition(":")[0] for _, why in skipped] == [
        "question is empty",
        "picture is missing",
        "not an object",
        "image not found",
        "cell is not text",
    ]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_vivqa_x_becomes_json_lines_for_grpo(split: str, tmp_path: Path) -> None:
    folder = vivqa_folder(tmp_path, [VIVQA], split=split)
    path = vivqa_x.create_jsonl_for_grpo(split, source=folder, output=tmp_path / "processed")
    assert path == tmp_path / "processed" / f"ViVQA-X_{split}_grpo.jsonl"
    row = json.loads(path.read_text(encoding="utf-8"))
    assert row["image"] == "COCO_val2014_000000000139.jpg"
    asked, answered = row["conversations"]
    assert asked["from"] == "human"
    assert asked["value"].startswith("<image>")
    assert asked["value"].endswith("Câu hỏi: có bao nhiêu con mèo?")
    solution = "<answer>không</answer><explain>không có con mèo nào.</explain>"
    assert answered == {"from": "gpt", "value": solution}
    # It is read back as it was written: the tags are kept.
    found, skipped = load("jsonl", path, image_folder=str(tmp_path / "val2014"))
    assert (skipped, found[0].answer) == ([], solution)


def test_vivqa_x_without_its_files_says_which_are_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ViVQA-X_train\.json does not exist"):
        vivqa_x.create_jsonl_for_grpo("train", source=tmp_path)
    with pytest.raises(ConfigError, match="has no split 'tset'; did you mean 'test'"):
        vivqa_x.create_jsonl_for_grpo("tset", source=tmp_path)
