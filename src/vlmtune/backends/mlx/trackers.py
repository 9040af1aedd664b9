"""Where a run's numbers go besides its folder: Weights & Biases, TensorBoard, trackio.

Names are those that transformers' own trackers write, so that runs of both backends share charts:
`train/loss`, `eval/loss`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vlmtune import config_file
from vlmtune.backends.settings import trackers
from vlmtune.config import RunConfig

Tell = Callable[[Mapping[str, float], int], None]
"""Told numbers and the updates made."""
LOGS = "logs"
"""Folder of TensorBoard's files in the run's own."""
_EVALUATED = "eval_"


@contextmanager
def opened(config: RunConfig, *, folder: Path) -> Iterator[Tell]:
    """Open the trackers that the settings name, for as long as the run lasts.

    Args:
        config: The run.
        folder: Where trackers keep files.
    """
    kinds = {"wandb": _wandb, "tensorboard": _tensorboard, "trackio": _trackio}
    with ExitStack() as open_ones:
        listeners = [
            open_ones.enter_context(kinds[name](config, folder)) for name in trackers(config)
        ]

        def tell(numbers: Mapping[str, float], step: int) -> None:
            """Pass numbers on to every tracker, under the names that TRL's runs have."""
            named = {_name(name): value for name, value in numbers.items()}
            for listener in listeners:
                listener(named, step)

        yield tell


def _name(name: str) -> str:
    if name.startswith(_EVALUATED):
        return f"eval/{name.removeprefix(_EVALUATED)}"
    return f"train/{name}"


@contextmanager
def _wandb(config: RunConfig, folder: Path) -> Iterator[Tell]:
    import wandb

    tracking = config.tracking
    run: Any = wandb.init(
        project=tracking.project,
        entity=tracking.entity,
        name=config.run_name or config.stage.value,
        mode=tracking.wandb_mode,
        dir=str(folder),
        config=config_file.as_dict(config),
    )
    try:
        yield lambda numbers, step: run.log({**numbers, "train/global_step": step})
    finally:
        run.finish()


@contextmanager
def _trackio(config: RunConfig, folder: Path) -> Iterator[Tell]:
    import trackio

    trackio.init(
        project=config.tracking.project,
        name=config.run_name or config.stage.value,
        config=config_file.as_dict(config),
    )
    try:
        yield lambda numbers, step: trackio.log(dict(numbers), step=step)
    finally:
        trackio.finish()


@contextmanager
def _tensorboard(config: RunConfig, folder: Path) -> Iterator[Tell]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder / LOGS))

    def tell(numbers: Mapping[str, float], step: int) -> None:
        """Write numbers as one event of TensorBoard."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        event = Event(step=step, summary=Summary(value=values))
        event.wall_time = time.time()
        writer.add_event(event)

    try:
        yield tell
    finally:
        writer.close()
