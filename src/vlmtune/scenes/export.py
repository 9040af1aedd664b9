"""Write scenes out as rows of the two benchmarks, with pictures beside them.

The rows have the columns of the originals, so that everything that reads VSR or CV-Bench reads
them. They are stand-ins made here: `source_dataset` says "scenes", and the `source` of a CV-Bench
row only fills the place of the original's three, so that its official roll-up can be computed.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from vlmtune.errors import ConfigError
from vlmtune.scenes.dataset import Scenes
from vlmtune.scenes.world import SceneOptions
from vlmtune.types import JSON, Example, Kind

THREE_D = ("Depth", "Distance")


def vsr_rows(scenes: Scenes, count: int) -> Iterator[tuple[dict[str, JSON], Example]]:
    """Yield VSR rows (image, image_link, caption, label, relation) with their Examples."""
    for index in range(count):
        example = scenes[index]
        yield (
            {
                "image": f"{index:06d}.png",
                "image_link": "",
                "caption": example.facts["caption"],
                "label": example.facts["label"],
                "relation": example.facts["relation"],
            },
            example,
        )


def cv_bench_rows(scenes: Scenes, count: int) -> Iterator[tuple[dict[str, JSON], Example]]:
    """Yield CV-Bench rows with their Examples, Depth and Distance as 3D, the others as 2D."""
    for index in range(count):
        example = scenes[index]
        task = example.facts["task"]
        deep = task in THREE_D
        lines = [f"({chr(ord('A') + i)}) {option}" for i, option in enumerate(example.choices)]
        yield (
            {
                "idx": index,
                "type": "3D" if deep else "2D",
                "task": task,
                "image": f"{index:06d}.png",
                "question": example.question,
                "choices": list(example.choices),
                "answer": example.answer,
                "prompt": f"{example.question} Select from the following choices.\n"
                + "\n".join(lines),
                "filename": f"{index:06d}.png",
                "source": "Omni3D" if deep else ("ADE20K", "COCO")[index % 2],
                "source_dataset": "scenes",
                "source_filename": example.id,
                "target_class": None,
                "target_size": None,
                "bbox": None,
            },
            example,
        )


def write_rows(
    folder: Path, *, layout: str, count: int, split: str = "test", seed: int = 0
) -> Path:
    """Write a benchmark folder: `rows.jsonl` and one PNG per row.

    Args:
        folder: New or empty folder.
        layout: "vsr" or "cv-bench".
        count: Rows, >= 1.
        split: Split of scenes.
        seed: Seed of scenes.

    Returns:
        The path of the JSONL file.

    Raises:
        ConfigError: If the layout is unknown, count < 1, or the folder holds something.
    """
    if layout not in ("vsr", "cv-bench"):
        raise ConfigError(f"scenes cannot be written as {layout!r}; use 'vsr' or 'cv-bench'")
    if count < 1:
        raise ConfigError(f"--count is {count}; write at least 1 row")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder; choose another --output_dir")
    kind = Kind.YES_NO if layout == "vsr" else Kind.CHOICE
    # Distances need three things apart; fewer than four would leave most tasks to counting.
    scenes = Scenes(split=split, seed=seed, kinds=(kind,), options=SceneOptions(min_objects=4))
    rows = vsr_rows(scenes, count) if layout == "vsr" else cv_bench_rows(scenes, count)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "rows.jsonl.part"
    with part.open("w", encoding="utf-8") as file:
        for row, example in rows:
            example.images[0].open().save(folder / str(row["image"]))
            file.write(json.dumps(row) + "\n")
    return part.rename(folder / "rows.jsonl")
