"""Datasets that others published: from a local copy where there is one, else from the hub.

A copy is what the option `path` names, or what `scripts/download_datasets.py` left in the cache.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vlmtune.data import hub, rows, splits, store, tables
from vlmtune.data import options as read_options
from vlmtune.data.cells import Row
from vlmtune.data.formats import Keys
from vlmtune.data.lines import open_lines
from vlmtune.data.options import ROW_OPTIONS
from vlmtune.data.tables import Table
from vlmtune.errors import ConfigError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

OPTIONS = ("path", "cache_dir", "stream", *ROW_OPTIONS)
"""Options of every published dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """Where a dataset is published and what it looks like there.

    Attributes:
        repo: "owner/name" on the Hugging Face hub.
        columns: Those that its loader reads; asserted when the table is opened.
        subset: The hub's name of a part, where the table has parts.
        large: Whether it is read over the network row by row instead of downloaded first.
        addresses: The column with pictures' addresses, where pictures are not in the table.
        pictured: Whether every row shows a picture; one without is refused.
        licence: As its card states it.
    """

    repo: str
    columns: tuple[str, ...]
    subset: str | None = None
    large: bool = False
    addresses: str | None = None
    pictured: bool = True
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A dataset of one table whose loader is these facts and one function.

    load = Published(name="rlhf_v", source=SOURCES["rlhf_v"], shape=_pair).load

    Attributes:
        name: The loader's name.
        source: Where the table is.
        shape: Turns a row of the table into columns that `formats` knows.
        usual: Options that say what the loader does anyway, as another tool's config may.
    """

    name: str
    source: HubSource
    shape: Callable[[Row], Row] = rows.unchanged
    usual: Mapping[str, JSON] = field(default_factory=dict)

    def load(
        self, *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
    ) -> Iterator[Example]:
        """Yield the Examples of one split in the table's order.

        Args:
            split: A split that the table has, or a part of one.
            seed: Unused; the order is the table's.
            options: See `published.load`.
            skip: Told of every row that cannot be used.

        Raises:
            ConfigError: If an option or the split is wrong.
            DataError: If the table cannot be opened or has other columns.
        """
        return load(
            self.source,
            dataset=self.name,
            split=split,
            options={key: value for key, value in options.items() if self.usual.get(key) != value},
            skip=skip,
            shape=self.shape,
        )


def load(
    source: HubSource,
    *,
    dataset: str,
    split: str,
    options: Mapping[str, JSON],
    skip: SkipReport,
    shape: Callable[[Row], Row] = rows.unchanged,
    more_options: tuple[str, ...] = (),
    name: str | None = None,
) -> Iterator[Example]:
    """Yield the Examples of a published dataset.

    Args:
        source: Where it is and what it looks like.
        dataset: The loader's name.
        split: A split, or a part of one.
        options: `path` (a local copy: file or folder), `stream` (read from the hub row by row),
            `image_folder`, `preprocessing` and the keys.
        skip: Told of every row that cannot be used.
        shape: Turns a row into columns that `formats` knows.
        more_options: Options that the loader has already read.
        name: What rows are called, where it is not `dataset`.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened or has other columns.
    """
    read_options.refuse_unknown(options, (*OPTIONS, *more_options), dataset=dataset)
    part = splits.parse(split)
    reader = rows.reader(
        options,
        dataset=dataset,
        source=name or dataset,
        shape=shape,
        pictured=source.pictured and options.get("image_keys") != [],
    )
    table = open_table(source, dataset=dataset, part=part, options=options, name=name or dataset)
    if reader.keys == Keys():
        rows.require_columns(table, source.columns, dataset=dataset)
    label = f"{name or dataset}/{part.name}"
    return rows.examples(table, part=part, label=label, reader=reader, skip=skip)


def open_table(
    source: HubSource,
    *,
    dataset: str,
    part: splits.Slice,
    options: Mapping[str, JSON],
    name: str,
) -> Table:
    """Open one split of a published dataset: the option's copy, the cache's, or the hub's.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the table cannot be opened.
    """
    path = read_options.text(options, "path", dataset=dataset)
    copy = Path(path) if path else downloaded(name, options=options, dataset=dataset)
    if copy is not None:
        return open_local(copy, split=part.name, dataset=dataset)
    stream = options.get("stream", source.large)
    if not isinstance(stream, bool):
        raise ConfigError(f"option stream of dataset {dataset} is true or false, not {stream!r}")
    return hub.open_table(
        source.repo, split=part.name, subset=source.subset, stream=stream, dataset=dataset
    )


def downloaded(name: str, *, options: Mapping[str, JSON], dataset: str) -> Path | None:
    """Find what `scripts/download_datasets.py` left in the cache, if that is complete."""
    cache = store.cache_folder(read_options.text(options, "cache_dir", dataset=dataset))
    folder = cache / "datasets" / name
    return folder if (folder / "complete.json").is_file() else None


def open_local(path: Path, *, split: str, dataset: str) -> Table:
    """Open a file or folder of parquet or JSON Lines as one table.

    Raises:
        ConfigError: If the split is not there.
        DataError: If nothing there can be read.
    """
    files = tables.local_files(path, split=split, dataset=dataset)
    if files[0].suffix == ".parquet":
        return tables.open_files(files, dataset=dataset)
    return open_lines(files, dataset=dataset)
