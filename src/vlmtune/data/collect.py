"""Bring published datasets into the cache, so that later runs need no network.

    ~/.cache/vlmtune/datasets/vsr_random/test.jsonl, complete.json
    ~/.cache/vlmtune/manifests/vsr_random.jsonl         what became of each picture's address

`complete.json` is written last. A loader takes a folder that has it, and the hub otherwise.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from vlmtune import discovery
from vlmtune.data import hub, published, store, tables
from vlmtune.data.cells import Row
from vlmtune.data.download import Outcome, PictureReport, fetch_pictures
from vlmtune.data.fetch import fetch_picture
from vlmtune.data.published import HubSource
from vlmtune.data.splits import SAME
from vlmtune.data.tables import Table, Unreadable
from vlmtune.errors import ConfigError, DataError

DONE = "complete.json"
ROWS_A_GROUP = 100
_NOT_PUBLISHED: Mapping[str, str] = MappingProxyType(
    {
        "spatialvlm": "never released; open_spaces and spacethinker stand in for it",
        "vivqa_x": "not on the hub; get its three JSON files from its authors, name their folder",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One table to bring.

    Attributes:
        name: Its folder in the cache, and how rows are called.
        source: Where it is published.
    """

    name: str
    source: HubSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What became of one table.

    Attributes:
        name: The table.
        folder: Where it lies.
        rows: Rows by split.
        pictures: What became of pictures that rows name by address; None where tables hold them.
        fresh: Whether this run brought it.
    """

    name: str
    folder: Path
    rows: Mapping[str, int]
    pictures: PictureReport | None
    fresh: bool

    def line(self) -> str:
        """Say it in one line."""
        counts = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        state = "" if self.fresh else " (was there already)"
        shown = f"; {self.pictures.line()}" if self.pictures else ""
        return f"{self.name}{state}: rows {counts}{shown}; in {self.folder}"


def wanted(names: Sequence[str], *, max_samples: int | None) -> tuple[list[Wanted], list[str]]:
    """Find the tables that names stand for.

    Args:
        names: Datasets, such as rlhf_v, vsr, open_spaces/mc_r1, cauldron/ai2d; or "all".
        max_samples: Rows a split at most; without it "all" leaves out what would fill a disk.

    Returns:
        Tables, and why some of "all" are left out.

    Raises:
        ConfigError: If a name is unknown or stands for nothing that can be downloaded.
    """
    found: dict[str, Wanted] = {}
    notes: list[str] = []
    for name in names:
        if name == "all":
            notes += _add_all(found, max_samples=max_samples)
        else:
            found |= {entry.name: entry for entry in _tables_of(name)}
    return list(found.values()), notes


def bring(
    entry: Wanted,
    *,
    cache: Path,
    max_samples: int | None = None,
    workers: int = 16,
    retry_failed: bool = False,
    fetch: Callable[[str], bytes] = fetch_picture,
    progress: Callable[[Outcome], None] | None = None,
) -> Brought:
    """Bring one table, and the pictures that it names by address.

    Args:
        entry: The table.
        cache: From `store.cache_folder`.
        max_samples: Rows of each split at most.
        workers: Downloads side by side.
        retry_failed: Try pictures again whose failure was final.
        fetch: Address -> encoded picture.
        progress: Called once a picture.

    Raises:
        DataError: If the hub or the cache fails, or the table has other columns.
    """
    folder = cache / "datasets" / entry.name
    earlier = _read_done(folder)
    fresh = not _covers(earlier, max_samples)
    if fresh:
        (folder / DONE).unlink(missing_ok=True)
        if max_samples is None:
            hub.download_files(
                entry.source.repo,
                folder=folder,
                subset=entry.source.subset,
                workers=workers,
                dataset=entry.name,
            )
        else:
            _first_rows(entry, folder=folder, count=max_samples)
    opened = _open_all(folder, entry=entry)
    counts = {split: table.count() for split, table in opened.items()}
    pictures = None
    if entry.source.addresses is not None:
        pictures = fetch_pictures(
            _addresses(opened.values(), entry.source.addresses, count=max_samples),
            cache=cache,
            manifest=cache / "manifests" / f"{entry.name}.jsonl",
            workers=workers,
            retry_failed=retry_failed,
            fetch=fetch,
            progress=progress,
        )
    note = {"repo": entry.source.repo, "max_samples": max_samples, "rows": counts}
    if fresh:
        store.write_whole(folder / DONE, json.dumps(note).encode())
    return Brought(name=entry.name, folder=folder, rows=counts, pictures=pictures, fresh=fresh)


def _add_all(found: dict[str, Wanted], *, max_samples: int | None) -> list[str]:
    notes = [f"{name}: {why}" for name, why in _NOT_PUBLISHED.items()]
    for name in discovery.available("dataset"):
        sources = getattr(discovery.load("dataset", name), "SOURCES", {})
        if not sources:
            continue
        if name == "cauldron":
            notes.append("cauldron: fifty collections; name some, as in cauldron/ai2d")
        elif max_samples is None and any(source.large for source in sources.values()):
            notes.append(f"{name}: too large to come along; name it, or give --max_samples")
        else:
            found |= {entry.name: entry for entry in _tables_of(name)}
    return notes


def _tables_of(name: str) -> list[Wanted]:
    plain, _, variant = name.replace("-", "_").partition("/")
    if plain in _NOT_PUBLISHED:
        raise ConfigError(f"dataset {plain} cannot be downloaded: {_NOT_PUBLISHED[plain]}")
    sources = getattr(discovery.load("dataset", plain), "SOURCES", {})
    if not sources:
        raise ConfigError(f"dataset {plain} needs no download: it is not published on the hub")
    if plain == "cauldron":
        if not variant:
            raise ConfigError("dataset cauldron is fifty collections; name one: cauldron/ai2d")
        source = replace(sources["cauldron"], subset=variant)
        return [Wanted(name=f"cauldron_{variant}", source=source)]
    if variant and variant not in sources:
        raise ConfigError(f"dataset {plain} has no part '{variant}'; it has {', '.join(sources)}")
    chosen = {variant: sources[variant]} if variant else _one_a_repo(sources)
    return [Wanted(name=_folder_name(plain, key, chosen), source=chosen[key]) for key in chosen]


def _one_a_repo(sources: Mapping[str, HubSource]) -> dict[str, HubSource]:
    """Parts of one repository come in the same files."""
    first: dict[str, str] = {}
    for key, source in sources.items():
        first.setdefault(source.repo, key)
    return {key: sources[key] for key in first.values()}


def _folder_name(dataset: str, variant: str, chosen: Mapping[str, HubSource]) -> str:
    alone = variant in {dataset, "default"}
    return dataset if alone else f"{dataset}_{variant}"


def _read_done(folder: Path) -> Mapping[str, object] | None:
    path = folder / DONE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _covers(done: Mapping[str, object] | None, count: int | None) -> bool:
    """Whether an earlier download has at least the rows that are asked for now."""
    if done is None:
        return False
    had = done.get("max_samples")
    return had is None or (isinstance(had, int) and count is not None and had >= count)


def _first_rows(entry: Wanted, *, folder: Path, count: int) -> None:
    source = entry.source
    for split in hub.split_names(source.repo, subset=source.subset, dataset=entry.name):
        table = hub.open_table(
            source.repo, split=split, subset=source.subset, stream=True, dataset=entry.name
        )
        name = next((known for known, names in SAME.items() if split in names), split)
        _write_parquet(table.read(0, count), folder / f"{name}.parquet")


def _write_parquet(found: Iterator[Row | Unreadable], path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    rows = (row for row in found if not isinstance(row, Unreadable))
    writer = None
    try:
        while group := list(itertools.islice(rows, ROWS_A_GROUP)):
            # Later groups keep the first one's types: a column of nulls has none of its own.
            schema = None if writer is None else writer.schema
            table = pa.Table.from_pylist(group, schema=schema)
            writer = writer or ParquetWriter(part, table.schema)
            writer.write_table(table)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be written ({error}); free some space") from error
    finally:
        if writer is not None:
            writer.close()
    if writer is not None:
        part.replace(path)


def _open_all(folder: Path, *, entry: Wanted) -> dict[str, Table]:
    files = sorted(folder.rglob("*.parquet")) or sorted(folder.rglob("*.jsonl"))
    splits = dict.fromkeys(tables.split_of(file, below=folder) or "train" for file in files)
    if not splits:
        raise DataError(f"dataset {entry.name}: nothing was downloaded to {folder}; run it again")
    return {
        split: published.open_local(folder, split=split, dataset=entry.name) for split in splits
    }


def _addresses(opened: Iterable[Table], column: str, *, count: int | None) -> Iterator[str]:
    for table in opened:
        for row in table.read(0, count):
            if not isinstance(row, Unreadable) and isinstance(row.get(column), str):
                yield row[column]
