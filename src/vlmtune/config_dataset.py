"""One source of rows, wherever a config names some.

{name: scenes, split: train, options: {kinds: [count]}}
"""

from pydantic import Field

from vlmtune.config_section import Section
from vlmtune.types import JSON


class DatasetConfig(Section):
    """One source of rows."""

    name: str
    """Dataset name (scenes), .jsonl or .parquet file, folder of them, hub id, or .py loader."""
    split: str = "train"
    """Split to read, or a part of it: train[:5%], train[100:200]."""
    weight: float = Field(default=1.0, gt=0)
    """Rows drawn from this source, compared with the others' weights."""
    options: dict[str, JSON] = Field(default_factory=dict)
    """Options of that dataset; each dataset refuses those it does not know."""
