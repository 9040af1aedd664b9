"""What every model of a pipeline is asked, through the same doors as scripts/evaluate.py."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

import vlmtune
from vlmtune import discovery
from vlmtune.config import EvaluationConfig, RunConfig
from vlmtune.config_pipeline import BASE
from vlmtune.evaluation import run as running
from vlmtune.evaluation import saved
from vlmtune.evaluation.held_out import load_held_out
from vlmtune.evaluation.run import Prepared
from vlmtune.evaluation.score import Result, score
from vlmtune.protocols import Benchmark, Generator
from vlmtune.reports import evaluation_files
from vlmtune.training.progress import Tracks
from vlmtune.types import JSON, Example, RowSource, Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A benchmark or a held-out dataset.

    Attributes:
        prepared: Its rows.
        slug: Its folder.
    """

    prepared: Prepared
    slug: str

    @property
    def examples(self) -> tuple[Example, ...]:
        """The rows as questions."""
        one = self.prepared
        return tuple(one.benchmark.example(row, protocol=one.protocol) for row in one.rows)


def prepare_questions(config: RunConfig, *, track: Tracks) -> tuple[Question, ...]:
    """Read all rows that will be asked.

    Args:
        config: What the stages share; its section evaluation says what is asked.
        track: Opens progress bars.

    Raises:
        ConfigError: If a benchmark, dataset or setting is unknown.
        DataError: If rows cannot be had.
    """
    evaluation = config.evaluation
    seed = config.seed if evaluation.seed is None else evaluation.seed
    count = evaluation.max_samples
    benchmarks: list[Benchmark] = [*load_held_out(config, seed=seed, count=count, track=track)]
    if not evaluation.datasets or evaluation.benchmarks != EvaluationConfig().benchmarks:
        benchmarks += [
            discovery.load("benchmark", name).BENCHMARK for name in evaluation.benchmarks
        ]
    prepared = [
        running.prepare(
            benchmark,
            RowSource(seed=seed, count=count),
            protocol=evaluation.protocol,
            style=evaluation.style,
            max_samples=count,
        )
        for benchmark in benchmarks
    ]
    return tuple(
        Question(prepared=one, slug=saved.folder_name(one.benchmark.name)) for one in prepared
    )


def identity(questions: Sequence[Question], evaluation: EvaluationConfig) -> dict[str, JSON]:
    """Say what decides the answers besides the model."""
    return {
        "rows": {one.slug: saved.fingerprint(one.prepared.rows) for one in questions},
        "style": evaluation.style,
        "protocols": [one.prepared.protocol for one in questions],
        "max_tokens": evaluation.max_tokens,
    }


def ask(
    questions: Sequence[Question],
    start: Start,
    config: RunConfig,
    backend: Any,
    *,
    folder: Path,
    name: str,
    console: Console,
) -> None:
    """Ask a model everything, and write its evaluation; answers that are there are kept.

    Args:
        questions: What to ask.
        start: The model.
        config: What the stages share.
        backend: What answers.
        folder: Where the evaluation goes.
        name: What the pipeline calls the model.
        console: Where progress goes.
    """
    started = time.perf_counter()
    evaluation = config.evaluation
    console.print(f"loading {escape(start.model)} on {backend.NAME} ...")
    above = {} if start.adapter is None else {"adapter": start.adapter}
    generator = backend.load_generator(start.model, batch_rows=evaluation.batch_size, **above)
    results = [
        _answers(
            one,
            generator,
            start,
            evaluation,
            backend=backend.NAME,
            folder=folder,
            name=name,
            console=console,
        )
        for one in questions
    ]
    called = config.model.name if name == BASE else f"{config.model.name} after {name}"
    report: dict[str, JSON] = {
        "vlmtune": vlmtune.__version__,
        "model": {**asdict(generator.model), "name": called},
        "backend": backend.NAME,
        "style": evaluation.style,
        "seed": config.seed if evaluation.seed is None else evaluation.seed,
        "seconds": time.perf_counter() - started,
        "generated": sum(len(one.prepared.rows) for one in questions),
        "benchmarks": {result.name: result.report for result in results},
    }
    evaluation_files.write_evaluation(folder, report, results)


def _answers(
    one: Question,
    generator: Generator,
    start: Start,
    evaluation: EvaluationConfig,
    *,
    backend: str,
    folder: Path,
    name: str,
    console: Console,
) -> Result:
    prepared = one.prepared
    settings = running.settings_of(
        prepared,
        generator,
        model=start.model,
        backend=backend,
        max_tokens=evaluation.max_tokens,
    )
    with Tracks(console)(f"{name}: {prepared.benchmark.name}", len(prepared.rows)) as advance:
        answers = running.collect(
            prepared,
            generator,
            settings,
            folder=folder / one.slug,
            batch=evaluation.batch_size,
            progress=advance,
        )
    return score(prepared.benchmark, answers, style=prepared.style, protocol=prepared.protocol)
