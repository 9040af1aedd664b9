import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.training import run_directory
from vlmtune.training.run_directory import opened, place, write_json, write_lines

SOURCE = Path(run_directory.__file__).parents[2]


def where(folder: str | None = "out"):
    return place(RunConfig(stage="grpo", output_dir=folder))


def write_output(folder: str = "out", *, text: str = "one") -> None:
    with opened(where(folder)) as path:
        write_json(path / "run.json", {"made_by": "rehearsal"})
        (path / "samples.jsonl").write_text(text)
        (path / "report.html").write_text(text)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_output_dir_it_is_named_after_the_stage(in_folder) -> None:
    assert str(where(None).shown) == "outputs/grpo"
    assert str(place(RunConfig(stage="grpo", debug=True)).shown) == "outputs/grpo-debug"


def test_a_run_leaves_its_three_files_and_nothing_beside_them(in_folder) -> None:
    write_output()
    assert listed(in_folder) == ["out"]
    assert listed(in_folder / "out") == ["report.html", "run.json", "samples.jsonl"]


def test_an_earlier_rehearsal_is_replaced_whole(in_folder) -> None:
    write_output(text="one")
    with opened(where()) as path:
        write_json(path / "run.json", {"made_by": "rehearsal"})
    assert listed(in_folder / "out") == ["run.json"]


def test_a_run_that_fails_leaves_the_old_output(in_folder) -> None:
    write_output(text="one")
    with pytest.raises(RuntimeError), opened(where()) as path:
        (path / "samples.jsonl").write_text("half")
        raise RuntimeError("the model fell over")
    assert (in_folder / "out" / "samples.jsonl").read_text() == "one"
    assert listed(in_folder) == ["out"]


def test_an_empty_folder_may_be_used(in_folder) -> None:
    (in_folder / "out").mkdir()
    write_output()
    assert len(listed(in_folder / "out")) == 3


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"notes.txt": "mine"}, "holds notes.txt"),
        ({"run.json": '{"made_by": "somebody"}'}, "not the output of a rehearsal"),
        ({"run.json": "{broken"}, "not the output of a rehearsal"),
        ({"run.json": "[1]"}, "not the output of a rehearsal"),
        ({"run.json": '{"made_by": "rehearsal"}', "notes.txt": "mine"}, "also holds notes.txt"),
    ],
)
def test_anything_else_in_that_place_is_refused_and_kept(in_folder, files, message) -> None:
    (in_folder / "out").mkdir()
    for name, text in files.items():
        (in_folder / "out" / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        write_output()
    assert "--output_dir" in str(caught.value)
    assert {path.name: path.read_text() for path in (in_folder / "out").iterdir()} == files


def test_a_file_in_that_place_is_refused(in_folder) -> None:
    (in_folder / "out").write_text("mine")
    with pytest.raises(ConfigError, match="is a file"):
        write_output()
    assert (in_folder / "out").read_text() == "mine"


def test_a_file_where_a_parent_should_be_is_refused(in_folder) -> None:
    (in_folder / "deep").write_text("mine")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_output("deep/out")


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_the_working_directory_is_never_replaced(in_folder, folder) -> None:
    with pytest.raises(ConfigError, match="working directory"):
        where(folder)


def test_what_a_file_manager_leaves_does_not_count(in_folder) -> None:
    write_output()
    (in_folder / "out" / ".DS_Store").write_text("")
    write_output(text="two")
    assert (in_folder / "out" / "samples.jsonl").read_text() == "two"


def test_a_second_run_in_the_same_place_is_refused_with_the_process(in_folder) -> None:
    with (
        opened(where()),
        pytest.raises(ConfigError, match=f"process {os.getpid()}"),
        opened(where()),
    ):
        raise AssertionError("two runs in one place")
    write_output()


def run_and_be_killed(folder: Path) -> None:
    """Start a run in a process of its own that dies while it writes."""
    code = (
        "import os, signal\n"
        "from vlmtune.config import RunConfig\n"
        "from vlmtune.training.run_directory import opened, place\n"
        "with opened(place(RunConfig(stage='grpo', output_dir='out'))) as path:\n"
        "    (path / 'samples.jsonl').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=False,
    )
    assert done.returncode == -9


def test_a_killed_run_leaves_the_old_output_and_a_stale_lock_stops_nobody(in_folder) -> None:
    write_output(text="one")
    run_and_be_killed(in_folder)
    assert (in_folder / "out" / "samples.jsonl").read_text() == "one"
    write_output(text="two")
    assert (in_folder / "out" / "samples.jsonl").read_text() == "two"
    assert listed(in_folder) == ["out"]


def test_a_run_killed_between_two_renames_loses_nothing(in_folder) -> None:
    write_output(text="one")
    (in_folder / "out").rename(in_folder / ".out.replaced")
    with pytest.raises(RuntimeError), opened(where()):
        raise RuntimeError("stopped before anything was written")
    assert (in_folder / "out" / "samples.jsonl").read_text() == "one"


def test_a_link_to_a_folder_is_followed_and_stays_a_link(in_folder) -> None:
    (in_folder / "real").mkdir()
    (in_folder / "out").symlink_to("real")
    write_output()
    assert (in_folder / "out").is_symlink()
    assert len(listed(in_folder / "real")) == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_number_that_json_lacks_is_ever_written(tmp_path, bad) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "run.json", {"loss": bad})
    with pytest.raises(ValueError, match="JSON"):
        write_lines(tmp_path / "samples.jsonl", [{"loss": bad}])


def test_broken_unicode_of_a_model_survives_in_valid_files(tmp_path) -> None:
    write_lines(tmp_path / "samples.jsonl", [{"text": "half a \ud83d pair\n\u2028"}, {"text": ""}])
    lines = (tmp_path / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line)["text"] for line in lines if line] == [
        "half a \ud83d pair\n\u2028",
        "",
    ]
