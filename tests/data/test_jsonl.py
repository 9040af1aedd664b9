"""The JSON Lines loader: broken lines are named by number and the reading goes on."""

import itertools
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from vlmtune.data import lines
from vlmtune.data.datasets import jsonl
from vlmtune.errors import ConfigError, DataError
from vlmtune.types import Example

GOOD = b'{"prompt": "How many?", "answer": "2"}'


def read(path: Path, **options: Any) -> tuple[list[Example], list[tuple[str, str]]]:
    skipped: list[tuple[str, str]] = []
    rows = jsonl.load(
        split="train",
        seed=0,
        options={"path": str(path), **options},
        skip=lambda row, reason: skipped.append((row, reason)),
    )
    return list(rows), skipped


def written(tmp_path: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "Q" "answer": "A"}', "not valid JSON (Expecting ',' delimiter at column 16)"),
        (b'{"prompt": "Q", "answer": "A"', "not valid JSON (Expecting ',' delimiter at column 30)"),
        (b'{"prompt": "caf\xe9"}', "not UTF-8 text: byte 0xe9 at position 16"),
        (b"[1, 2]", "not a JSON object (a list)"),
        (b'"text"', "not a JSON object (a str)"),
        (b"null", "not a JSON object (a NoneType)"),
        (b'{"prompt": "Q", "answer": NaN}', "not valid JSON (NaN is no JSON value); write null"),
        (b'{"prompt": "Q", "answer": -Infinity}', "not valid JSON (-Infinity is no JSON value)"),
        (b'{"prompt": "Q", "answer": 1e999}', "not valid JSON (the number 1e999 overflows)"),
        (b'{"answer": "A", "answer": "B"}', "not valid JSON (the key 'answer' stands twice)"),
        (b'{"prompt": ' + b"[" * 50_000, "nested too deeply"),
        (b'{"answer": ' + b"9" * 5000 + b"}", "not valid JSON ("),
        (b'{"prompt": "Q", "answer": "\\ud800"}', "text is not valid Unicode"),
        (b'{"prompt": "Q", "image": "no.png"}', "image not found"),
        (b'{"prompt": "Q", "image": "ftp://x.org/a.png"}', "image is an address"),
        (b"\x00\x00\x00", "not valid JSON"),
    ],
)
def test_a_bad_line_is_skipped_with_its_number_and_the_next_is_read(
    line: bytes, reason: str, tmp_path: Path
) -> None:
    rows, skipped = read(written(tmp_path, GOOD + b"\n\n" + line + b"\n" + GOOD + b"\n"))
    assert [row.id for row in rows] == ["rows/000001", "rows/000004"]
    assert len(skipped) == 1
    assert skipped[0][0] == "rows.jsonl line 3"
    assert skipped[0][1].startswith(reason)
    assert "\n" not in skipped[0][1]


def test_byte_order_mark_windows_line_ends_blank_lines_and_no_last_newline(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + GOOD + b"\r\n\r\n   \r\n" + GOOD
    rows, skipped = read(written(tmp_path, content))
    assert [row.id for row in rows] == ["rows/000001", "rows/000004"]
    assert skipped == []


def test_a_unicode_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    line = json.dumps({"prompt": "one\u2028two\x85three", "answer": "A"}, ensure_ascii=False)
    rows, _ = read(written(tmp_path, line.encode()))
    assert rows[0].question == "one\u2028two\x85three"


def test_a_line_too_long_is_skipped_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 1000)
    huge = b'{"prompt": "' + b"x" * 2_000_000 + b'"}'
    path = written(tmp_path, GOOD + b"\n" + huge + b"\n" + GOOD + b"\n")
    tracemalloc.start()
    rows, skipped = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [row.id for row in rows] == ["rows/000001", "rows/000003"]
    assert skipped[0][1].startswith("line is too long: more than 1,000 bytes")
    assert peak < 1_000_000


