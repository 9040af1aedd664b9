"""scripts/audit_rewards.py from its flags to its exit code."""

import json
import os
from pathlib import Path

import pytest

from vlmtune.cli_audit import main

FIXTURES = Path(__file__).parent / "fixtures"
SMALL = ["--max_samples", "8", "--timed_answers", "10"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def test_a_reward_that_can_be_gamed_exits_1_and_leaves_a_page(folder: Path, capsys) -> None:
    reward = os.path.relpath(FIXTURES / "similar_text_reward.py")
    assert main(["--reward", reward, *SMALL, "--output_dir", str(folder)]) == 1
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (report["status"], report["rows"]) == ("fail", 8)
    assert set(report["kinds"]) == {"relation", "yes_no", "count", "choice"}
    assert "similar_text_reward.py can be gamed in" in capsys.readouterr().out
    assert (folder / "report.html").is_file()


def test_a_reward_without_a_hole_exits_0(folder: Path, tmp_path: Path) -> None:
    rows = [
        {"question": "How many dogs are there?", "answer": "3", "kind": "count"},
        {"question": "Is there a dog?", "answer": "yes", "kind": "yes_no"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    reward = str(FIXTURES / "exact_answer_reward.py")
    flags = ["--reward", reward, "--dataset", str(path), *SMALL, "--output-dir", str(folder)]
    assert main(flags) == 0
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert (report["rows"], report["status"]) == (2, "warn")


def test_the_reward_of_a_config_is_audited_with_its_settings(folder: Path) -> None:
    flags = ["--set", "reward.type=counting", "--set", "reward.close_count=0"]
    main([*flags, *SMALL, "--output_dir", str(folder)])
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (audit,) = report["rewards"]
    near = next(one for one in audit["attacks"] if one["name"] == "off by one")
    assert (audit["reward"], near["status"]) == ("counting", "pass")
    assert report["options"]["close_count"] == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--reward", "spacial"], "did you mean 'spatial'"),
        (["--rewards", "spatial"], "did you mean '--reward'"),
        (["--margin", "2"], "--margin is 2.0"),
        (["--dataset", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--set", "reward.close_count=0.9"], "close_count"),
        (["--timed_answers", "-1"], "--timed_answers is -1"),
    ],
)
def test_a_mistake_is_one_line_and_exits_2(flags, said, folder: Path, capsys) -> None:
    assert main([*flags, "--output_dir", str(folder)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not folder.exists()


def test_a_folder_with_other_things_is_left_alone(folder: Path, capsys) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine", encoding="utf-8")
    assert main(["--output_dir", str(folder)]) == 2
    assert "thesis.txt" in capsys.readouterr().err


def test_help_opens_with_a_command_that_runs(capsys) -> None:
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("python scripts/audit_rewards.py --reward combined")
