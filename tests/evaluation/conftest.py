"""A small local VSR: statements about one picture."""

import json
from collections.abc import Callable
from pathlib import Path

import PIL.Image
import pytest

RELATIONS = ("on", "under", "left of", "facing")


@pytest.fixture
def vsr_file(tmp_path: Path) -> Callable[[int], Path]:
    """Write `count` rows and their picture; gives the file."""

    def write(count: int) -> Path:
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        PIL.Image.new("RGB", (32, 24), "teal").save(folder / "1.png")
        rows = [
            {
                "image": "1.png",
                "image_link": "",
                "caption": f"The cat number {i} is {RELATIONS[i % 4]} the mat.",
                "label": i % 2,
                "relation": RELATIONS[i % 4],
                "vote_true_validator_id": "[2, 9]",
                "vote_false_validator_id": "[]",
            }
            for i in range(count)
        ]
        file = folder / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return file

    return write
