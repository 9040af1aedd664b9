"""Put a benchmark's questions to a model, in batches, and keep every answer at once."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmtune.data.images import FileImage, file_problem
from vlmtune.errors import ConfigError, DataError
from vlmtune.evaluation import saved
from vlmtune.evaluation.saved import Answer, Settings
from vlmtune.language import prompts
from vlmtune.protocols import Benchmark, Generator
from vlmtune.types import JSON, BenchmarkRow, Prompt, RowSource, Sampling

STYLES = {"direct": prompts.DIRECT, "think": prompts.SPATIAL}
"""What the user types -> the wording of `language.prompts`."""
BATCHES_IN_CHUNK = 4
"""A chunk is kept on disk as a whole; a longer one keeps the batches fuller, and loses more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Rows that are ready to be asked.

    Attributes:
        benchmark: Whose.
        rows: Which, in the benchmark's order.
        total: Rows of the benchmark before `max_samples`.
        protocol: How to ask.
        style: "direct" or "think".
    """

    benchmark: Benchmark
    rows: tuple[BenchmarkRow, ...]
    total: int
    protocol: str
    style: str


def prepare(
    benchmark: Benchmark,
    source: RowSource,
    *,
    protocol: str | None,
    style: str,
    max_samples: int | None,
) -> Prepared:
    """Read the rows and check everything that needs no model.

    Args:
        benchmark: What to read.
        source: Where from.
        protocol: One of its protocols, or None for the usual one.
        style: A key of `STYLES`.
        max_samples: Take so many rows at random, by the source's seed, and keep their order.

    Raises:
        ConfigError: If the protocol is not one of the benchmark's, or does not go with the style.
        DataError: If there are no rows, a column lacks, a name stands twice, or no picture exists.
    """
    chosen = choose_protocol(benchmark, protocol, style=style)
    rows = list(benchmark.rows(source))
    if not rows:
        raise DataError(f"{benchmark.name} has no rows in {source.path}; name another file")
    _check(benchmark, rows)
    total = len(rows)
    if max_samples is not None and max_samples < total:
        # Only random() gives the same numbers on every Python version.
        draw = random.Random(f"rows of {benchmark.name}, seed {source.seed}")
        ranked = sorted(range(total), key=[draw.random() for _ in rows].__getitem__)
        rows = [rows[index] for index in sorted(ranked[:max_samples])]
    _refuse_without_pictures(benchmark, rows)
    for row in rows:
        benchmark.example(row, protocol=chosen)
    return Prepared(
        benchmark=benchmark, rows=tuple(rows), total=total, protocol=chosen, style=style
    )


def choose_protocol(benchmark: Benchmark, protocol: str | None, *, style: str) -> str:
    """Take the protocol that was asked for, or the benchmark's usual one.

    Raises:
        ConfigError: If the benchmark has no such protocol, or it does not go with the style.
    """
    if style not in STYLES:
        raise ConfigError(f"--style {style} is unknown; use {' or '.join(STYLES)}")
    if protocol is None:
        return next(iter(benchmark.protocols))
    if protocol not in benchmark.protocols:
        raise ConfigError(
            f"{benchmark.name} has no protocol '{protocol}'; it has "
            f"{', '.join(benchmark.protocols)}"
        )
    if style == "think" and benchmark.candidates(protocol):
        raise ConfigError(
            f"--protocol {protocol} compares answers that were not thought about; "
            "use it with --style direct"
        )
    return protocol


def settings_of(
    prepared: Prepared, generator: Generator, *, model: str, backend: str, max_tokens: int
) -> Settings:
    """Say what the answers will be answers to."""
    return Settings(
        benchmark=prepared.benchmark.name,
        rows=len(prepared.rows),
        fingerprint=saved.fingerprint(prepared.rows),
        model=model,
        weights="+".join(
            digest
            for folder in (generator.model.path, generator.model.adapter)
            if (digest := saved.weights_digest(folder))
        ),
        backend=backend,
        style=prepared.style,
        protocol=prepared.protocol,
        max_tokens=max_tokens,
    )


def collect(
    prepared: Prepared,
    generator: Generator,
    settings: Settings,
    *,
    folder: Path,
    batch: int,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Ask what has not been asked yet.

    Args:
        prepared: The rows.
        generator: The model.
        settings: What the answers are answers to.
        folder: Keeps the answers; those that are there already are not asked for again.
        batch: Rows decoded side by side.
        progress: Called with the number of rows finished since the last call, earlier ones first.

    Returns:
        One answer for each row, in order; those without a picture say so.

    Raises:
        ConfigError: If the folder holds answers to other settings.
        DataError: If no row has a picture that can be opened.
    """
    tell = progress or _say_nothing
    answers = saved.resume(folder, settings, prepared.rows)
    tell(len(answers))
    chunk = batch * BATCHES_IN_CHUNK
    for start in range(len(answers), len(prepared.rows), chunk):
        found = _ask(prepared, generator, settings, start=start, stop=start + chunk, tell=tell)
        saved.append(folder, found)
        answers += found
    if all(answer.completion is None for answer in answers):
        raise DataError(
            f"{settings.benchmark}: none of {len(answers)} pictures could be opened; the first: "
            f"{answers[0].saved.get('missing')}"
        )
    return answers


