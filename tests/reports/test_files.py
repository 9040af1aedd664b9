"""Files of a report: whole, replaced, or refused in one line."""

import pytest

from vlmtune.errors import RunFailed
from vlmtune.reports.files import as_json, part_of, write_whole


def test_files_are_replaced_and_nothing_else_is_left(tmp_path):
    folder = tmp_path / "new" / "report"
    write_whole(folder, {"report.md": "old", "report.json": "{}\n"})
    write_whole(folder, {"report.md": "a \ud800 b"})
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.md"]
    assert (folder / "report.md").read_text(encoding="utf-8") == "a ? b"


def test_what_is_half_written_is_hidden_and_told_from_what_is_whole(tmp_path):
    (tmp_path / part_of("report.md")).mkdir()
    (tmp_path / "report.md").write_text("old")
    with pytest.raises(RunFailed, match="cannot be written"):
        write_whole(tmp_path, {"report.md": "new"})
    assert (tmp_path / "report.md").read_text() == "old"
    assert part_of("report.md") == ".report.md.part"


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(RunFailed, match="cannot be written"):
        write_whole(tmp_path / "taken", {"report.md": "text"})


def test_a_number_that_is_none_is_no_json():
    assert as_json({"n": 1}) == '{\n "n": 1\n}\n'
    with pytest.raises(ValueError, match="nan"):
        as_json({"loss": float("nan")})
