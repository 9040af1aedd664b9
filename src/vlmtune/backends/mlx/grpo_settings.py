"""From the section `grpo` to what this backend does, or a refusal before anything loads."""

from vlmtune.backends import policy
from vlmtune.backends.groups import GroupBatches, group_batches
from vlmtune.backends.mlx import settings
from vlmtune.config import RunConfig


def check(config: RunConfig) -> list[str]:
    """Refuse what cannot be honoured; nothing is loaded.

    Returns:
        Notes: what was repaired.

    Raises:
        ConfigError: If a setting cannot be honoured.
    """
    return policy.check(config, batches(config))


def batches(config: RunConfig) -> GroupBatches:
    """Round the batches up to whole groups."""
    return group_batches(config, accumulation=settings.accumulation(config))
