"""A whole pipeline on pico in miniature: what it leaves, skips and refuses, and how it goes on."""

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vlmtune import cli
from vlmtune.models.checkpoints import read_json

pytest.importorskip("trl", reason="TRL needs Python 3.11")

CHECKOUT = Path(__file__).parents[2]
FILE = CHECKOUT / "tests" / "fixtures" / "tiny_pipeline.yaml"
STAGES = ("sft", "dpo", "grpo")


def run(folder: Path, *overrides: str, flags=()) -> int:
    words = ["--config", str(FILE), "--output_dir", str(folder), *flags]
    words += [word for override in overrides for word in ("--set", override)]
    return cli.main(None, checkout=CHECKOUT, argv=words)


def record(folder: Path):
    return json.loads((folder / "run.json").read_text())


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "adapter_model.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[name], theirs[name]) for name in ours
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "out"
    assert run(folder) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path) -> Path:
    """A copy of the finished pipeline, which keeps nothing of where it was made."""
    place = tmp_path / "out"
    shutil.copytree(finished, place)
    for stage in STAGES:
        path = place / stage / "run.json"
        path.write_text(path.read_text().replace(str(finished), str(place)))
    return place


def test_every_stage_is_a_run_that_continues_the_one_before_it(finished):
    found = [record(finished / stage) for stage in STAGES]
    assert [(one["status"], one["stage"], one["result"]["steps"]) for one in found] == [
        ("done", "sft", 2), ("done", "dpo", 2), ("done", "grpo", 2),
    ]  # fmt: skip
    assert [one["parent"] and one["parent"]["stage"] for one in found] == [None, "sft", "dpo"]
    assert "continued, on pico" in found[1]["start"]["from"]
    assert not same(finished / "sft", finished / "dpo")
    assert not same(finished / "dpo", finished / "grpo")


def test_every_model_answered_the_same_questions_which_no_stage_was_trained_on(finished):
    reports = [
        json.loads((finished / "evaluations" / name / "report.json").read_text())
        for name in ("base", *STAGES)
    ]
    prints = {report["benchmarks"]["scenes"]["fingerprint"] for report in reports}
    assert len(prints) == 1
    assert [report["benchmarks"]["scenes"]["n"] for report in reports] == [4, 4, 4, 4]
    assert [report["model"]["name"] for report in reports] == [
        "pico", "pico after sft", "pico after dpo", "pico after grpo",
    ]  # fmt: skip
    assert [bool(report["model"]["adapter"]) for report in reports] == [False, True, True, True]
    lines = (finished / "evaluations/grpo/scenes/predictions.jsonl").read_text().splitlines()
    assert {json.loads(line)["id"].split("/")[1] for line in lines} == {"test"}


