"""VSR's statements about drawn scenes: no download, and as many rows as one likes."""

from collections.abc import Iterator

from vlmtune.errors import ConfigError
from vlmtune.evaluation.benchmarks.vsr import VSR
from vlmtune.scenes.dataset import Scenes
from vlmtune.scenes.export import vsr_rows
from vlmtune.scenes.world import SceneOptions
from vlmtune.types import BenchmarkRow, Kind, RowSource

NAME = "scenes-vsr"
SPLIT, USUAL_COUNT = "test", 1000


def rows(source: RowSource) -> Iterator[BenchmarkRow]:
    """Draw the rows.

    Raises:
        ConfigError: If a file was given.
    """
    if source.path is not None:
        raise ConfigError(f"{NAME} is drawn, not read; use VSR for rows in a file")
    options = SceneOptions(min_objects=4)
    scenes = Scenes(split=SPLIT, seed=source.seed, kinds=(Kind.YES_NO,), options=options)
    for number, (row, example) in enumerate(vsr_rows(scenes, source.count or USUAL_COUNT)):
        yield BenchmarkRow(id=str(number), columns=row, image=example.images[0])


BENCHMARK = VSR(name=NAME, source=rows)
