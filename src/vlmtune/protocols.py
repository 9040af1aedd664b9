"""The doors of the house: what datasets, rewards, benchmarks and backends must offer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from vlmtune.types import (
    JSON,
    BenchmarkRow,
    Completion,
    Encoded,
    Example,
    Judgement,
    ModelInfo,
    Problem,
    Prompt,
    RowSource,
    Sampling,
    Score,
)


class SkipReport(Protocol):
    """Where a dataset says which rows it could not use. Silence is not an option."""

    def __call__(self, row: str, reason: str) -> None:
        """Record a skipped row, or raise DataError when the run asked for `on_bad_row: error`."""
        ...


class DatasetLoader(Protocol):
    """A module in `vlmtune.data.datasets`; its file name is its config name."""

    def load(
        self, *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
    ) -> Iterator[Example]:
        """Yield Examples in a fixed order, opening no image.

        Raises:
            DataError: If the dataset is missing or its columns are not the ones it needs.
            ConfigError: If an option is unknown.
        """
        ...


class RewardFunction(Protocol):
    """Grades completions; also callable the way TRL calls its reward functions."""

    @property
    def name(self) -> str:
        """What configs and metrics call it."""
        ...

    def score(self, example: Example, completion: str) -> Score:
        """Grade one completion. Deterministic; raising is a bug and stops the run."""
        ...

    def __call__(
        self, *, prompts: Sequence[JSON], completions: Sequence[JSON], **columns: JSON
    ) -> Sequence[float | None]:
        """Grade a batch, TRL's way: columns are lists as long as `completions`.

        None says that the reward does not apply to a completion.
        """
        ...


class Benchmark(Protocol):
    """`BENCHMARK` of a module in `vlmtune.evaluation.benchmarks`; no model is loaded here."""

    @property
    def name(self) -> str:
        """As reports print it: "CV-Bench"."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns without which an answer cannot be graded."""
        ...

    @property
    def key(self) -> str | None:
        """The column that names a row; None where rows have no name but their number."""
        ...

    @property
    def protocols(self) -> Mapping[str, str]:
        """Ways to ask, the usual one first -> what each does, in one phrase."""
        ...

    def rows(self, source: RowSource) -> Iterator[BenchmarkRow]:
        """Yield rows in the benchmark's order, opening no image.

        Raises:
            DataError: If the rows cannot be had or a row is not one of this benchmark.
        """
        ...

    def example(self, row: BenchmarkRow, *, protocol: str) -> Example:
        """Put a row as a question."""
        ...

    def candidates(self, protocol: str) -> tuple[str, ...]:
        """Answers whose likelihoods are compared; empty when the model is to write one itself."""
        ...

    def judge(self, columns: Mapping[str, JSON], completion: str, *, thinking: bool) -> Judgement:
        """Grade one answer; deterministic.

        Args:
            columns: The row's columns, and whatever else its saved answer has.
            completion: What the model wrote.
            thinking: The model was asked for <think> and <answer> tags.

        Raises:
            DataError: If the row's gold answer cannot be used.
        """
        ...

    def summary(
        self, judged: Sequence[tuple[Mapping[str, JSON], Judgement]], *, thinking: bool
    ) -> Mapping[str, JSON]:
        """Add up what only this benchmark knows: official tables, other readers, curves."""
        ...


class Journal(Protocol):
    """A training run, as a trainer sees it: where to write, what to tell, whether to stop.

    Attributes:
        folder: The run's folder.
        scratch: Folder for checkpoints that are being written.
        model_folder: Where the finished model goes.
        resume_from: Checkpoint to go on from, or None.
    """

    folder: Path
    scratch: Path
    model_folder: Path
    resume_from: Path | None

    @property
    def stopping(self) -> bool:
        """Whether somebody asked the run to save and end."""
        ...

    def stop(self) -> None:
        """Save and end, because another process of this run was asked to."""
        ...

    @property
    def last(self) -> Mapping[str, float]:
        """The last value of each recorded number."""
        ...

    def begin(self, *, step: int, total: int) -> None:
        """Training begins, or goes on after `step` updates of `total`."""
        ...

    def advance(self, *, step: int) -> None:
        """The update number `step` is made."""
        ...

    def record(self, numbers: Mapping[str, float], *, step: int) -> None:
        """Write a line of metrics."""
        ...

    def keep(self, *, step: int) -> None:
        """The checkpoint of `step` is complete in `scratch`/checkpoint-`step`."""
        ...


class Generator(Protocol):
    """A loaded model."""

    model: ModelInfo

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Completion]]:
        """Draw completions, [P][samples], in the order of `prompts`, never ragged.

        Image, video and vision-start tokens are never drawn. Equal seeds give equal completions.

        Args:
            prompts: P prompts.
            sampling: How to draw.
            progress: Called with the number of completions finished since the last call.
        """
        ...

    def encode(self, prompt: Prompt, target: str) -> Encoded:
        """Tokenise a prompt and a target answer as training would, without cutting anything."""
        ...

    def score(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[tuple[float, ...]]:
        """Log-probability of every target token (end token included) at temperature 1, [P][T_p]."""
        ...


class Backend(Protocol):
    """A package in `vlmtune.backends`; this is what the package module offers."""

    NAME: str

    def check(self) -> list[Problem]:
        """Say why this backend cannot run here; an empty list means that it can."""
        ...

    def load_generator(
        self,
        model: str,
        *,
        batch_rows: int = 64,
        adapter: Path | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
    ) -> Generator:
        """Load a model by alias, local path or hub id.

        Args:
            model: What the user typed.
            batch_rows: Completions decoded side by side; bounds memory.
            adapter: Folder of an adapter to put on it, in peft's layout.
            min_pixels: Smaller pictures are enlarged to this; None is the model's own bound.
            max_pixels: Larger pictures are scaled down to this; None is the model's own bound.

        Raises:
            ConfigError: If the alias is unknown, or the model's pictures have no such bounds.
            CheckpointError: If the folder is incomplete or the hub cannot be reached.
        """
        ...