def test_the_report_has_the_table_the_curves_and_the_plot(finished):
    report = json.loads((finished / "report.json").read_text())
    assert [model["name"] for model in report["models"]] == ["base", *STAGES]
    assert report["models"][0]["paired"] is None
    assert report["models"][3]["paired"]["scenes"]["n"] == 4
    assert set(report["models"][0]["benchmarks"]["scenes"]["groups"]["kind"]) == {
        "relation", "yes_no", "count", "choice",
    }  # fmt: skip
    assert [len(stage["curves"][name]) for stage, name in zip(
        report["stages"], ("loss", "rewards/margins", "reward/mean"), strict=True
    )] == [2, 2, 2]  # fmt: skip
    page = (finished / "report.html").read_text()
    assert page.count("<svg") == 1 + 4 + sum(
        len([points for points in stage["curves"].values() if len(points) > 1])
        for stage in report["stages"]
    )
    assert "style=" not in page.partition("<body>")[2], "the page's policy forbids inline styles"
    assert ET.parse(finished / "curve.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "| grpo | 4 |" in (finished / "report.md").read_text()


def test_the_same_command_again_does_nothing_twice(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*") if path.is_file()}
    before |= {path: path.stat().st_mtime_ns for path in folder.glob("evaluations/*/*.json")}
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert said.count("is finished already") == 3 and said.count("has answered already") == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_was_not_finished_goes_on_from_its_checkpoint_to_the_same_weights(
    finished, folder, capsys
):
    """As after a kill in the last stage: no model yet, one checkpoint, nothing asked."""
    stage = folder / "grpo"
    found = record(stage)
    (stage / "run.json").write_text(json.dumps({**found, "status": "running", "result": None}))
    (stage / "adapter_model.safetensors").unlink()
    shutil.rmtree(stage / "checkpoints" / "step_000002")
    shutil.rmtree(folder / "evaluations" / "grpo")
    assert run(folder) == 0
    said = capsys.readouterr().out
    assert said.count("is finished already") == 2 and said.count("has answered already") == 3
    assert record(stage)["resumed_from"].endswith("step_000001")
    assert same(stage, finished / "grpo")
    again = json.loads((folder / "report.json").read_text())
    once = json.loads((finished / "report.json").read_text())
    assert again["models"] == once["models"]
    assert [stage["curves"]["loss"] for stage in again["stages"] if "loss" in stage["curves"]] == [
        stage["curves"]["loss"] for stage in once["stages"] if "loss" in stage["curves"]
    ]


def test_answers_that_were_given_are_not_asked_for_again(finished, folder):
    place = folder / "evaluations" / "dpo"
    lines = (place / "scenes" / "predictions.jsonl").read_text().splitlines(keepends=True)
    marked = [line.replace('"completion": "', '"completion": "kept ') for line in lines[:2]]
    (place / "scenes" / "predictions.jsonl").write_text("".join(marked) + lines[2][:20])
    (place / "report.json").unlink()
    assert run(folder) == 0
    found = (place / "scenes" / "predictions.jsonl").read_text().splitlines(keepends=True)
    assert found == [*marked, *lines[2:]]


def test_a_finished_stage_with_other_settings_is_refused_before_anything_is_written(folder, capsys):
    before = (folder / "run.json").read_text()
    assert run(folder, "stages.dpo.dpo.beta=0.3") == 2
    complaint = capsys.readouterr().err
    assert re.search(r"stage dpo in .* other settings \(dpo\.beta: 0\.1 -> 0\.3\)", complaint)
    assert (folder / "run.json").read_text() == before


def test_a_stage_is_not_kept_when_the_one_before_it_was_exchanged(folder, capsys):
    path = folder / "sft" / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    shutil.rmtree(folder / "evaluations" / "sft")
    assert run(folder) == 2
    assert "stage dpo in" in (complaint := capsys.readouterr().err)
    assert "started from other weights" in complaint


def test_resume_never_and_foreign_files_are_respected(folder, tmp_path, capsys):
    assert run(folder, flags=("--resume", "never")) == 2
    assert "resume is never" in capsys.readouterr().err
    assert run(tmp_path / "none", flags=("--resume", "must")) == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    assert run(tmp_path / "other") == 2
    assert "holds thesis.tex" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("stages.grpo.grpo.temperatur=1", r"unknown key 'grpo\.temperatur'"),
        ("stages.grpo.reward.type=spacial", r"stage grpo: .*spacial"),
        ("stages.grpo.data.datasets=[sceness]", r"stage grpo: .*sceness"),
        ("stages.grpo.data.datasets=[{name: scenes, options: {kindz: [count]}}]",
         r"stage grpo: scenes has no option 'kindz'"),
        ("stages.grpo.hardware.nodes=2", r"stage grpo: hardware\.nodes is more than 1"),
        ("stages.dpo.data.datasets=[missing.jsonl]", r"stage dpo: .*missing\.jsonl"),
        ("evaluation.datasets=[sceness]", "sceness"),
        ("evaluation.datasets=[{name: scenes, split: train}]", "would not be honest"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_last_stage_is_told_before_the_first(
    tmp_path, override, complaint, capsys
):
    assert run(tmp_path / "out", override, "evaluation.seed=0") == 2
    assert re.search(complaint, capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_would_happen_and_writes_nothing(tmp_path, capsys):
    assert run(tmp_path / "out", flags=("--dry_run",)) == 0
    said = capsys.readouterr().out
    assert re.search(r"dpo +dpo on 4 rows, 2 updates, rate 0\.0002, lora, into", said)
    assert "4 of scenes, style think, greedy, after every stage" in said
    assert not (tmp_path / "out").exists()


def test_a_script_of_one_stage_names_the_one_that_runs_several(capsys):
    assert cli.main("grpo", checkout=CHECKOUT, argv=["--config", str(FILE)]) == 2
    assert "use scripts/train.py" in capsys.readouterr().err


def test_a_pipeline_is_not_started_by_torchrun(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert run(tmp_path / "out") == 2
    assert "leave torchrun or accelerate launch out" in capsys.readouterr().err


def test_the_whole_folder_starts_another_run_from_its_last_stage(finished, tmp_path):
    from vlmtune.training import lineage

    found = lineage.asked(str(finished))
    assert found.adapter == (finished / "grpo").resolve()
    assert read_json(found.adapter / "adapter_config.json")["r"] == 4
