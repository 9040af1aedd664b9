"""Every setting has a reader, and a run accounts for those that it does not read."""

import re
from pathlib import Path

import pytest

from vlmtune import config_file
from vlmtune.config import RunConfig
from vlmtune.config_consumers import (
    CONSUMERS,
    EVALUATE,
    MLX,
    PYTORCH,
    READERS,
    REHEARSAL,
    check,
    settings,
    use_of,
)
from vlmtune.errors import ConfigError

PACKAGE = Path(__file__).parents[1] / "src" / "vlmtune"
KEYS = [key for key, _, _ in settings(RunConfig(stage="sft"))]


def run(*overrides: str, stage: str = "grpo") -> RunConfig:
    return config_file.load(None, overrides=[f"stage={stage}", *overrides])


def test_every_setting_has_a_reader_or_says_why_not() -> None:
    for key in KEYS:
        use = use_of(key)
        assert use.by <= set(READERS), key
        assert bool(use.by) != bool(use.nobody), key
        assert use.stages, key


def test_the_table_has_no_line_without_a_setting() -> None:
    known = {*KEYS, "stage"}
    lines = {key for key in CONSUMERS if key not in known}
    assert [key for key in lines if not any(name.startswith(f"{key}.") for name in known)] == []


def test_a_setting_that_is_not_there_has_no_reader() -> None:
    with pytest.raises(KeyError):
        use_of("grop.num_generations")


def test_what_a_rehearsal_is_said_to_read_is_named_in_its_code() -> None:
    rooms = ("training", "data", "rewards", "language", "backends", "evaluation")
    files = [path for room in rooms for path in (PACKAGE / room).rglob("*.py")]
    files += PACKAGE.glob("cli*.py")
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in files if path.name != "honoured.py"
    )
    read = [key for key in KEYS if REHEARSAL in use_of(key).by]
    unread = [key for key in read if not re.search(rf"[.\"']{key.rpartition('.')[2]}\b", text)]
    assert unread == []


def test_defaults_need_no_words() -> None:
    for stage in ("sft", "dpo", "grpo"):
        for reader in READERS:
            assert check(run(stage=stage), reader) == ()


def test_a_rehearsal_tells_what_waits_for_the_training() -> None:
    (said,) = check(run("training.learning_rate=1e-4", "save.steps=5"), REHEARSAL)
    assert said == (
        "for the training itself, not for a rehearsal: training.learning_rate, save.steps"
    )


def test_another_stages_settings_are_told_and_harmless() -> None:
    config = run("grpo.beta=0.1", "dpo.beta=0.2", stage="sft")
    assert check(config, PYTORCH) == ("stage sft does not read: dpo.beta, grpo.beta",)


def test_how_another_machine_is_used_does_not_stop_this_one() -> None:
    config = run("hardware.use_vllm=true", "model.attention=sdpa")
    assert check(config, PYTORCH) == ()
    assert check(config, MLX) == (
        "for another machine, mlx goes without: model.attention, hardware.use_vllm",
    )


def test_the_bounds_of_pictures_hold_wherever_a_model_sees_them() -> None:
    for reader in (REHEARSAL, PYTORCH, MLX):
        assert check(run("model.min_pixels=9000"), reader) == ()


def test_what_nobody_reads_is_refused_by_all() -> None:
    config = run("model.vlm_config.vit_img_size=256")
    for reader in READERS:
        with pytest.raises(ConfigError, match="no backend here builds or trains a nanoVLM"):
            check(config, reader)


def test_an_evaluation_tells_what_it_leaves() -> None:
    config = run("evaluation.max_samples=5", "training.epochs=2")
    assert check(config, EVALUATE) == ("an evaluation does not read: training.epochs",)
