"""A training's folder is taken, continued or refused, and never overwritten."""

import json
from pathlib import Path

import pytest

from vlmtune import config_file
from vlmtune.errors import ConfigError
from vlmtune.training import run_folder


def config(folder: Path, **flags):
    shared = {"stage": "sft", "backend": "pytorch", "output_dir": str(folder)}
    return config_file.load(None, flags=shared | flags)


def finished(folder: Path, settings, *, steps: tuple[int, ...] = (5,)) -> None:
    """The folder of a run of ours, with checkpoints."""
    folder.mkdir(exist_ok=True)
    record = {"made_by": "training", "config": config_file.as_dict(settings)}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    for step in steps:
        place = folder / "checkpoints" / f"step_{step:06d}"
        place.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt"):
            (place / name).write_bytes(b"x")
        (place / "trainer_state.json").write_text(json.dumps({"global_step": step}))


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "sft"


def test_a_new_folder_is_made_and_holds_the_model(folder):
    with run_folder.opened(config(folder)) as place:
        assert place.folder.is_dir()
        assert place.model_folder == place.folder == folder
        assert place.resume_from is None
    assert list(folder.iterdir()) == []


def test_the_model_may_go_elsewhere(folder, tmp_path):
    with run_folder.opened(config(folder, **{"save.model_path": str(tmp_path / "m")})) as place:
        assert place.model_folder == tmp_path / "m"


def test_a_second_run_is_kept_out(folder):
    with (
        run_folder.opened(config(folder)),
        pytest.raises(ConfigError, match="in use by another run"),
        run_folder.opened(config(folder)),
    ):
        pass


def test_a_folder_of_something_else_is_refused(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    with (
        pytest.raises(ConfigError, match=r"holds something else \(thesis\.tex\)"),
        run_folder.opened(config(folder)),
    ):
        pass


def test_an_earlier_training_is_refused_with_the_way_to_go_on(folder):
    finished(folder, config(folder))
    with (
        pytest.raises(ConfigError, match="holds the training; go on with it by --resume auto"),
        run_folder.opened(config(folder)),
    ):
        pass


def test_auto_goes_on_from_the_newest_checkpoint(folder):
    finished(folder, config(folder), steps=(5, 10))
    with run_folder.opened(config(folder, resume="auto")) as place:
        assert place.resume_from == folder / "checkpoints" / "step_000010"
        assert place.changes == ("resume: 'never' -> 'auto'",)


def test_auto_begins_again_where_the_run_died_before_its_first_checkpoint(folder):
    finished(folder, config(folder), steps=())
    with run_folder.opened(config(folder, resume="auto")) as place:
        assert place.resume_from is None
        assert not (folder / "metrics.jsonl").exists()


def test_a_setting_that_decides_what_is_learned_may_not_change(folder):
    finished(folder, config(folder))
    changed = config(folder, resume="auto", **{"training.learning_rate": 0.5})
    with (
        pytest.raises(ConfigError, match=r"training\.learning_rate: 1e-05 -> 0\.5"),
        run_folder.opened(changed),
    ):
        pass


def test_trackers_and_length_may_change_and_are_shown(folder):
    finished(folder, config(folder))
    changed = config(folder, resume="must", **{"tracking.log_steps": 3, "training.max_steps": 9})
    with run_folder.opened(changed) as place:
        assert "tracking.log_steps: 10 -> 3" in place.changes
        assert "training.max_steps: None -> 9" in place.changes
