"""From the section `grpo` to TRL's GRPOConfig, or a refusal before anything loads.

TRL checks none of its own enums when it is configured, and a batch that tears a group apart only
after the model is loaded; both are settled here.
"""

from pathlib import Path
from typing import Any

from vlmtune.backends import policy
from vlmtune.backends.groups import GroupBatches, group_batches
from vlmtune.backends.pytorch import settings, vllm_settings
from vlmtune.config import RunConfig


def check(config: RunConfig) -> list[str]:
    """Refuse what cannot be honoured; nothing is loaded.

    Returns:
        Notes: what was repaired, and what has no effect.

    Raises:
        ConfigError: If a setting cannot be honoured.
        MissingDependency: If one needs a library that is not installed.
    """
    notes = policy.check(config, batches(config))
    if config.hardware.use_vllm:
        vllm_settings.check(config)
    return notes


def batches(config: RunConfig) -> GroupBatches:
    """Round the batches up to whole groups."""
    return group_batches(
        config, accumulation=settings.accumulation(config), devices=settings.world_size(config)
    )


def arguments(config: RunConfig, *, folder: Path, device: str) -> dict[str, Any]:
    """Write the keyword arguments of GRPOConfig."""
    grpo, found, loss = config.grpo, batches(config), policy.objective(config)
    cispo = grpo.loss_type == "cispo"
    return settings.arguments(config, folder=folder, device=device) | {
        "gradient_accumulation_steps": found.accumulation,
        "steps_per_generation": found.accumulation,
        "per_device_eval_batch_size": found.evaluation,
        "num_generations": grpo.num_generations,
        "num_generations_eval": grpo.num_generations,
        "num_iterations": grpo.num_iterations,
        "shuffle_dataset": True,
        "max_completion_length": grpo.max_completion_length,
        "temperature": grpo.temperature,
        "top_p": grpo.top_p,
        "top_k": grpo.top_k,
        "min_p": None,
        "repetition_penalty": 1.0,
        # Ours, not TRL's, which would send every weight; these say how TRL corrects for it.
        "use_vllm": False,
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "sequence_mask",
        "vllm_importance_sampling_clip_max": 3.0,
        "use_transformers_continuous_batching": False,
        "beta": grpo.beta,
        "epsilon": grpo.epsilon,
        # TRL takes the cap of cispo as it is, and the other losses' clip above 1.
        "epsilon_high": loss.upper if cispo else grpo.epsilon_high,
        "delta": grpo.delta,
        "sapo_temperature_pos": grpo.sapo_temperature_pos,
        "sapo_temperature_neg": grpo.sapo_temperature_neg,
        "importance_sampling_level": grpo.importance_sampling_level,
        "loss_type": grpo.loss_type,
        "scale_rewards": grpo.scale_rewards,
        "reward_weights": None,
        "multi_objective_aggregation": "sum_then_normalize",
        "mask_truncated_completions": grpo.mask_truncated_completions,
        "disable_dropout": grpo.disable_dropout,
        "sync_ref_model": False,
        "top_entropy_quantile": 1.0,
        "entropy_coef": 0.0,
        "use_adaptive_entropy": False,
        "off_policy_mask_threshold": None,
        "use_bias_correction_kl": False,
        "cast_lm_head_to_fp32": False,
        "log_completions": False,
        "log_multimodal": False,
    }
