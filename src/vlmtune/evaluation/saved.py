"""Answers on disk: a line for each row, so that a killed run goes on where it stopped.

    FOLDER/settings.json       what the answers are answers to; written first
    FOLDER/predictions.jsonl   a row's own columns and `completion`, in the benchmark's order

A line is there only when it is whole: the file is flushed to the disk chunk by chunk, and a last
line without its end is cut off when a run resumes. Answers to other settings are never mixed in.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vlmtune.data.images import FileImage, file_problem
from vlmtune.errors import ConfigError, DataError
from vlmtune.evaluation.rows import json_lines, read, row_id
from vlmtune.protocols import Benchmark
from vlmtune.types import JSON, BenchmarkRow, ImageRef, RowSource

SETTINGS, PREDICTIONS = "settings.json", "predictions.jsonl"
_OURS = ("completion", "missing", "finish", "logprobs")
_DIGESTS = {
    "fingerprint": "the benchmark's rows are not the same",
    "weights": "the model's weights are not the same",
}
_BLOCK, _BLOCKS = 1 << 16, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that decides what the answers are.

    Attributes:
        benchmark: Its name.
        rows: How many.
        fingerprint: SHA-256 over the rows' names and columns, in hexadecimal.
        model: As the user named it.
        weights: Digest of the model's files, or "" where it has none.
        backend: Which engine.
        style: "direct" or "think".
        protocol: How the benchmark asked.
        max_tokens: Longest answer.
    """

    benchmark: str
    rows: int
    fingerprint: str
    model: str
    weights: str
    backend: str
    style: str
    protocol: str
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one row.

    Attributes:
        row: The row.
        saved: Its line: the columns, `completion` (None when the picture is missing), `missing`
            (why), `finish`, `logprobs` where answers were compared by likelihood.
    """

    row: BenchmarkRow
    saved: Mapping[str, JSON]

    @property
    def completion(self) -> str | None:
        """What the model wrote, or None when its picture is missing."""
        found = self.saved["completion"]
        return None if found is None else str(found)


def folder_name(benchmark: str) -> str:
    """Name the folder of a benchmark's answers: "CV-Bench" -> "cv_bench"."""
    return "".join(sign if sign.isalnum() else "_" for sign in benchmark.lower())


