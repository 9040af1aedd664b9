"""From a config to the rows of a run: sources in turn, bad rows reported, order fixed by the seed.

Order. Sources are drawn from in turn, one good row each, so `max_samples` covers all of them; a
source that runs out drops from the round. With `data.shuffle` every source is shuffled by itself
first. An index-addressable one (it has a `table`) is permuted by row number, which computes no row
that is not used. Any other goes through a buffer of `SHUFFLE_BUFFER` rows: a source that fits the
buffer is shuffled evenly, a longer one is mixed within a window of that size, which keeps memory
bounded and gives the first row without reading the whole file. The order depends on `seed` and the
files alone, so it is the same on every machine and backend.
"""

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlmtune import discovery
from vlmtune.config import DatasetConfig, RunConfig
from vlmtune.data import images
from vlmtune.data.datasets import jsonl
from vlmtune.data.images import BytesImage, FileImage
from vlmtune.data.order import in_random_order, shuffled
from vlmtune.data.skips import SkipLog, SourceReport
from vlmtune.errors import ConfigError, DataError
from vlmtune.protocols import DatasetLoader
from vlmtune.types import Example, ImageRef, Kind, Stage

_JSONL_SUFFIXES = (".jsonl", ".json", ".ndjson")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What became of all rows.

    Attributes:
        sources: One report per source, in the config's order.
        renamed: Rows whose id was taken already; they were kept with "#2", "#3" ... added.
        images_verified: Whether every picture was decoded once.
        fingerprint: SHA-256 over ids, texts and pictures of the kept rows, in hexadecimal. Pictures
            count with their bytes when they were verified, else with their file names; the two
            never give the same fingerprint.
    """

    sources: tuple[SourceReport, ...]
    renamed: int
    images_verified: bool
    fingerprint: str

    @property
    def kept(self) -> int:
        """Rows in use."""
        return sum(source.kept for source in self.sources)

    @property
    def skipped(self) -> int:
        """Rows left out."""
        return sum(source.skipped for source in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The rows of a run and the story behind them."""

    examples: tuple[Example, ...]
    report: LoadReport


@dataclass(slots=True, kw_only=True)
class _Source:
    """A source while it is being read."""

    name: str
    rows: Iterator[Example]
    log: SkipLog
    kept: int = 0


