"""The finished model: an adapter in peft's layout or a transformers folder, loadable by itself."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vlmtune.backends.hub import upload
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.backends.pytorch.tuning import ADAPTER
from vlmtune.config import RunConfig

Weights: TypeAlias = Mapping[str, Any] | None


def export(
    loaded: LoadedModel, config: RunConfig, folder: Path, *, weights: Weights = None
) -> None:
    """Write the model to a hidden folder first, and move its files into place when all are there.

    Args:
        loaded: The trained model.
        config: `save.processor` adds tokenizer and image processor; `save.push_to_hub` uploads.
        folder: Where the files go; other files there stay.
        weights: By name, where the model itself holds only this process's share.
    """
    building = folder / ".model.building"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    save(loaded, building, weights=weights)
    if config.save.processor:
        loaded.reader.processor.save_pretrained(building)
    for path in sorted(building.iterdir()):
        target = folder / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    building.rmdir()
    upload(folder, config)


def save(loaded: LoadedModel, folder: Path, *, weights: Weights = None) -> None:
    """Write the adapter that trains, or all weights where there is none, as safetensors."""
    if loaded.is_adapted:
        loaded.network.save_pretrained(folder, selected_adapters=[ADAPTER], state_dict=weights)
        # peft's card is an empty form; run.json says what this is.
        (folder / "README.md").unlink(missing_ok=True)
    else:
        loaded.network.save_pretrained(folder, state_dict=weights)
