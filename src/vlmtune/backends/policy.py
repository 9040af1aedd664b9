"""What the section `grpo` means on every backend: its loss, how it draws, what is refused.

objective(config)        the loss that `objectives.policy_loss` defines
sampling(config)         how a rollout draws
check(config, batches)   raises before anything loads
"""

from vlmtune.backends.groups import GroupBatches
from vlmtune.config import RunConfig
from vlmtune.errors import ConfigError
from vlmtune.objectives import PolicyObjective
from vlmtune.types import Sampling


def objective(config: RunConfig) -> PolicyObjective:
    """Say which loss the settings mean."""
    grpo = config.grpo
    return PolicyObjective(
        loss_type=grpo.loss_type,
        level=grpo.importance_sampling_level,
        epsilon=grpo.epsilon,
        epsilon_high=grpo.epsilon_high,
        delta=grpo.delta,
        beta=grpo.beta,
        temperature_pos=grpo.sapo_temperature_pos,
        temperature_neg=grpo.sapo_temperature_neg,
        longest=grpo.max_completion_length,
    )


def sampling(config: RunConfig) -> Sampling:
    """Say how a rollout draws; each drawing makes a seed of its own from the run's."""
    grpo = config.grpo
    return Sampling(
        samples=grpo.num_generations,
        max_tokens=grpo.max_completion_length,
        temperature=grpo.temperature,
        top_p=grpo.top_p,
        top_k=grpo.top_k,
        seed=config.seed,
    )


def check(config: RunConfig, batches: GroupBatches) -> list[str]:
    """Refuse settings that contradict each other.

    Args:
        config: The run.
        batches: Its batches, rounded up to whole groups.

    Returns:
        Notes: what was repaired.

    Raises:
        ConfigError: If they do.
    """
    grpo = config.grpo
    if grpo.loss_type == "cispo" and objective(config).upper < 1:
        raise ConfigError(
            f"grpo.epsilon_high {grpo.epsilon_high} caps every ratio below 1 in loss_type cispo, "
            "where it is the cap itself; use 5.0, or leave it out"
        )
    if grpo.epsilon >= 1 and grpo.loss_type not in ("cispo", "sapo"):
        raise ConfigError(f"grpo.epsilon {grpo.epsilon} lets ratios fall to 0; use less than 1")
    if grpo.resample_flat_groups and grpo.scale_rewards == "batch":
        raise ConfigError(
            "grpo.resample_flat_groups leaves out the groups that scale_rewards: batch would "
            "count; use scale_rewards: group or none, or resample_flat_groups: 0"
        )
    notes = [batches.note] if batches.note else []
    if config.evaluation.strategy != "no" and batches.evaluation != config.evaluation.batch_size:
        notes.append(
            f"evaluation.batch_size: {config.evaluation.batch_size} became {batches.evaluation}, "
            f"so that it holds whole groups of {grpo.num_generations}"
        )
    return notes
