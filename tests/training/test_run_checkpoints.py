"""Checkpoints of a run: whole or not there, the newest few, the one to go on from."""

import json
from pathlib import Path

import pytest

from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.training import checkpoints


def written(folder: Path, step: int) -> None:
    """What a trainer leaves in the scratch folder."""
    place = folder / checkpoints.SCRATCH / f"checkpoint-{step}"
    place.mkdir(parents=True)
    (place / "adapter_model.safetensors").write_bytes(b"weights")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin"):
        (place / name).write_bytes(b"x")
    (place / "trainer_state.json").write_text(json.dumps({"global_step": step}))


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoints.steps(folder)]


def test_a_checkpoint_gets_its_name_when_it_is_whole_and_holds_no_pickled_settings(tmp_path):
    written(tmp_path, 12)
    assert names(tmp_path) == []
    kept = checkpoints.keep(tmp_path, step=12, most=3)
    assert kept == tmp_path / "checkpoints" / "step_000012"
    assert checkpoints.check(kept) == 12
    assert not (kept / "training_args.bin").exists()


def test_only_the_newest_are_kept_and_by_number_not_by_name(tmp_path):
    for step in (9, 10, 1_000_000, 11):
        written(tmp_path, step)
        checkpoints.keep(tmp_path, step=step, most=2)
    assert names(tmp_path) == ["step_000011", "step_1000000"]


def test_none_is_removed_without_a_limit(tmp_path):
    for step in (1, 2, 3, 4):
        written(tmp_path, step)
        checkpoints.keep(tmp_path, step=step, most=None)
    assert len(names(tmp_path)) == 4


def test_never_and_an_empty_auto_begin_anew(tmp_path):
    written(tmp_path, 1)
    checkpoints.keep(tmp_path, step=1, most=3)
    assert checkpoints.to_resume(tmp_path, "never") is None
    assert checkpoints.to_resume(tmp_path / "other", "auto") is None


def test_auto_and_must_take_the_newest(tmp_path):
    for step in (1, 2):
        written(tmp_path, step)
        checkpoints.keep(tmp_path, step=step, most=3)
    for resume in ("auto", "must"):
        found = checkpoints.to_resume(tmp_path, resume)
        assert found is not None and found.name == "step_000002"


def test_must_without_a_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="has no checkpoint; --resume auto"):
        checkpoints.to_resume(tmp_path, "must")


def test_a_path_has_to_be_a_complete_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        checkpoints.to_resume(tmp_path, str(tmp_path / "nowhere"))
    written(tmp_path, 5)
    (tmp_path / checkpoints.SCRATCH / "checkpoint-5" / "optimizer.pt").unlink()
    with pytest.raises(CheckpointError, match=r"has no optimizer\.pt.*model\.start_from"):
        checkpoints.to_resume(tmp_path, str(tmp_path / checkpoints.SCRATCH / "checkpoint-5"))
