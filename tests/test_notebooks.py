"""The notebooks of the examples: whole, runnable from anywhere, and their data cells run."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[str]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in found["cells"]}) == len(found["cells"])
    return ["".join(cell["source"]) for cell in found["cells"] if cell["cell_type"] == kind]


def run(path: Path, count: int | None) -> tuple[str, dict[str, Any]]:
    """Run the first code cells, or all, in one namespace, and return what they print."""
    names: dict[str, Any] = {}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for number, code in enumerate(cells(path, "code")[:count]):
            exec(compile(code, f"{path.name} cell {number}", "exec"), names)
    return out.getvalue(), names


def test_there_is_one_for_each_stage() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["nanovlm_dpo", "nanovlm_grpo", "nanovlm_sft"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_compiles_and_none_keeps_outputs(path: Path) -> None:
    for code in cells(path, "code"):
        compile(code, path.name, "exec")
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in found)
    titles = [text.splitlines()[0] for text in cells(path, "markdown")]
    assert [title for title in titles if title.startswith("## ") and title != "## Reward"] == [
        "## Data", "## Training", "## Evaluation",
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_data_cells_run_in_any_folder(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    grpo = path.stem.endswith("grpo")
    said, names = run(path, 3 if grpo else 2)
    assert len(names["loaded"].examples) == 24
    assert said.count("->") == 3
    if grpo:
        assert "1.00  " in said and "0.00  " in said


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_whole_notebook_runs(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said, names = run(path, None)
    assert names["trained"].result.steps == 4
    assert "McNemar" in said or "difference" in said