def _say_nothing(count: int) -> None:
    """Stand in for a progress bar."""


def _ask(
    prepared: Prepared,
    generator: Generator,
    settings: Settings,
    *,
    start: int,
    stop: int,
    tell: Callable[[int], None],
) -> list[Answer]:
    """Answer the rows start..stop."""
    rows = prepared.rows[start:stop]
    problems = [_picture_problem(row) for row in rows]
    present = [row for row, problem in zip(rows, problems, strict=True) if not problem]
    tell(len(rows) - len(present))
    built = [
        prompts.build(
            prepared.benchmark.example(row, protocol=settings.protocol),
            style=STYLES[settings.style],
        )
        for row in present
    ]
    options = prepared.benchmark.candidates(settings.protocol)
    if options:
        found = _compared(generator, built, options)
        tell(len(present))
    else:
        sampling = Sampling(samples=1, max_tokens=settings.max_tokens, temperature=0.0)
        drawn = generator.generate(built, sampling, progress=tell) if built else []
        found = [{"completion": one.text, "finish": one.finish.value} for (one,) in drawn]
    waiting = iter(found)
    return [
        Answer(
            row=row,
            saved={
                **row.columns,
                **({"completion": None, "missing": problem} if problem else next(waiting)),
            },
        )
        for row, problem in zip(rows, problems, strict=True)
    ]


def _compared(
    generator: Generator, built: Sequence[Prompt], options: Sequence[str]
) -> list[dict[str, JSON]]:
    """Let the likeliest option be the answer; the first of equals, as argmax has it."""
    pairs = [(prompt, option) for prompt in built for option in options]
    if not pairs:
        return []
    scores = generator.score([prompt for prompt, _ in pairs], [option for _, option in pairs])
    # The last token ends the answer; the benchmark compares the words alone.
    sums = [sum(score[:-1]) for score in scores]
    found = []
    for start in range(0, len(pairs), len(options)):
        logprobs = dict(zip(options, sums[start : start + len(options)], strict=True))
        best = max(options, key=logprobs.__getitem__)
        found.append({"completion": best, "logprobs": logprobs})
    return found


def _picture_problem(row: BenchmarkRow) -> str:
    if row.image is None:
        return "the row names no picture"
    try:
        row.image.open()
    except DataError as error:
        return str(error)
    return ""


def _check(benchmark: Benchmark, rows: Sequence[BenchmarkRow]) -> None:
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        missing = [name for name in benchmark.columns if name not in row.columns]
        if missing:
            raise DataError(
                f"{benchmark.name} row {number} lacks {', '.join(missing)}; its columns are "
                f"{', '.join(row.columns)}"
            )
        if row.id in seen:
            raise DataError(
                f"{benchmark.name} rows {seen[row.id]} and {number} are both '{benchmark.key}' "
                f"{row.id}; keep one"
            )
        seen[row.id] = number


def _refuse_without_pictures(benchmark: Benchmark, rows: Sequence[BenchmarkRow]) -> None:
    """Find out before the model is loaded that no picture is where it should be."""
    problems = [
        file_problem(row.image.path) if isinstance(row.image, FileImage) else "" for row in rows
    ]
    if all(problems):
        raise DataError(
            f"{benchmark.name}: none of {len(rows)} pictures is there ({problems[0]}); "
            "say where they lie with --image_folder"
        )
