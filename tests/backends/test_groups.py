import pytest

from vlmtune.backends.groups import group_batches, refuse_too_few
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, DataError


def batches(group, size, accumulation, *, devices=1, **training):
    config = RunConfig.model_validate(
        {
            "stage": "grpo",
            "grpo": {"num_generations": group},
            "training": {"batch_size": size, **training},
            "evaluation": {"batch_size": 6},
        }
    )
    return group_batches(config, accumulation=accumulation, devices=devices)


@pytest.mark.parametrize(
    ("group", "size", "given", "needed", "prompts"),
    [
        # The shortest config of the NanoVLM guide: 1 completion at once, 4 for a prompt.
        (4, 1, 1, 4, 1),
        # 3 in a group, 4 accumulated: 6 is the next multiple of 3.
        (3, 1, 4, 6, 2),
        (4, 6, 1, 2, 3),
        (4, 8, 1, 1, 2),
        (8, 1, 8, 8, 1),
        (8, 12, 1, 2, 3),
    ],
)
def test_updates_are_rounded_up_to_whole_groups(group, size, given, needed, prompts) -> None:
    found = batches(group, size, given)
    assert (found.accumulation, found.prompts) == (needed, prompts)
    assert bool(found.note) == (given != needed)


def test_the_change_is_explained() -> None:
    assert batches(4, 1, 1).note == (
        "training.gradient_accumulation_steps: 1 became 4, so that an update holds whole groups: "
        "batch_size 1 x 4 = 4 completions, 1 x num_generations 4"
    )


def test_every_device_holds_whole_groups() -> None:
    assert batches(4, 2, 1, devices=2).accumulation == 2
    assert batches(4, 2, 1, devices=2).prompts == 2


def test_evaluation_holds_whole_groups_too() -> None:
    assert batches(4, 4, 1).evaluation == 8


def test_a_promised_global_batch_is_not_changed_but_refused() -> None:
    with pytest.raises(ConfigError, match="use a multiple of 4"):
        batches(4, 1, 6, global_batch_size=6)
    assert batches(4, 1, 8, global_batch_size=8).note == ""


def test_too_few_rows_for_an_update_are_told_before_training() -> None:
    with pytest.raises(DataError, match="2 rows are not enough for one update, which takes 3"):
        refuse_too_few(2, batches(4, 6, 1))
    refuse_too_few(3, batches(4, 6, 1))
