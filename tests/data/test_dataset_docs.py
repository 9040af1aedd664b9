"""docs/datasets.md: its rows load and its loader runs."""

import json
import re
from pathlib import Path

import PIL.Image
import pytest

from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data.formats import to_example
from vlmtune.data.load import load_examples
from vlmtune.types import Kind, Stage

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
ROWS = re.findall(r"```json row\n(.*?)\n```", PAGE, re.DOTALL)
EXPECTED = [
    ("How many cups are on the table?", "3", Kind.COUNT, 1),
    ("Which is closer?", "(B)", Kind.CHOICE, 1),
    ("What is 6 times 7?", "<think>6 * 7</think><answer>42</answer>", Kind.OPEN, 0),
    ("How many cups?", "3", Kind.COUNT, 1),
    ("Compare the two.", "The second has a lamp.", Kind.OPEN, 2),
    ("Where is the cup?", "On the table.", Kind.OPEN, 1),
    ("Where is the cup?", "On the table.", Kind.OPEN, 1),
    ("How many cups?", "<answer>3</answer>", Kind.COUNT, 1),
    ("What stands on it?", "Three cups.", Kind.OPEN, 1),
    ("How many cups?", "3", Kind.COUNT, 1),
    ('Is this statement true? "The cup is on the table."', "yes", Kind.YES_NO, 1),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        PIL.Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("row", "expected"), list(zip(ROWS, EXPECTED, strict=True)))
def test_every_row_of_the_page_loads(
    row: str, expected: tuple[str, str, Kind, int], folder: Path
) -> None:
    found = to_example(json.loads(row), row_id="x/1", source="x", image_folder=folder)
    assert (found.question, found.answer, found.kind, len(found.images)) == expected


def test_the_loader_of_the_page_runs(folder: Path) -> None:
    code = PAGE.split("```python\n")[1].split("```")[0]
    (folder / "kitchen.py").write_text(code, encoding="utf-8")
    lines = [{"picture": "a.png", "cups": 3}, {"picture": "b.png", "cups": None}]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    source = DatasetConfig(name=str(folder / "kitchen.py"), options={"folder": str(folder)})
    found = load_examples(RunConfig(stage=Stage.GRPO, data=DataConfig(datasets=[source])))
    assert [(row.id, row.answer) for row in found.examples] == [("kitchen/train/000001", "3")]
    assert found.report.sources[0].reasons == {"no count": 1}
