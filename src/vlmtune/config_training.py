"""What the optimizer does: settings that every stage shares, and those of DPO and GRPO.

training: {epochs: 3, batch_size: 1, gradient_accumulation_steps: 8, learning_rate: 2.0e-5}
grpo: {num_generations: 8, loss_type: dapo, epsilon: 0.2, epsilon_high: 0.28}
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from vlmtune.config_section import Section
from vlmtune.types import JSON


def _endless(value: JSON) -> JSON:
    """-1 steps is how other trainers say that epochs decide."""
    return None if value == -1 and value is not True else value


def _scale(value: JSON) -> JSON:
    """True and false are how trainers said group and none before there was a batch scale."""
    return {True: "group", False: "none"}[value] if isinstance(value, bool) else value


class TrainingConfig(Section):
    """What every stage shares."""

    epochs: float = Field(default=1.0, gt=0)
    """Passes over the rows."""
    max_steps: Annotated[int | None, BeforeValidator(_endless)] = Field(default=None, ge=1)
    """Optimizer updates after which training ends; null (or -1) lets epochs decide."""
    batch_size: int = Field(default=1, ge=1)
    """Rows a device takes at once; in GRPO completions."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """Batches whose gradients make one update."""
    global_batch_size: int | None = Field(default=None, ge=1)
    """Rows of one update over all devices, instead of gradient_accumulation_steps; must divide."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate."""
    lr_mp: float | None = Field(default=None, ge=0)
    """Peak rate of the layers between vision and language; null is learning_rate."""
    lr_vision_backbone: float | None = Field(default=None, ge=0)
    """Peak rate of the vision encoder; null is learning_rate."""
    lr_language_backbone: float | None = Field(default=None, ge=0)
    """Peak rate of the language model; null is learning_rate."""
    lr_lora: float | None = Field(default=None, ge=0)
    """Peak rate of adapters, wherever they are; null is the rate of their part."""
    lr_scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the rate falls after its warm-up."""
    scheduler_steps: int | None = Field(default=None, ge=1)
    """Updates until the rate has fallen; null is the whole run."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the schedule in which the rate rises from 0."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """Updates in which the rate rises, instead of warmup_ratio."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's memory of the gradient."""
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """AdamW's memory of the squared gradient."""
    adam_epsilon: float = Field(default=1e-8, gt=0)
    """AdamW's guard against division by zero."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay of the weights, a share of the rate at each update."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Longer gradients are scaled down to this norm; 0 leaves them."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Number format of the computation; auto is bf16 where the device has it, else fp32."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    max_length: int | None = Field(default=2048, ge=1)
    """Longest prompt plus answer in tokens; a longer row is reported, never cut."""
    max_prompt_length: int | None = Field(default=None, ge=1)
    """Longest prompt in tokens, those of its pictures included; a longer one is never cut."""
    on_overlong: Literal["error", "drop", "resize"] = "error"
    """Rows beyond these lengths: stop, leave them out and count them, or shrink their pictures."""


class DpoConfig(Section):
    """Preference pairs."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the model is held to its reference; usual are 0.05 to 0.5."""
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust"] = "sigmoid"
    """Which loss of the preference margin."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of pairs thought to be the wrong way round; with sigmoid (then cDPO) and robust."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the chosen answers' SFT loss beside it (RPO's alpha); keeps them from sinking."""


class GrpoConfig(Section):
    """Group rollouts."""

    num_generations: int = Field(default=8, ge=2)
    """Completions per prompt (G)."""
    temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by it; 0 would make every group flat and is refused."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus mass; 1 keeps everything."""
    top_k: int = Field(default=0, ge=0)
    """Keep the k likeliest tokens; 0 keeps everything."""
    max_completion_length: int = Field(default=256, ge=1)
    """Longest completion in tokens."""
    scale_rewards: Annotated[Literal["group", "batch", "none"], BeforeValidator(_scale)] = "group"
    """Divide advantages by the group's, the batch's or no standard deviation (sample, ddof 1)."""
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo"] = "grpo"
    """How a batch's tokens become one loss; what the names mean stands in docs/config.md."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """Ratio of new to old policy per token, or per sequence (which is GSPO)."""
    beta: float = Field(default=0.0, ge=0)
    """Weight of the KL divergence from the reference; 0 needs no reference."""
    epsilon: float = Field(default=0.2, gt=0)
    """The ratio is clipped at 1 - epsilon, and above at 1 + epsilon."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """The upper clip's own epsilon (DAPO: 0.28), null is epsilon; in cispo the cap, null is 5."""
    delta: float | None = Field(default=None, gt=1)
    """Cap of the ratio where the advantage is negative (two-sided clipping); null is none."""
    sapo_temperature_pos: float = Field(default=1.0, gt=0)
    """SAPO's gate for positive advantages."""
    sapo_temperature_neg: float = Field(default=1.05, gt=0)
    """SAPO's gate for negative advantages."""
    num_iterations: int = Field(default=1, ge=1)
    """Updates on the same completions."""
    mask_truncated_completions: bool = False
    """Learn nothing from completions that hit max_completion_length."""
    resample_flat_groups: int = Field(default=0, ge=0)
    """Draw another prompt for a group of equal rewards, up to so many times (DAPO)."""
    disable_dropout: bool = True
    """Switch dropout off, so that one policy samples and learns."""
    log_completions: bool = False
    """Write every completion to samples.jsonl, not only those of the sample pages."""
