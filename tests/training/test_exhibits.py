"""What SFT and DPO say while they train: asked now and then, written down, without any effect."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from vlmtune import config_file
from vlmtune.training import exhibits, train

pytest.importorskip("trl", reason="TRL needs Python 3.11")

TINY = {
    "hardware.device": "cpu",
    "data.max_samples": 8,
    "data.eval_fraction": 0.25,
    "training.max_steps": 3,
    "training.batch_size": 2,
    "training.learning_rate": 1e-3,
    "model.lora.rank": 4,
    "model.lora.dropout": 0.1,
    "grpo.max_completion_length": 12,
    "tracking.log_steps": 1,
}


def run(stage: str, backend: str, folder: Path, **flags) -> Path:
    flags = {"stage": stage, "backend": backend, "output_dir": str(folder), **TINY, **flags}
    train.run(config_file.load(None, flags=flags), console=Console(quiet=True))
    return folder


@pytest.fixture(
    scope="module", params=[("sft", "pytorch"), ("dpo", "pytorch"), ("sft", "mlx"), ("dpo", "mlx")]
)
def two(request, tmp_path_factory) -> tuple[Path, Path]:
    """The same run, asked at every other update and never."""
    place = tmp_path_factory.mktemp("exhibits")
    stage, backend = request.param
    return (
        run(stage, backend, place / "asked", **{"tracking.sample_steps": 2}),
        run(stage, backend, place / "silent", **{"tracking.sample_steps": None}),
    )


def test_the_held_out_rows_are_asked_at_their_update_and_at_no_other(two):
    asked, silent = two
    assert [page.name for page in (asked / "samples").iterdir()] == ["step_000002.html"]
    lines = [json.loads(line) for line in (asked / "samples.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 2]
    assert all(len(line["completions"]) == 1 for line in lines)
    assert all(0 < line["completions"][0]["tokens"] <= 12 for line in lines)
    assert all("<answer>" in line["wanted"] for line in lines)
    page = (asked / "samples" / "step_000002.html").read_text()
    assert "2 held-out rows, greedy" in page and page.count("<img") == 2
    assert not (silent / "samples").exists() and not (silent / "samples.jsonl").exists()


def test_asking_changes_no_weight(two):
    asked, silent = ((folder / "adapter_model.safetensors").read_bytes() for folder in two)
    assert asked == silent


def test_without_held_out_rows_the_first_that_are_trained_on_are_asked(tmp_path):
    folder = run(
        "sft",
        "mlx",
        tmp_path / "run",
        **{"tracking.sample_steps": 3, "data.eval_fraction": 0.0},
    )
    lines = (folder / "samples.jsonl").read_text().splitlines()
    assert len(lines) == exhibits.MOST_PROMPTS
    assert "rows that are trained on" in (folder / "samples" / "step_000003.html").read_text()


@pytest.mark.parametrize("engine", [{"fsdp": "full_shard"}, {"deepspeed": "zero2"}])
def test_where_no_process_has_all_weights_nothing_is_asked(engine, tmp_path, monkeypatch):
    config = config_file.load(
        None,
        flags={"stage": "sft", **{f"hardware.{name}": value for name, value in engine.items()}},
    )
    job = exhibits.Job(config=config, lessons=(), journal=None)
    assert exhibits.exhibited(job, None) is job
