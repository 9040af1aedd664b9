"""Weights packed in few bits: how to tell them, and which float weights they were made from."""

import re
from collections.abc import Iterable
from pathlib import Path

from vlmtune.models.checkpoints import read_json

_MADE_FOR_MLX = re.compile(
    r"(?:.*/)?(.+?)-(?:\d+bit|bf16|fp16|mxfp4|nvfp4)(?:-.*)?$", re.IGNORECASE
)
_CARD = re.compile(r"^base_model:\s*(?:\n\s*-\s*)?[\"']?([\w.-]+/[\w.-]+)", re.MULTILINE)


def packed_bits(folder: Path) -> int | None:
    """Read in how many bits a model folder packs its weights; None for plain numbers."""
    config = read_json(folder / "config.json")
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and "bits" in mlx:
        return int(mlx["bits"])
    torch = config.get("quantization_config")
    if isinstance(torch, dict):
        four = torch.get("load_in_4bit") or torch.get("_load_in_4bit")
        return int(torch.get("bits") or (4 if four else 8))
    return None


def origin(name: str, folder: Path | None, *, published: Iterable[str]) -> str:
    """Name the float weights that a checkpoint made for MLX comes from.

    Args:
        name: Its hub id or folder name.
        folder: Where its files are, if they are here; its card names the origin.
        published: Hub ids of float weights, one of which it may be named after.

    Returns:
        A hub id; "" where nothing says so.
    """
    card = folder / "README.md" if folder is not None else None
    if card is not None and card.is_file():
        found = _CARD.search(card.read_text(encoding="utf-8", errors="replace")[:4096])
        if found and not found[1].startswith("mlx-community/"):
            return found[1]
    plain = _MADE_FOR_MLX.match(name)
    stem = plain[1] if plain else name.rpartition("/")[2]
    for hub_id in published:
        if hub_id.rpartition("/")[2].lower() == stem.lower():
            return hub_id
    return ""
