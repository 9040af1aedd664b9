"""From a config to the rows of a run: sources in turn, bad rows reported, order fixed by the seed.

Order. Sources are drawn from in turn, one good row each, so `max_samples` covers all of them; with
weights the next row comes from the source that has had the least for its weight. A source that runs
out drops from the round. With `data.shuffle` every source is shuffled by itself
first. An index-addressable one (it has a `table`) is permuted by row number, which computes no row
that is not used. Any other goes through a buffer of `SHUFFLE_BUFFER` rows: a source that fits the
buffer is shuffled evenly, a longer one is mixed within a window of that size, which keeps memory
bounded and gives the first row without reading the whole file. The order depends on `seed` and the
files alone, so it is the same on every machine and backend.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vlmtune.config import RunConfig
from vlmtune.data import images, store
from vlmtune.data.ahead import ahead
from vlmtune.data.images import FileImage
from vlmtune.data.order import next_source
from vlmtune.data.pictures import Shelf
from vlmtune.data.skips import SourceReport
from vlmtune.data.sources import Source, open_source
from vlmtune.errors import ConfigError, DataError
from vlmtune.types import Example, ImageRef, Stage

_GRADING = frozenset({"spatial", "counting", "combined", "accuracy", "explanation"})
"""Rewards that compare with a gold answer."""


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
        At most `config.data.max_samples` Examples with unique ids, and the report. Every picture
        is a file, or is drawn when it is opened.

    Raises:
        ConfigError: If there is no dataset, a dataset or option is unknown, or a source never ends
            and nothing caps it.
        DataError: If no row can be used, or at the first bad row when `on_bad_row` is "error".
    """
    if not config.data.datasets:
        raise ConfigError(
            "data.datasets is empty; name rows, and evaluation alone is scripts/evaluate.py"
        )
    shelf = Shelf(
        cache=store.cache_folder(config.data.cache_dir),
        policy=config.data.addresses,
        max_pixels=config.data.max_image_pixels,
    )
    sources = _opened(config, shelf)
    refusal = _Refusal(
        stage=config.stage,
        answered=answers_needed(config),
        verify_images=verify_images,
        shelf=shelf,
    )
    kept: list[Example] = []
    taken: set[str] = set()
    renamed = 0
    for source, found in _in_turn(sources, refusal, config=config):
        name = _unique_id(found.id, taken=taken)
        taken.add(name)
        renamed += name != found.id
        kept.append(found if name == found.id else replace(found, id=name))
        source.kept += 1
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


def _opened(config: RunConfig, shelf: Shelf) -> list[Source]:
    """Open all sources; none is read further ahead than the caps on rows allow."""
    caps = (config.data.max_samples, config.data.max_samples_per_dataset)
    most = min((cap for cap in caps if cap is not None), default=None)
    sources = [open_source(config, index) for index in range(len(config.data.datasets))]
    for source in sources:
        source.rows = ahead(source.rows, shelf, most=most)
    return sources


def _in_turn(
    sources: Sequence[Source], refusal: "_Refusal", *, config: RunConfig
) -> Iterator[tuple[Source, Example]]:
    """Yield usable rows, each from the source whose turn it is, until enough or all are read."""
    waiting = list(sources)
    cap, total = config.data.max_samples_per_dataset, 0
    while waiting and total != config.data.max_samples:
        place = next_source(
            [source.kept for source in waiting], [source.weight for source in waiting]
        )
        source = waiting[place]
        found = None if source.kept == cap else _next_good(source, refusal)
        if found is None:
            del waiting[place]
            continue
        total += 1
        yield source, found


def answers_needed(config: RunConfig) -> bool:
    """Say whether each row needs a gold answer.

    All stages do, but for GRPO with rewards that may grade without: the format alone, or functions
    of the user's own, which see for themselves what a row has.
    """
    if config.stage is not Stage.GRPO:
        return True
    reward = config.reward
    named = reward.functions or ([] if reward.file else [reward.type])
    return any(name in _GRADING for name in named)


def stage_problem(example: Example, *, stage: Stage, answered: bool = True) -> str:
    """Say what a row lacks for a stage.

    Args:
        example: The row.
        stage: What it is to be used for.
        answered: Whether it needs a gold answer, from `answers_needed`.

    Returns:
        The reason, or "" when the row will do.
    """
    if stage is Stage.DPO:
        return _preference_problem(example)
    if example.answer is None and answered:
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
            images.identity(image).hex()
            if read_images or not isinstance(image, FileImage)
            else Path(image.name).name
            for image in example.images
        ]
        turns = [[turn.user, turn.assistant] for turn in example.turns]
        texts = [example.id, example.kind.value, turns, example.question, list(example.choices)]
        golds = [example.answer, example.rationale, example.rejected, example.rejected_rationale]
        digest.update(json.dumps([texts, golds, pictures]).encode())
    return digest.hexdigest()


@dataclass(slots=True, kw_only=True)
class _Refusal:
    """Says why a row cannot be used; remembers files, so a picture of many rows is decoded once."""

    stage: Stage
    answered: bool
    verify_images: bool
    shelf: Shelf
    known: dict[str, str] = field(default_factory=dict)

    def usable(self, example: Example) -> Example:
        """Give the row with its pictures in files.

        Raises:
            DataError: If it cannot be used.
        """
        if problem := stage_problem(example, stage=self.stage, answered=self.answered):
            raise DataError(problem)
        settled = self.shelf.settled(example)
        if self.verify_images:
            for image in settled.images:
                if problem := self._picture_problem(image):
                    raise DataError(problem)
        return settled

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


def _next_good(source: Source, refusal: _Refusal) -> Example | None:
    for row in source.rows:
        try:
            return refusal.usable(row)
        except DataError as error:
            reason = str(error)
        source.log(row.id, reason)
    return None


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
