"""One half in an environment where the other half's libraries are absent: `make test-alone`.

Plain `make test` leaves this folder out, as both halves are installed there.
"""

import importlib.util
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from vlmtune.backends.select import select
from vlmtune.data.datasets import scenes
from vlmtune.errors import VlmtuneError

SCRIPTS = Path(__file__).parents[2] / "scripts"
TRAINS = sys.version_info >= (3, 11)
HALVES = {
    "mlx": {"mlx", "mlx_vlm"},
    "pytorch": {"torch", "torchvision", "peft", "accelerate", *(["trl"] if TRAINS else [])},
}


def installed(names: set[str]) -> set[str]:
    return {name for name in names if importlib.util.find_spec(name) is not None}


HERE = "mlx" if installed({"mlx"}) else "pytorch"
OTHER = "pytorch" if HERE == "mlx" else "mlx"


def run(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS / script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Rows with an answer, a worse one and a picture."""
    made = tmp_path_factory.mktemp("alone")
    rows = list(islice(scenes.load(split="train", seed=1, options={}, skip=print), 4))
    lines = []
    for place, row in enumerate(rows):
        row.images[0].open().save(made / f"{place}.png")
        columns = {"image": f"{place}.png", "prompt": row.question, "answer": row.answer}
        pair = {"chosen": row.answer, "rejected": "a purple cow"}
        lines.append(json.dumps({"id": f"row/{place}", **columns, **pair}))
    (made / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return made


def config(folder: Path, stage: str, **more) -> str:
    path = folder / f"{stage}.json"
    small = {
        "stage": stage,
        "output_dir": stage,
        "data": {"datasets": [{"name": "rows.jsonl"}]},
        "training": {"batch_size": 4, "max_steps": 2, "learning_rate": 1e-3},
        "grpo": {"num_generations": 2, "max_completion_length": 16, "temperature": 1.5},
        **more,
    }
    path.write_text(json.dumps(small), encoding="utf-8")
    return str(path)


def test_nothing_of_the_other_half_is_installed() -> None:
    assert installed(HALVES[HERE]) == HALVES[HERE]
    assert installed(HALVES[OTHER]) == set()


def test_what_is_there_is_chosen_and_what_is_not_is_named() -> None:
    assert select("auto").backend.NAME == HERE
    with pytest.raises(VlmtuneError, match="pip install"):
        select(OTHER)


def test_a_rehearsal_runs(folder) -> None:
    done = run(
        "train_grpo.py",
        "--debug",
        "--config",
        config(folder, "grpo", output_dir="rehearsed"),
        folder=folder,
    )
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.skipif(HERE == "pytorch" and not TRAINS, reason="TRL itself needs Python 3.11")
@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_a_stage_trains_and_what_it_leaves_answers(folder, stage) -> None:
    done = run(f"train_{stage}.py", "--config", config(folder, stage), folder=folder)
    assert done.returncode == 0, done.stderr + done.stdout
    adapter = folder / stage
    assert (adapter / "adapter_model.safetensors").is_file()
    generator = select(HERE).backend.load_generator("pico", adapter=adapter)
    assert generator.model.parameters > 0


def test_training_on_the_absent_half_ends_with_the_install_command(folder) -> None:
    path = config(folder, "sft", backend=OTHER, output_dir="never")
    done = run("train_sft.py", "--config", path, folder=folder)
    assert done.returncode == 2, done.stdout
    assert "pip install" in done.stderr
    assert not (folder / "never").exists()
