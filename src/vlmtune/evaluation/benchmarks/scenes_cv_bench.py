"""CV-Bench's questions about drawn scenes: no download, and as many rows as one likes.

Columns, reading and roll-up are CV-Bench's. The `source` of a row only fills the place of the
original's three, so that the official formula can be computed; the pictures are drawings.
"""

from collections.abc import Iterator

from vlmtune.errors import ConfigError
from vlmtune.evaluation.benchmarks.cv_bench import CVBench
from vlmtune.scenes.dataset import Scenes
from vlmtune.scenes.export import cv_bench_rows
from vlmtune.scenes.world import SceneOptions
from vlmtune.types import BenchmarkRow, Kind, RowSource

NAME = "scenes-cv-bench"
SPLIT, USUAL_COUNT = "test", 1000


def rows(source: RowSource) -> Iterator[BenchmarkRow]:
    """Draw the rows.

    Raises:
        ConfigError: If a file was given.
    """
    if source.path is not None:
        raise ConfigError(f"{NAME} is drawn, not read; use CV-Bench for rows in a file")
    # As in the written-out rows: distances need three things apart.
    options = SceneOptions(min_objects=4)
    scenes = Scenes(split=SPLIT, seed=source.seed, kinds=(Kind.CHOICE,), options=options)
    for row, example in cv_bench_rows(scenes, source.count or USUAL_COUNT):
        yield BenchmarkRow(id=str(row["idx"]), columns=row, image=example.images[0])


BENCHMARK = CVBench(name=NAME, source=rows)