def fingerprint(rows: Sequence[BenchmarkRow]) -> str:
    """Digest the names and columns of rows, in order; pictures count by their names only."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([row.id, row.columns], sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def row_digest(row: BenchmarkRow, columns: Sequence[str]) -> str:
    """Digest the columns that make a row the question it is: 12 hexadecimal digits."""
    kept = [row.columns.get(name) for name in columns]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()[:12]


def weights_digest(folder: str) -> str:
    """Digest a model's weights: every file's size, and blocks from all over it.

    Training moves all of a layer's numbers, so 64 blocks of 64 KiB tell two checkpoints apart
    without reading gigabytes.

    Returns:
        32 hexadecimal digits, or "" when the folder has no safetensors.
    """
    files = sorted(Path(folder).glob("*.safetensors")) if folder else []
    if not files:
        return ""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            for index in range(_BLOCKS):
                stream.seek(index * size // _BLOCKS)
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()[:32]


def resume(folder: Path, settings: Settings, rows: Sequence[BenchmarkRow]) -> list[Answer]:
    """Read what an earlier run with the same settings left, and make the folder ready for more.

    Returns:
        Answers to the first rows; none in a new folder.

    Raises:
        ConfigError: If the folder holds answers to other settings, or something else.
        DataError: If it cannot be written, or a whole line of it is damaged.
    """
    _claim(folder, settings)
    path = folder / PREDICTIONS
    if not path.exists():
        return []
    _cut_partial_line(path)
    if path.stat().st_size == 0:
        return []
    answers = []
    for number, saved in enumerate(json_lines(path)):
        # Columns went through JSON once; so must those they are compared with.
        same = number < len(rows) and all(
            saved.get(key) == value
            for key, value in json.loads(json.dumps(rows[number].columns)).items()
        )
        if not same or "completion" not in saved:
            raise DataError(
                f"{path} line {number + 1} is not the answer to row {number} of "
                f"{settings.benchmark}; delete {folder} to start afresh"
            )
        answers.append(Answer(row=rows[number], saved=saved))
    return answers


def append(folder: Path, answers: Iterable[Answer]) -> None:
    """Add lines and wait until they are on the disk."""
    lines = "".join(json.dumps(answer.saved) + "\n" for answer in answers)
    with (folder / PREDICTIONS).open("a", encoding="ascii") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def read_predictions(
    path: Path, benchmark: Benchmark, *, image_folder: Path | None = None
) -> list[Answer]:
    """Read saved answers of any origin: the benchmark's own columns and `completion`.

    Args:
        path: JSON Lines, a JSON list, or parquet.
        benchmark: Whose.
        image_folder: Where the rows' picture names start, for the report's gallery; by default
            the file's own folder. Grading needs no picture.

    Raises:
        DataError: If the file cannot be read, lacks a column, or names a row twice.
    """
    answers: list[Answer] = []
    seen: dict[str, int] = {}
    for number, (saved, image) in enumerate(_saved_rows(path, benchmark, image_folder)):
        where = f"{path.name} row {number + 1}"
        _check_saved(saved, benchmark, where=where)
        name = row_id(saved, key=benchmark.key, number=number)
        if name in seen:
            raise DataError(
                f"{where} and row {seen[name]} both have {benchmark.key} {name}; "
                "keep one answer for each row"
            )
        seen[name] = number + 1
        columns = {key: value for key, value in saved.items() if key not in _OURS}
        row = BenchmarkRow(id=name, columns=columns, image=image)
        answers.append(Answer(row=row, saved=saved))
    return answers


def _saved_rows(
    path: Path, benchmark: Benchmark, image_folder: Path | None
) -> Iterator[tuple[Mapping[str, JSON], ImageRef | None]]:
    """Yield rows with their pictures, where those are there to be shown."""
    if path.suffix != ".parquet" or not path.is_file():
        folder = image_folder or path.parent
        yield from ((saved, _shown_image(saved, folder)) for saved in json_lines(path))
        return
    source = RowSource(path=path, image_folder=image_folder)
    for row in read(source, name=benchmark.name, repository=None, key=None):
        shown = None if row.image is None or file_problem(row.image.name) else row.image
        yield row.columns, shown


def _shown_image(saved: Mapping[str, JSON], folder: Path) -> FileImage | None:
    named = saved.get("image") or saved.get("image_name")
    path = str(folder / named) if isinstance(named, str) else ""
    return FileImage(path) if path and not file_problem(path) else None


def _check_saved(saved: Mapping[str, JSON], benchmark: Benchmark, *, where: str) -> None:
    missing = [name for name in (*benchmark.columns, "completion") if name not in saved]
    if missing:
        raise DataError(
            f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"saved answers to {benchmark.name} need {', '.join(benchmark.columns)} and "
            f"completion, and it has {', '.join(saved)}"
        )
    if not isinstance(saved["completion"], str | None):
        raise DataError(
            f"{where}: 'completion' is {type(saved['completion']).__name__}; it should be text, "
            "or null where there was no picture"
        )


def read_settings(folder: Path) -> dict[str, JSON]:
    """Read the settings beside saved answers; {} when there are none."""
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); delete {folder} to start afresh") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is damaged: it is no JSON object; delete {folder}")
    return found


def _claim(folder: Path, settings: Settings) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made ({error.strerror}); choose another --output_dir"
        ) from error
    found = read_settings(folder)
    wanted = asdict(settings)
    if not found:
        if any(file.name != SETTINGS + ".part" for file in folder.iterdir()):
            raise ConfigError(
                f"{folder} holds files of something else; choose another --output_dir"
            )
        part = folder / (SETTINGS + ".part")
        part.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        part.replace(folder / SETTINGS)
        return
    names = [name for name in wanted if found.get(name) != wanted[name]]
    if names:
        told = ", ".join(
            _DIGESTS.get(name, f"{name} was {found.get(name)!r}, now {wanted[name]!r}")
            for name in names
        )
        raise ConfigError(
            f"{folder} holds answers to other settings: {told}; choose another --output_dir, or "
            "delete that folder"
        )


def _cut_partial_line(path: Path) -> None:
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            file.truncate(whole)
