"""How many batches make an update of GRPO, so that every update holds whole groups.

    batch_size 1, accumulation 1, 4 completions a prompt    ->  accumulation 4, 1 prompt an update
    batch_size 6, accumulation 1, 4 completions a prompt    ->  accumulation 2, 3 prompts an update

A group that is torn in two has no mean to compare its completions with; trainers refuse such a
batch in the middle of their start, after the model was loaded.
"""

import math
from dataclasses import dataclass

from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBatches:
    """Batches of one device.

    Attributes:
        batch_size: Completions at once.
        accumulation: Batches that make an update.
        generations: Completions per prompt.
        evaluation: Completions at once while evaluating.
        devices: Processes that train together.
        note: What was changed and why, or "".
    """

    batch_size: int
    accumulation: int
    generations: int
    evaluation: int
    devices: int
    note: str = ""

    @property
    def prompts(self) -> int:
        """Prompts of one update, over all devices."""
        return self.batch_size * self.accumulation * self.devices // self.generations


def group_batches(config: RunConfig, *, accumulation: int, devices: int = 1) -> GroupBatches:
    """Round the batches of an update up to whole groups.

    Args:
        config: The run.
        accumulation: Batches of an update as the settings say.
        devices: Processes that train together.

    Raises:
        ConfigError: If `training.global_batch_size`, which is a promise, holds no whole groups.
    """
    size, group = config.training.batch_size, config.grpo.num_generations
    step = group // math.gcd(size, group)
    needed = math.ceil(accumulation / step) * step
    if needed != accumulation and config.training.global_batch_size is not None:
        once = step * size * devices
        raise ConfigError(
            f"training.global_batch_size {config.training.global_batch_size} holds no whole groups "
            f"of grpo.num_generations {group} on {devices} "
            f"{'device' if devices == 1 else 'devices'}; use a multiple of {once}"
        )
    found = GroupBatches(
        batch_size=size,
        accumulation=needed,
        generations=group,
        evaluation=math.ceil(config.evaluation.batch_size / group) * group,
        devices=devices,
    )
    if needed == accumulation:
        return found
    return GroupBatches(
        batch_size=size,
        accumulation=needed,
        generations=group,
        evaluation=found.evaluation,
        devices=devices,
        note=f"training.gradient_accumulation_steps: {accumulation} became {needed}, so that an "
        f"update holds whole groups: batch_size {size} x {needed} = {size * needed} completions, "
        f"{size * needed // group} x num_generations {group}",
    )


def refuse_too_few(rows: int, batches: GroupBatches) -> None:
    """Make sure that there are prompts enough for one update; trainers would make none.

    Raises:
        DataError: If there are not.
    """
    if rows < batches.prompts:
        raise DataError(
            f"{rows} rows are not enough for one update, which takes {batches.prompts} prompts "
            f"(batch_size {batches.batch_size} x {batches.accumulation} batches x "
            f"{batches.devices} devices / num_generations {batches.generations}); use more rows, "
            "or lower training.batch_size or gradient_accumulation_steps"
        )