def test_rows_are_read_only_as_they_are_asked_for(tmp_path: Path) -> None:
    skipped: list[str] = []
    path = written(tmp_path, GOOD + b"\nbroken\n" + GOOD)
    rows = jsonl.load(
        split="train",
        seed=0,
        options={"path": str(path)},
        skip=lambda row, _reason: skipped.append(row),
    )
    assert len(list(itertools.islice(rows, 1))) == 1
    assert skipped == []


def test_relative_pictures_start_at_the_files_folder_or_at_image_folder(tmp_path: Path) -> None:
    for folder in ("rows", "pictures"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").write_bytes(folder.encode())
    line = b'{"prompt": "Q", "answer": "A", "image": "a.png"}'
    path = written(tmp_path / "rows", line)
    assert read(path)[0][0].images[0].name == str(tmp_path / "rows" / "a.png")
    elsewhere = read(path, image_folder=str(tmp_path / "pictures"))[0][0]
    assert elsewhere.images[0].name == str(tmp_path / "pictures" / "a.png")


def test_a_picture_may_lie_above_the_folder_or_have_a_full_path(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    for image in ("../a.png", str(tmp_path / "a.png")):
        line = json.dumps({"prompt": "Q", "answer": "A", "image": image}).encode()
        rows, skipped = read(written(tmp_path / "rows", line))
        assert (len(rows), skipped) == (1, [])


def test_options_name_columns(tmp_path: Path) -> None:
    line = b'{"ask": "Q?", "gold": 1, "options": ["x", "y"], "picture": "rows.jsonl"}'
    path = written(tmp_path, line)
    rows, skipped = read(
        path, prompt_key="ask", answer_key="gold", choice_key="options", image_keys=["picture"]
    )
    assert skipped == []
    assert (rows[0].question, rows[0].answer, rows[0].choices) == ("Q?", "(B)", ("x", "y"))
    assert len(rows[0].images) == 1
    assert len(read(path, prompt_key="ask", image_keys="picture")[0][0].images) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"promt_key": "x"}, "no option 'promt_key'; did you mean 'prompt_key'"),
        ({"prompt_key": 3}, "option prompt_key of dataset jsonl must be a text, not 3"),
        ({"prompt_key": " "}, "option prompt_key"),
        ({"image_keys": [1]}, "option image_keys of dataset jsonl is a list of names"),
        ({"image_folder": "no/such/folder"}, "no/such/folder is not a folder"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(written(tmp_path, GOOD), **options)


def test_the_path_is_required_and_a_file_has_one_split(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs the option 'path'"):
        jsonl.load(split="train", seed=0, options={}, skip=print)
    with pytest.raises(ConfigError, match="has no split 'test'"):
        jsonl.load(split="test", seed=0, options={"path": str(written(tmp_path, GOOD))}, skip=print)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "rows.jsonl", "is empty"),
        (b" \r\n ", "rows.jsonl", "is empty"),
        (b"PAR1rest", "rows.jsonl", "is not JSON Lines but a parquet file"),
        (b"\x1f\x8brest", "rows.jsonl", "compressed with gzip"),
        ('{"prompt": "Q"}'.encode("utf-16"), "rows.jsonl", "UTF-16 text"),
        (b'[\n  {"prompt": "Q"}\n]', "rows.json", "is one JSON document, not JSON Lines"),
        (b'[{"prompt": "Q"}]', "rows.json", "is one JSON document, not JSON Lines"),
        (b'{\n  "prompt": "Q"\n}', "rows.jsonl", "is one JSON document, not JSON Lines"),
    ],
)
def test_another_kind_of_file_is_recognised(
    content: bytes, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, content, name))


def test_a_missing_file_gets_a_suggestion_from_its_folder(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "grpo.jsonl")
    with pytest.raises(DataError, match=r"grop.jsonl does not exist; did you mean .*grpo.jsonl\?"):
        read(tmp_path / "grop.jsonl")
    with pytest.raises(DataError, match=r"holds grpo.jsonl"):
        read(tmp_path / "zzzzzzzz.jsonl")
    with pytest.raises(DataError, match="neither does the folder"):
        read(tmp_path / "none" / "rows.jsonl")
    with pytest.raises(DataError, match="is not a file"):
        read(tmp_path)
