"""Every dataset by name goes through a rehearsal in the stages that its rows are for."""

import json
import runpy
from pathlib import Path

import pytest

from vlmtune.data import store
from vlmtune.errors import DataError
from vlmtune.training import rehearsal
from vlmtune.training.findings import Status

FIXTURES = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "dataset_rows.py"))
ROWS, VIVQA = FIXTURES["ROWS"], FIXTURES["VIVQA"]
SPLITS = {"vsr": "test", "cv_bench": "test", "vivqa_x": "val"}
STAGES = {
    "scenes": ("sft", "dpo", "grpo"),
    "rlhf_v": ("sft", "dpo", "grpo"),
    "pixmo_cap": ("sft",),
    "open_spaces": ("sft", "grpo"),
    "open_spaces/mc_r1": ("sft", "grpo"),
    "open_spaces/spacellava": ("sft", "grpo"),
    "spacethinker": ("sft", "grpo"),
    "vsr": ("sft", "grpo"),
    "vsr/zeroshot": ("sft", "grpo"),
    "cv_bench": ("sft", "grpo"),
    "robo2vlm": ("sft", "grpo"),
    "vivqa_x": ("sft", "grpo"),
    "open_r1_8k": ("sft", "grpo"),
    "rlaif_v": ("sft", "dpo", "grpo"),
    "cauldron": ("sft", "grpo"),
}
SEVERAL = {"cauldron": 2}
"""Pictures of a row, where they are not one."""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Write a dataset as its authors publish it and its pictures as a download leaves them."""
    monkeypatch.setenv("VLMTUNE_CACHE", str(tmp_path / "cache"))

    def written(named: str) -> dict[str, object]:
        name, _, variant = named.partition("/")
        options = {"variant": variant} if variant else {}
        if name == "scenes":
            return {"name": name}
        if name == "vivqa_x":
            folder = FIXTURES["vivqa_folder"](tmp_path / name, [VIVQA])
        else:
            row = ROWS[name] | ({"reasoning": "It is near."} if variant == "mc_r1" else {})
            file = "test.parquet" if name == "cv_bench" else ""
            folder = FIXTURES["written"](tmp_path / name, name, [row], file=file)
            for column in ("image_url", "image_link"):
                if column in row:
                    path = store.at_address(row[column], cache=tmp_path / "cache")
                    store.write_whole(path, FIXTURES["png"]())
        split = SPLITS.get(name, "train")
        return {"name": name, "split": split, "options": {"path": str(folder), **options}}

    return written


@pytest.fixture
def rehearse(source, make_config, console, in_folder):
    """Rehearse one row of a dataset; a bad row is an error."""

    def run(named: str, stage: str):
        data = {"datasets": [source(named)], "max_samples": 1, "on_bad_row": "error"}
        outcome = rehearsal.run(make_config(stage, data=data), console=console)
        record = json.loads((in_folder / "out" / "run.json").read_text())
        sample = json.loads((in_folder / "out" / "samples.jsonl").read_text())
        return record, sample, {check.name: check.status for check in outcome.checks}

    return run


@pytest.mark.parametrize(
    ("named", "stage"), [(named, stage) for named, stages in STAGES.items() for stage in stages]
)
def test_a_datasets_rows_are_rehearsed(named, stage, rehearse) -> None:
    run, sample, checks = rehearse(named, stage)
    assert (run["data"]["kept"], run["data"]["skipped"]) == (1, 0)
    assert len(sample["images"]) == SEVERAL.get(named.partition("/")[0], 1)
    assert sample["prompt_tokens"] > sample["image_tokens"] > 0
    passing = {
        "sft": ["targets_present", "prompt_masked", "end_token"],
        "dpo": ["pairs_complete", "pairs_distinct"],
        # The reward must be able to read the dataset's own gold answers.
        "grpo": ["gold_answers", "empty_answer", "rewards_valid"],
    }[stage]
    assert {name: checks[name] for name in passing} == dict.fromkeys(passing, Status.PASS)


@pytest.mark.parametrize("named", [named for named in STAGES if "dpo" not in STAGES[named]])
def test_a_dataset_without_pairs_is_refused_for_dpo(named, rehearse) -> None:
    with pytest.raises(DataError, match="no rejected answer: DPO needs 'chosen' and 'rejected'"):
        rehearse(named, "dpo")


def test_spatialvlm_is_refused_with_what_stands_in(make_config, console) -> None:
    data = {"datasets": [{"name": "spatialvlm"}]}
    with pytest.raises(DataError, match="open_spaces and spacethinker, and scenes makes"):
        rehearsal.run(make_config("sft", data=data), console=console)
