"""What the names of losses mean, said by their papers and not by the tools that misname them."""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.config import RunConfig
from vlmtune.types import Stage

GRPO_LOSSES: Mapping[str, str] = MappingProxyType(
    {
        "grpo": "mean of each completion's tokens, then of the completions",
        "dr_grpo": "tokens divided by a constant, completions times max_completion_length "
        "(Dr. GRPO); it is not GSPO",
        "dapo": "mean of all tokens of the update (DAPO: Decoupled clip and Dynamic sAmpling; "
        "grpo.epsilon_high is the clip, grpo.resample_flat_groups the sampling)",
        "bnpo": "mean of all tokens of the device's batch",
        "cispo": "the ratio, capped at grpo.epsilon_high (5 where it is null), weighs "
        "log-probabilities, so no token is clipped away",
        "sapo": "a soft gate in the place of the clip (Soft Adaptive Policy Optimization)",
    }
)
"""Source: arXiv 2402.03300 (grpo), 2503.20783 (dr_grpo), 2503.14476 (dapo), 2506.13585 (cispo),
2511.20347 (sapo), TRL's documentation (bnpo)."""

LEVELS: Mapping[str, str] = MappingProxyType(
    {
        "token": "a ratio of policies for each token",
        "sequence": "one ratio for each completion, which is GSPO (Group Sequence Policy "
        "Optimization), whatever the loss_type",
    }
)
"""Source: arXiv 2507.18071 (GSPO)."""

DPO_LOSSES: Mapping[str, str] = MappingProxyType(
    {
        "sigmoid": "DPO; with label_smoothing it is conservative DPO (cDPO)",
        "hinge": "the margin beyond 1 costs nothing",
        "ipo": "the margin is pulled to 1 / (2 beta)",
        "robust": "unbiased under flipped labels at the rate label_smoothing",
    }
)
"""Source: arXiv 2305.18290 (sigmoid), 2305.10425 (hinge), 2310.12036 (ipo), 2403.00409 (robust)."""


def label(config: RunConfig) -> str:
    """Say which objective a run has: "dapo: ...; token: ..."; "" in SFT, which has only one."""
    if config.stage is Stage.GRPO:
        loss, level = config.grpo.loss_type, config.grpo.importance_sampling_level
        return f"{loss}: {GRPO_LOSSES[loss]}; {level}: {LEVELS[level]}"
    if config.stage is Stage.DPO:
        return f"{config.dpo.loss_type}: {DPO_LOSSES[config.dpo.loss_type]}"
    return ""
