"""The finished model: an adapter in peft's layout or a transformers folder, loadable by itself."""

import json
import shutil
from pathlib import Path

from vlmtune.backends.hub import upload
from vlmtune.backends.mlx.inputs import PromptReader
from vlmtune.backends.mlx.learner import Learner
from vlmtune.config import RunConfig
from vlmtune.models.checkpoints import read_json

_PROCESSOR = (
    "tokenizer*.json", "*.jinja", "vocab.json", "merges.txt", "added_tokens.json",
    "special_tokens_map.json", "*preprocessor_config.json", "processor_config.json",
    "chat_template.json",
)  # fmt: skip
_BOUNDED = "preprocessor_config.json"


def export(learner: Learner, config: RunConfig, folder: Path) -> None:
    """Write the model to a hidden folder first, and move its files into place when all are there.

    Args:
        learner: The trained model.
        config: `save.processor` adds tokenizer and image processor; `save.push_to_hub` uploads.
        folder: Where the files go; other files there stay.
    """
    building = folder / ".model.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    learner.write(building)
    if config.save.processor:
        write_processor(learner.loaded.reader, learner.folder, building)
    for path in sorted(building.iterdir()):
        path.replace(folder / path.name)
    building.rmdir()
    upload(folder, config)


def write_processor(reader: PromptReader, source: Path, folder: Path) -> None:
    """Copy tokenizer and image processor as transformers reads them.

    Args:
        reader: Has the bounds that this run set to the pictures.
        source: Where the model was read.
        folder: Where they go.
    """
    for pattern in _PROCESSOR:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    pictures = reader.image_processor
    bounds = {
        name: int(getattr(pictures, name))
        for name in ("min_pixels", "max_pixels")
        if hasattr(pictures, name)
    }
    path = folder / _BOUNDED
    if not path.is_file() or not bounds:
        return
    found = read_json(path)
    size = {"shortest_edge": bounds["min_pixels"], "longest_edge": bounds["max_pixels"]}
    if found.get("size") != size:
        changed = found | bounds | {"size": size}
        path.write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n", encoding="utf-8")
