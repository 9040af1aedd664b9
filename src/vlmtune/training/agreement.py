"""Is a merged model what its base and adapter were together? Logits say so.

A few questions about drawn scenes are asked of the base, of the base with the adapter on it, and of
the merged model. The adapter must move the logits; the merged model must follow.
"""

import importlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from vlmtune.backends.select import select
from vlmtune.data.datasets import scenes
from vlmtune.errors import CheckpointError, RunFailed
from vlmtune.language.prompts import SPATIAL, build
from vlmtune.types import Kind, Prompt

QUESTIONS = 4
TOLERANCES = {"F32": 1e-3, "F64": 1e-3}
COARSE = 0.05
"""Share of the movement by which a merge into 16 bits may miss: they round small steps away."""
FLOOR = 1e-4
"""Distance between logits that is nothing but the order of additions."""


def check(
    base: str,
    adapter: Path,
    merged: Path,
    *,
    backend: str,
    tolerance: float | None,
    kind: str,
    console: Console,
) -> None:
    """Compare logits, and say how far apart they are.

    Args:
        base: Folder of the model below.
        adapter: Folder of the adapter, in peft's layout.
        merged: Folder of the merged model.
        backend: What computes.
        tolerance: Share of the movement by which the merged model may miss, or None.
        kind: Format of the merged weights, F32, BF16 or F16.
        console: Where the numbers go.

    Raises:
        RunFailed: If the adapter moves nothing, or the merged model is another.
    """
    chosen = select(backend).backend.NAME
    probe: Any = _probe(chosen)
    prompts = questions()
    console.print(f"logits   after {len(prompts)} questions, computed with {chosen} ...")
    plain, expected = probe.next_logits(base, prompts, adapter=adapter)
    found, _ = probe.next_logits(str(merged), prompts)
    moved, off = _distance(plain, expected), _distance(expected, found)
    share = TOLERANCES.get(kind, COARSE) if tolerance is None else tolerance
    console.print(
        f"logits   the adapter moves them by up to {moved:.4g}; merged, they are within {off:.2g} "
        f"of base and adapter, {off / moved if moved else 0:.2%} of that (allowed: {share:.2%})"
    )
    if moved <= FLOOR:
        raise RunFailed(
            f"the adapter in {adapter} moves no logit by more than {FLOOR}; it was not trained, or "
            "belongs to another model"
        )
    if off > max(share * moved, FLOOR):
        finer = "" if kind in TOLERANCES else "; --dtype fp32 keeps all of the adapter"
        raise RunFailed(
            f"the merged model misses base and adapter by {off:.3g}, {off / moved:.1%} of what the "
            f"adapter moves, and {share:.1%} is allowed{finer}"
        )


def _probe(backend: str) -> Any:
    try:
        return importlib.import_module(f"vlmtune.backends.{backend}.probe")
    except ModuleNotFoundError as error:
        if error.name != f"vlmtune.backends.{backend}.probe":
            raise
        raise CheckpointError(
            f"backend {backend} computes no logits; compare with --backend pytorch or mlx, or not "
            "at all with --skip_logits"
        ) from error


def questions() -> list[Prompt]:
    """Word a few questions about drawn scenes, always the same."""
    kinds = (Kind.COUNT, Kind.RELATION, Kind.YES_NO, Kind.CAPTION)
    options = {"kinds": [kind.value for kind in kinds]}
    rows = scenes.load(split="agreement", seed=0, options=options, skip=_refuse)
    return [build(example, style=SPATIAL) for example in islice(rows, QUESTIONS)]


def _refuse(row: str, reason: str) -> None:
    raise AssertionError(f"scene {row} skipped: {reason}")


def _distance(one: Sequence[Any], other: Sequence[Any]) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())
