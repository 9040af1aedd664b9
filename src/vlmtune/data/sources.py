"""From a name in the config to a source of rows.

scenes                       a file of vlmtune/data/datasets
my_rows.py                   a loader of the user's own
rows.jsonl, rows.parquet     a local table; so is a folder of them
owner/name                   a table on the Hugging Face hub
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmtune import discovery
from vlmtune.config import DatasetConfig, RunConfig
from vlmtune.data.datasets import files, hub, jsonl
from vlmtune.data.images import BytesImage
from vlmtune.data.options import KEYS
from vlmtune.data.order import in_random_order, shuffled
from vlmtune.data.skips import SkipLog
from vlmtune.errors import ConfigError
from vlmtune.types import JSON, Example

_LINES = (".jsonl", ".json", ".ndjson")
_HUB_ID_PARTS = 2


@dataclass(slots=True, kw_only=True)
class Source:
    """A source while it is being read.

    Attributes:
        name: As the config has it.
        rows: What is left of it.
        log: Its rows that could not be used.
        weight: How many rows it gives, compared with the others.
        kept: Rows in use so far.
    """

    name: str
    rows: Iterator[Example]
    log: SkipLog
    weight: float
    kept: int = 0


def open_source(config: RunConfig, index: int) -> Source:
    """Open one of the config's sources, in the order that the config asks for.

    Args:
        config: The run.
        index: Place in `config.data.datasets`.

    Raises:
        ConfigError: If the dataset or an option is unknown, or it never ends and nothing caps it.
        DataError: If it cannot be read.
    """
    dataset = config.data.datasets[index]
    loader, options = resolve(dataset)
    options = _with_defaults(options, loader, config=config, name=dataset.name)
    log = SkipLog(stop=config.data.on_bad_row == "error")
    endless = bool(getattr(loader, "ENDLESS", False))
    if endless and config.data.max_samples is None and config.data.max_samples_per_dataset is None:
        raise ConfigError(
            f"dataset '{dataset.name}' never ends, so data.max_samples: null would never finish; "
            "set a number"
        )
    shuffle_seed = f"shuffle {config.seed} {index}"
    table = getattr(loader, "table", None) if config.data.shuffle else None
    if table is not None:
        rows = in_random_order(
            table(split=dataset.split, seed=config.seed, options=options), seed=shuffle_seed
        )
        return Source(name=dataset.name, rows=rows, log=log, weight=dataset.weight)
    rows = loader.load(split=dataset.split, seed=config.seed, options=options, skip=log)
    if config.data.shuffle and not endless:
        # Rows of an endless source are independent draws already: a buffer would only cost time.
        rows = shuffled(rows, seed=shuffle_seed, weigh=_bytes_of)
    return Source(name=dataset.name, rows=rows, log=log, weight=dataset.weight)


def resolve(dataset: DatasetConfig) -> tuple[Any, dict[str, JSON]]:
    """Find the loader that a name stands for, and the options to call it with.

    Args:
        dataset: Name and options.

    Returns:
        A module with `load`, and its options.

    Raises:
        ConfigError: If nothing is found, or a path is given twice.
    """
    name, path = dataset.name, Path(dataset.name)
    options = dict(dataset.options)
    if path.suffix == ".py" or name.replace("-", "_").lower() in discovery.available("dataset"):
        return discovery.load("dataset", name), options
    local = next((m for fits, m in _LOCAL if fits(path)), None)
    if local is not None:
        return local, _with_path(options, "path", dataset=name)
    if published := _published_as(name):
        loader, variant = published
        return loader, {**variant, **options}
    if _is_hub_id(name):
        return hub, _with_path(options, "id", dataset=name)
    return discovery.load("dataset", name), options


_LOCAL = (
    (lambda path: path.suffix in _LINES, jsonl),
    (lambda path: path.suffix == ".parquet" or path.is_dir(), files),
    (lambda path: path.is_file(), jsonl),
)


def _published_as(repo: str) -> tuple[Any, dict[str, JSON]] | None:
    """Find the loader that was written for a table on the hub, and the variant that it is."""
    for name in discovery.available("dataset"):
        loader = discovery.load("dataset", name)
        for variant, source in getattr(loader, "SOURCES", {}).items():
            if source.repo.lower() == repo.lower():
                return loader, {"variant": variant} if "variant" in loader.OPTIONS else {}
    return None


def _is_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == _HUB_ID_PARTS and all(
        part and part[0] not in ".~" and not part.endswith((".jsonl", ".json")) for part in parts
    )


def _with_path(options: dict[str, JSON], key: str, *, dataset: str) -> dict[str, JSON]:
    if key in options:
        kind = "file" if key == "path" else "hub id"
        raise ConfigError(
            f"dataset '{dataset}' is a {kind} and has an option '{key}' as well; "
            f"keep one: name: {'jsonl' if key == 'path' else 'hub'} with the option, or the {kind} "
            "as the name"
        )
    return {**options, key: dataset}


def _with_defaults(
    options: dict[str, JSON], loader: Any, *, config: RunConfig, name: str
) -> dict[str, JSON]:
    """Hand the run's own settings to loaders that have such options."""
    known = getattr(loader, "OPTIONS", ())
    shared = {key: getattr(config.data, key) for key in ("preprocessing", *KEYS)}
    for key, value in shared.items():
        if value is None:
            continue
        if key not in known:
            raise ConfigError(
                f"data.{key} cannot be used: dataset '{name}' does not read rows of columns; "
                "leave it out, or name it in the options of the sources that do"
            )
        options = {key: value, **options}
    if config.data.cache_dir is not None and "cache_dir" in known:
        options = {"cache_dir": config.data.cache_dir, **options}
    return options


def _bytes_of(example: Example) -> int:
    return sum(len(image.data) for image in example.images if isinstance(image, BytesImage))
