"""Progress bars of a training: one for each slow step before it, one for its updates."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Tracks:
    """Opens bars on a console; a bar of unknown length shows no end."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Open a bar that is moved by counts."""
        with self._bar() as progress:
            task = progress.add_task(title, total=total or None)
            yield lambda count: progress.advance(task, count)

    @contextmanager
    def updates(self) -> Iterator[Callable[[int, int], None]]:
        """Open a bar that is set to (done, total), and appears when it is first set."""
        with self._bar() as progress:
            tasks: list[int] = []

            def place(done: int, total: int) -> None:
                """Show how many updates are done; the bar appears with the first."""
                if not tasks:
                    tasks.append(int(progress.add_task("updates", total=total)))
                progress.update(tasks[0], completed=done, total=total)  # type: ignore[arg-type]

            yield place

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
        )
