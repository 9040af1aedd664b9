"""Rows from files: every shape that holds them, and every way in which they can be wrong."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmtune.errors import DataError
from vlmtune.evaluation import rows, saved
from vlmtune.evaluation.benchmarks.cv_bench import BENCHMARK as CV_BENCH
from vlmtune.evaluation.benchmarks.vsr import BENCHMARK as VSR
from vlmtune.types import BenchmarkRow, RowSource

Writer = Callable[[int], Path]


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (30, 20), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def test_a_folder_and_its_file_and_a_json_list_give_the_same_rows(vsr_file: Writer) -> None:
    file = vsr_file(4)
    lines = list(VSR.rows(RowSource(path=file)))
    assert list(VSR.rows(RowSource(path=file.parent))) == lines
    listed = file.with_suffix(".json")
    listed.write_text(json.dumps([row.columns for row in lines]))
    assert list(VSR.rows(RowSource(path=listed))) == lines
    file.write_text("\ufeff" + file.read_text().replace("\n", "\r\n\r\n"), encoding="utf-8")
    assert list(VSR.rows(RowSource(path=file))) == lines


def test_parquet_as_published_keeps_its_pictures_out_of_the_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrow = pytest.importorskip("pyarrow", reason="parquet is read with pyarrow")
    import pyarrow.parquet

    monkeypatch.setenv("VLMTUNE_CACHE", str(tmp_path / "cache"))
    table = arrow.Table.from_pylist(
        [
            {
                "idx": index,
                "type": "2D",
                "task": "Count",
                "image": {"bytes": png(colour), "path": None},
                "question": "How many?",
                "choices": ["3", "2"],
                "answer": "(B)",
                "prompt": "How many? ...",
                "filename": f"img/{index}.png",
                "source": "ADE20K",
                "target_class": None,
                "bbox": None,
            }
            for index, colour in enumerate(("red", "blue", "red"))
        ]
    )
    pyarrow.parquet.write_table(table, tmp_path / "test-00000-of-00001.parquet")
    found = list(CV_BENCH.rows(RowSource(path=tmp_path / "test-00000-of-00001.parquet")))
    assert [row.id for row in found] == ["0", "1", "2"]
    assert found[0].columns["choices"] == ["3", "2"] and found[0].columns["image"] is None
    colours = [row.image.open().getpixel((0, 0)) for row in found if row.image is not None]
    assert colours == [(255, 0, 0), (0, 0, 255), (255, 0, 0)]
    assert list(CV_BENCH.rows(RowSource(path=tmp_path))) == found
    json.dumps([dict(row.columns) for row in found])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image": "1.png"\n', r"rows.jsonl line 1 is not valid JSON"),
        ('{"a": 1}\n[1, 2]\n', r"rows.jsonl line 2 is not a JSON object"),
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("[1, 2]", "entry 1 is not a JSON object"),
        ('[{"a": 1}', "starts like a JSON list"),
        ('{"a": ' + "9" * 5000 + "}", "line 1 is not valid JSON"),
        ("[" * 100_000, "starts like a JSON list"),
    ],
)
def test_a_line_that_cannot_be_read_is_an_error_with_its_number(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        list(VSR.rows(RowSource(path=tmp_path / "rows.jsonl")))


def test_what_is_not_there_is_named_with_what_is_near(vsr_file: Writer, tmp_path: Path) -> None:
    file = vsr_file(2)
    with pytest.raises(DataError, match=r"row\.jsonl does not exist; did you mean .*rows\.jsonl"):
        list(VSR.rows(RowSource(path=file.with_name("row.jsonl"))))
    with pytest.raises(DataError, match=r"no \.jsonl, \.json or \.parquet"):
        list(VSR.rows(RowSource(path=file.with_name("1.png"))))
    with pytest.raises(DataError, match=r"holds 0 \.jsonl and 0 \.parquet"):
        list(VSR.rows(RowSource(path=tmp_path)))
    with pytest.raises(DataError, match="is not a folder"):
        list(VSR.rows(RowSource(path=file, image_folder=file)))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("[2, 9]", [2, 9]),
        ("['a', 'b']", ["a", "b"]),
        ("[]", []),
        ([1], [1]),
        ("open, closed", "open, closed"),
        ("[open('/etc/passwd')]", "[open('/etc/passwd')]"),
        ("[1, 2", "[1, 2"),
        (None, None),
    ],
)
def test_a_list_written_as_text_is_read_and_nothing_is_run(value: object, found: object) -> None:
    assert rows.python_list(value) == found


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_saved_answers_need_their_columns_and_each_row_once(tmp_path: Path) -> None:
    row = {"idx": 4, "question": "q", "choices": ["a", "b"], "answer": "(A)", "task": "Count"}
    whole = {**row, "source": "COCO", "completion": "A"}
    file = write(tmp_path / "p.jsonl", whole, {**whole, "idx": 5})
    assert [answer.row.id for answer in saved.read_predictions(file, CV_BENCH)] == ["4", "5"]
    file = write(tmp_path / "p.jsonl", whole, {**row, "completion": "A"})
    with pytest.raises(DataError, match=r"p.jsonl row 2 lacks the column source; .* it has idx"):
        saved.read_predictions(file, CV_BENCH)
    file = write(tmp_path / "p.jsonl", {**row, "source": "COCO"})
    with pytest.raises(DataError, match="lacks the column completion"):
        saved.read_predictions(file, CV_BENCH)
    file = write(tmp_path / "p.jsonl", whole, whole)
    with pytest.raises(DataError, match="row 2 and row 1 both have idx 4"):
        saved.read_predictions(file, CV_BENCH)
    file = write(tmp_path / "p.jsonl", {**whole, "completion": ["A"]})
    with pytest.raises(DataError, match="'completion' is list"):
        saved.read_predictions(file, CV_BENCH)


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (("train-00000", "test-00000", "validation-00000"), ["test-00000"]),
        (("train-00000", "val-00000"), ["val-00000"]),
        (("rows", "train-00000"), ["rows"]),
        (("test_2d", "test_3d"), ["test_2d", "test_3d"]),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_training_tables_beside_test_tables_are_not_asked_about(
    tmp_path: Path, names: tuple[str, ...], asked: list[str]
) -> None:
    for name in names:
        row = {"idx": name, "question": "q", "choices": ["a", "b"], "answer": "(A)",
               "task": "Count", "source": "COCO"}  # fmt: skip
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / f"{name}.parquet")
    found = rows.read(RowSource(path=tmp_path), name="CV-Bench", repository=None, key="idx")
    assert [row.id for row in found] == asked


def test_saved_answers_may_be_a_parquet_table_with_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMTUNE_CACHE", str(tmp_path / "cache"))
    row = {"idx": 4, "question": "q", "choices": ["a", "b"], "answer": "(A)", "task": "Count",
           "source": "COCO", "completion": "A"}  # fmt: skip
    picture = {"bytes": png("red"), "path": "a.png"}
    table = pa.Table.from_pylist([{**row, "image": picture}, {**row, "idx": 5, "image": None}])
    pq.write_table(table, tmp_path / "p.parquet")
    first, second = saved.read_predictions(tmp_path / "p.parquet", CV_BENCH)
    assert (first.row.id, first.saved["completion"], second.row.id) == ("4", "A", "5")
    assert first.row.columns["image"] == "a.png"
    assert first.row.image is not None
    assert first.row.image.open().size == (30, 20)
    assert second.row.image is None
    with pytest.raises(DataError, match=r"q\.parquet cannot be read"):
        saved.read_predictions(tmp_path / "q.parquet", CV_BENCH)


def test_the_fingerprint_sees_every_column_and_the_order() -> None:
    one = BenchmarkRow(id="1", columns={"a": 1, "b": 2})
    two = BenchmarkRow(id="2", columns={"a": 1, "b": 2})
    same = BenchmarkRow(id="1", columns={"b": 2, "a": 1})
    other = BenchmarkRow(id="1", columns={"a": 1, "b": 3})
    assert saved.fingerprint([one, two]) == saved.fingerprint([same, two])
    assert len({saved.fingerprint(found) for found in ([one, two], [two, one], [other, two])}) == 3
