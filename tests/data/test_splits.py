"""Splits and slices: which rows are meant, worked by hand."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlmtune.data.splits import choose, parse
from vlmtune.data.tables import local_files, open_files
from vlmtune.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("split", "length", "expected"),
    [
        ("train", 10, (0, None)),
        ("train[:3]", 10, (0, 3)),
        ("train[2:5]", 10, (2, 5)),
        ("train[4:]", 10, (4, None)),
        ("train[:5%]", 200, (0, 10)),
        ("train[:5%]", 7693, (0, 385)),  # 384.65 rounds to 385.
        ("train[10%:20%]", 50, (5, 10)),
        ("train[-20%:]", 10, (8, 10)),
        ("train[-3:-1]", 10, (7, 9)),
        ("train[:200%]", 10, None),
        ("train[5:200]", 10, (5, 200)),
        ("train[-200:]", 10, (0, 10)),
        ("train[80%:20%]", 10, (8, 8)),
    ],
)
def test_a_slice_means_these_rows(
    split: str, length: int, expected: tuple[int, int | None] | None
) -> None:
    if expected is None:
        with pytest.raises(ConfigError, match="200% is beyond the split"):
            parse(split)
        return
    assert parse(split).bounds(lambda: length) == expected


def test_rows_are_counted_only_where_the_slice_needs_it() -> None:
    def refuse() -> int:
        raise AssertionError("not counted")

    assert parse("train[3:9]").bounds(refuse) == (3, 9)
    assert parse("train").whole
    with pytest.raises(AssertionError, match="not counted"):
        parse("train[:5%]").bounds(refuse)


@pytest.mark.parametrize(
    "split",
    ["", "train[", "train[:5%", "train[5]", "train[a:b]", "train[:5.5%]", "tr ain", "a[:]b"],
)
def test_what_is_no_split_is_refused(split: str) -> None:
    with pytest.raises(ConfigError, match=r"split '.*"):
        parse(split)


def test_a_split_may_be_asked_for_by_its_other_name() -> None:
    assert choose("dev", ("train", "validation"), dataset="x") == "validation"
    assert choose("validation", ("dev",), dataset="x") == "dev"
    with pytest.raises(ConfigError, match="no split 'trian'; did you mean 'train'"):
        choose("trian", ("train", "test"), dataset="x")


def table(path: Path, rows: int, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = [{"n": number, **columns} for number in range(rows)]
    pq.write_table(pa.Table.from_pylist(values), path, row_group_size=4)
    return path


def test_rows_of_several_files_are_one_table(tmp_path: Path) -> None:
    for number in range(3):
        table(tmp_path / f"train-0000{number}-of-00003.parquet", 5, file=number)
    found = open_files(local_files(tmp_path, split="train", dataset="x"), dataset="x")
    assert (found.count(), found.columns) == (15, ("n", "file"))
    assert [row["file"] for row in found.read(0, None)] == [0] * 5 + [1] * 5 + [2] * 5
    assert [(row["file"], row["n"]) for row in found.read(4, 11)] == [
        (0, 4),
        *((1, n) for n in range(5)),
        (2, 0),
    ]
    assert list(found.read(15, None)) == []


def test_splits_may_be_folders(tmp_path: Path) -> None:
    table(tmp_path / "train" / "0.parquet", 3)
    table(tmp_path / "val" / "0.parquet", 2)
    for split, count in (("train", 3), ("validation", 2)):
        files = local_files(tmp_path, split=split, dataset="x")
        assert open_files(files, dataset="x").count() == count


def test_files_that_name_no_split_are_all_of_train(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", 1)
    table(tmp_path / "b.parquet", 1)
    assert len(local_files(tmp_path, split="train", dataset="x")) == 2
    table(tmp_path / "test-1.parquet", 1)
    with pytest.raises(ConfigError, match=r"some files name their split .* such as a\.parquet"):
        local_files(tmp_path, split="train", dataset="x")


def test_a_file_named_outright_is_taken_unless_its_name_contradicts(tmp_path: Path) -> None:
    path = table(tmp_path / "test-1.parquet", 1)
    assert local_files(path, split="train", dataset="x") == (path,)
    assert local_files(path, split="test", dataset="x") == (path,)
    with pytest.raises(ConfigError, match=r"'validation' is asked for, and test-1\.parquet"):
        local_files(path, split="validation", dataset="x")


def test_folders_and_files_that_hold_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        local_files(tmp_path / "none", split="train", dataset="x")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"holds no \.parquet or \.jsonl file but notes\.txt"):
        local_files(tmp_path, split="train", dataset="x")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"parquet file .* cannot be read"):
        open_files([tmp_path / "bad.parquet"], dataset="x")
    table(tmp_path / "a" / "1.parquet", 1)
    table(tmp_path / "a" / "2.parquet", 1, more=1)
    with pytest.raises(DataError, match=r"2\.parquet has the columns n, more and 1\.parquet has n"):
        open_files(local_files(tmp_path / "a", split="train", dataset="x"), dataset="x")
