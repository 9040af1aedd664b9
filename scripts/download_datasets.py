"""Download datasets, and the pictures that they name by address, into the cache.

python scripts/download_datasets.py --datasets vsr --max_samples 100

Stopping it loses nothing: the same command goes on where it was.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def flags() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--datasets", nargs="+", required=True, metavar="NAME", help="all, or names: vsr rlhf_v")
    add("--cache_dir", metavar="FOLDER", help="where to (default ~/.cache/vlmtune)")
    add("--max_samples", type=int, metavar="N", help="rows of each split at most")
    add("--workers", type=int, default=16, metavar="N", help="side by side, 1 to 64 (default 16)")
    add("--retry_failed", action="store_true", help="try pictures again that were refused before")
    return parser.parse_args()


def main() -> int:
    """Download, with a bar for pictures, and say what was kept."""
    asked = flags()

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from vlmtune.data import collect, store
    from vlmtune.errors import ConfigError, VlmtuneError

    console = Console(soft_wrap=True, highlight=False)
    cache = store.cache_folder(asked.cache_dir)
    try:
        if asked.max_samples is not None and asked.max_samples < 1:
            raise ConfigError(f"--max_samples is {asked.max_samples}; use 1 or more")
        wanted, notes = collect.wanted(asked.datasets, max_samples=asked.max_samples)
        console.print(f"{len(wanted)} tables into {cache}", markup=False)
        for note in notes:
            console.print(f"left out: {note}", markup=False)
        failed = 0
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
            for entry in wanted:
                bar = bars.add_task(entry.name, total=None)
                try:
                    brought = collect.bring(
                        entry,
                        cache=cache,
                        max_samples=asked.max_samples,
                        workers=asked.workers,
                        retry_failed=asked.retry_failed,
                        progress=lambda _, bar=bar: bars.advance(bar),
                    )
                except VlmtuneError as error:
                    failed += 1
                    console.print(f"{type(error).__name__}: {error}", markup=False, style="red")
                else:
                    console.print(brought.line(), markup=False)
                bars.update(bar, total=1, completed=1)
    except VlmtuneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted: run the same command to go on", file=sys.stderr)
        return 130
    console.print(f"{len(wanted) - failed} of {len(wanted)} tables are ready in {cache}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
