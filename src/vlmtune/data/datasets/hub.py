"""Any table on the Hugging Face hub whose columns `formats` knows, or the keys name.

data: {datasets: [{name: owner/name, split: "train[:5%]", options: {stream: true}}]}
"""

from collections.abc import Iterator, Mapping

from vlmtune.data import hub, rows, splits
from vlmtune.data import options as read_options
from vlmtune.data.options import ROW_OPTIONS
from vlmtune.errors import ConfigError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

OPTIONS = ("id", "subset", "stream", *ROW_OPTIONS)


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield the rows of a table in its order.

    Args:
        split: A split, or a part of one.
        seed: Unused; the order is the table's.
        options: `id` (required: owner/name), `subset`, `stream` (true reads row by row over the
            network instead of downloading first), `image_folder`, `preprocessing` and the keys.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the hub cannot be reached or has no such table.
    """
    read_options.refuse_unknown(options, OPTIONS, dataset="hub")
    repo = read_options.text(options, "id", dataset="hub")
    if repo is None:
        raise ConfigError("dataset hub needs the option 'id': owner/name of the table")
    stream = options.get("stream", False)
    if not isinstance(stream, bool):
        raise ConfigError(f"option stream of dataset hub is true or false, not {stream!r}")
    part = splits.parse(split)
    source = repo.rstrip("/").rpartition("/")[2]
    reader = rows.reader(options, dataset="hub", source=source)
    table = hub.open_table(
        repo,
        split=part.name,
        subset=read_options.text(options, "subset", dataset="hub"),
        stream=stream,
        dataset=source,
    )
    label = f"{source}/{part.name}"
    return rows.examples(table, part=part, label=label, reader=reader, skip=skip)