def load_examples(
    config: RunConfig,
    *,
    verify_images: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Loaded:
    """Read the rows that a run will use.

    Args:
        config: Names the sources, the stage, the seed and how many rows to keep.
        verify_images: Decode every picture once, so that a row with a damaged one is skipped here
            and not met in the middle of a run.
        progress: Called with the number of rows kept since the last call.

    Returns:
        At most `config.data.max_samples` Examples with unique ids, and the report.

    Raises:
        ConfigError: If a dataset or option is unknown, or a source never ends and nothing caps it.
        DataError: If no row can be used, or at the first bad row when `on_bad_row` is "error".
    """
    sources = [_open_source(config, index) for index in range(len(config.data.datasets))]
    refusal = _Refusal(stage=config.stage, verify_images=verify_images)
    kept: list[Example] = []
    taken: set[str] = set()
    renamed = 0
    waiting = deque(sources)
    while waiting and len(kept) != config.data.max_samples:
        source = waiting.popleft()
        example = _next_good(source, refusal, max_pixels=config.data.max_image_pixels)
        if example is None:
            continue
        name = _unique_id(example.id, taken=taken)
        taken.add(name)
        renamed += name != example.id
        kept.append(replace(example, id=name))
        source.kept += 1
        waiting.append(source)
        if progress is not None:
            progress(1)
    reports = tuple(source.log.report(name=source.name, kept=source.kept) for source in sources)
    if not kept:
        raise DataError(_nothing_left(reports, stage=config.stage))
    report = LoadReport(
        sources=reports,
        renamed=renamed,
        images_verified=verify_images,
        fingerprint=fingerprint(kept, read_images=verify_images),
    )
    return Loaded(examples=tuple(kept), report=report)


def stage_problem(example: Example, *, stage: Stage) -> str:
    """Say what a row lacks for a stage.

    Args:
        example: The row.
        stage: What it is to be used for.

    Returns:
        The reason, or "" when the row will do.
    """
    if stage is Stage.DPO:
        return _preference_problem(example)
    if example.answer is None and not (stage is Stage.GRPO and example.kind is Kind.CAPTION):
        return (
            f"no answer: {stage.value.upper()} needs one, in a column 'answer' or as the "
            f"conversation's last line; the columns not understood are {_left_over(example)}"
        )
    return ""


def fingerprint(examples: Sequence[Example], *, read_images: bool) -> str:
    """Name a set of rows by its content, independently of the machine and its folders.

    Args:
        examples: The rows, in order.
        read_images: Hash the pictures' files; else only their file names.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: If a picture's file cannot be read.
    """
    digest = hashlib.sha256(b"images by bytes" if read_images else b"images by name")
    for example in examples:
        pictures = [
            images.identity(image).hex() if read_images else Path(image.name).name
            for image in example.images
        ]
        turns = [[turn.user, turn.assistant] for turn in example.turns]
        texts = [example.id, example.kind.value, turns, example.question, list(example.choices)]
        golds = [example.answer, example.rationale, example.rejected, example.rejected_rationale]
        digest.update(json.dumps([texts, golds, pictures]).encode())
    return digest.hexdigest()


def _open_source(config: RunConfig, index: int) -> _Source:
    dataset = config.data.datasets[index]
    loader, options = _resolve(dataset)
    log = SkipLog(stop=config.data.on_bad_row == "error")
    endless = bool(getattr(loader, "ENDLESS", False))
    if endless and config.data.max_samples is None:
        raise ConfigError(
            f"dataset '{dataset.name}' never ends, so data.max_samples: null would never finish; "
            "set a number"
        )
    shuffle_seed = f"shuffle {config.seed} {index}"
    table = getattr(loader, "table", None) if config.data.shuffle else None
    if table is not None:
        found = table(split=dataset.split, seed=config.seed, options=options)
        rows = in_random_order(found, seed=shuffle_seed)
        return _Source(name=dataset.name, rows=rows, log=log)
    rows = loader.load(split=dataset.split, seed=config.seed, options=options, skip=log)
    if config.data.shuffle and not endless:
        # Rows of an endless source are independent draws already: a buffer would only cost time.
        rows = shuffled(rows, seed=shuffle_seed)
    return _Source(name=dataset.name, rows=rows, log=log)


def _resolve(dataset: DatasetConfig) -> tuple[DatasetLoader, dict[str, object]]:
    path = Path(dataset.name)
    is_file = path.suffix in _JSONL_SUFFIXES or (path.suffix != ".py" and path.is_file())
    if not is_file:
        return discovery.load("dataset", dataset.name), dict(dataset.options)
    if "path" in dataset.options:
        raise ConfigError(
            f"dataset '{dataset.name}' is a file and has an option 'path' as well; "
            "keep one: name: jsonl with the option, or the file as the name"
        )
    return jsonl, {**dataset.options, "path": dataset.name}


@dataclass(slots=True, kw_only=True)
class _Refusal:
    """Says why a row cannot be used; remembers files, so a picture of many rows is decoded once."""

    stage: Stage
    verify_images: bool
    known: dict[str, str] = field(default_factory=dict)

    def reason(self, example: Example) -> str:
        if problem := stage_problem(example, stage=self.stage):
            return problem
        if not self.verify_images:
            return ""
        return next(filter(None, map(self._picture_problem, example.images)), "")

    def _picture_problem(self, image: ImageRef) -> str:
        if not isinstance(image, FileImage):
            return _decoding_problem(image)
        if image.path not in self.known:
            self.known[image.path] = _decoding_problem(image)
        return self.known[image.path]


def _decoding_problem(image: ImageRef) -> str:
    try:
        images.check(image)
    except DataError as error:
        return str(error)
    return ""


def _next_good(source: _Source, refusal: _Refusal, *, max_pixels: int) -> Example | None:
    for row in source.rows:
        example = _bounded(row, max_pixels=max_pixels)
        reason = refusal.reason(example)
        if not reason:
            return example
        source.log(example.id, reason)
    return None


def _bounded(example: Example, *, max_pixels: int) -> Example:
    """Give the run's limit to pictures that came with a loader's own."""
    if not example.images:
        return example
    bounded = tuple(
        replace(image, max_pixels=max_pixels)
        if isinstance(image, (FileImage, BytesImage))
        else image
        for image in example.images
    )
    return replace(example, images=bounded)


def _unique_id(wanted: str, *, taken: set[str]) -> str:
    if wanted not in taken:
        return wanted
    return next(name for n in itertools.count(2) if (name := f"{wanted}#{n}") not in taken)


def _preference_problem(example: Example) -> str:
    if example.answer is None or example.rejected is None:
        lacking = "chosen" if example.answer is None else "rejected"
        return (
            f"no {lacking} answer: DPO needs 'chosen' and 'rejected'; "
            f"the columns not understood are {_left_over(example)}"
        )
    if example.answer == example.rejected and example.rationale == example.rejected_rationale:
        return "chosen and rejected are the same: DPO learns from their difference; change one"
    return ""


def _left_over(example: Example) -> str:
    names = [f"'{name}'" for name in list(example.facts)[:6]]
    return ", ".join(names) or "none"


def _nothing_left(reports: Sequence[SourceReport], *, stage: Stage) -> str:
    names = ", ".join(report.name for report in reports)
    skipped = sum(report.skipped for report in reports)
    if not skipped:
        return f"no rows in {names}; name a dataset that has some"
    causes = [
        f"{reason} ({count})"
        for report in reports
        for reason, count in itertools.islice(report.reasons.items(), 3)
    ]
    first = next(report.first[0] for report in reports if report.first)
    return (
        f"no row of {names} can be used for {stage.value.upper()}: all {skipped} were skipped, "
        f"most for: {', '.join(causes[:3])}; the first, {first.row}: {first.reason}"
    )
