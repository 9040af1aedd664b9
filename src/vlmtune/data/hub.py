"""Tables on the Hugging Face hub, through its own `datasets` library.

This is the one module of the package outside the backends that imports it, and only when a table is
opened. Pictures stay encoded: the library would decode every one that it passes over.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmtune.data.cells import Row
from vlmtune.data.splits import choose
from vlmtune.data.tables import BATCH, Table, Unreadable
from vlmtune.errors import DataError, MissingDependency, VlmtuneError


def open_table(
    repo: str, *, split: str, subset: str | None = None, stream: bool = False, dataset: str
) -> Table:
    """Open one split of a table on the hub.

    Args:
        repo: "owner/name", or a folder that is laid out like one.
        split: The split's name, without a slice; "dev" finds "validation".
        subset: The hub's name of a part, where the table has parts.
        stream: Read rows over the network as they are needed, instead of downloading all first.
        dataset: For messages.

    Raises:
        ConfigError: If there is no such split.
        DataError: If the hub cannot be reached or has no such table.
        MissingDependency: If `datasets` is not installed.
    """
    library = _library()
    try:
        names = library.get_dataset_split_names(repo, subset)
        chosen = choose(split, tuple(names), dataset=dataset)
        found = library.load_dataset(repo, name=subset, split=chosen, streaming=stream)
        columns = tuple(found.column_names or found.features or ())
    except VlmtuneError:
        raise
    except Exception as error:  # The library, its transport and its parsers each raise their own.
        raise DataError(_unreachable(repo, subset=subset, dataset=dataset, error=error)) from error

    def read(start: int, stop: int | None) -> Iterator[Row | Unreadable]:
        """Yield rows as the hub stores them."""
        return _rows(found, start=start, stop=stop, repo=repo, dataset=dataset)

    def count() -> int:
        """Count the rows, or trust what a streamed table says about itself."""
        return len(found) if not stream else _stated_length(found, chosen, repo=repo)

    return Table(name=repo, columns=columns or None, count=count, read=read)


def _rows(found: Any, *, start: int, stop: int | None, repo: str, dataset: str) -> Iterator[Row]:
    # In this format rows come as they are stored, with pictures as bytes.
    batches = iter((found.skip(start) if start else found).with_format("arrow").iter(BATCH))
    left = None if stop is None else max(0, stop - start)
    while left is None or left > 0:
        try:
            batch = next(batches, None)
        except Exception as error:  # As above: a broken connection has many names.
            reason = _unreachable(repo, subset=None, dataset=dataset, error=error)
            raise DataError(reason) from error
        if batch is None:
            return
        rows = list(itertools.islice(batch.to_pylist(), left))
        left = None if left is None else left - len(rows)
        yield from rows


def _stated_length(found: Any, split: str, *, repo: str) -> int:
    splits = found.info.splits or {}
    stated = splits[split].num_examples if split in splits else None
    if not stated:
        raise DataError(
            f"'{repo}' does not say how many rows '{split}' has, which a percentage or a count "
            "from the end needs; give row numbers from the start: "
            f"{split}[:1000]"
        )
    return int(stated)


def _unreachable(repo: str, *, subset: str | None, dataset: str, error: Exception) -> str:
    what = " ".join(str(error).split())[:160] or type(error).__name__
    part = f" ({subset})" if subset else ""
    return (
        f"dataset {dataset}: '{repo}'{part} cannot be read from the Hugging Face hub ({what}); "
        "no local file or folder has this name; check the name and the network, or name a local "
        "copy with the option path"
    )


def _library() -> ModuleType:
    try:
        import datasets
    except ModuleNotFoundError as error:
        if error.name != "datasets":
            raise
        raise MissingDependency(
            "the hub is read through 'datasets'; install it with: pip install 'vlmtune[data]'"
        ) from error
    module: ModuleType = datasets
    return module


def split_names(repo: str, *, subset: str | None = None, dataset: str) -> tuple[str, ...]:
    """List the splits of a table.

    Raises:
        DataError: If the hub cannot be reached or has no such table.
        MissingDependency: If `datasets` is not installed.
    """
    library = _library()
    try:
        return tuple(library.get_dataset_split_names(repo, subset))
    except Exception as error:  # As in `open_table`.
        raise DataError(_unreachable(repo, subset=subset, dataset=dataset, error=error)) from error


def download_files(
    repo: str, *, folder: Path, subset: str | None = None, workers: int, dataset: str
) -> None:
    """Download a table's files; files that are there already are not fetched again.

    Args:
        repo: "owner/name".
        folder: Where they go.
        subset: Only the files of this part.
        workers: Files side by side.
        dataset: For messages.

    Raises:
        DataError: If the hub cannot be reached, has no such table, or the disk is full.
        MissingDependency: If `datasets` is not installed.
    """
    _library()
    import huggingface_hub

    inside = f"{subset}/" if subset else ""
    try:
        huggingface_hub.snapshot_download(
            repo,
            repo_type="dataset",
            local_dir=folder,
            allow_patterns=[f"{inside}*.parquet", f"{inside}*.jsonl"],
            max_workers=workers,
        )
    except Exception as error:  # As in `open_table`.
        raise DataError(_unreachable(repo, subset=subset, dataset=dataset, error=error)) from error
