"""qwenvl_sandbox, whose layout is nearly ours.

model: {name: Qwen/Qwen2.5-VL-3B-Instruct, use_lora: true, use_4bit: true, lora: {r: 64}}
training: {num_epochs: 3, batch_size: 1}
hardware: {bf16: true, use_vllm: true}
"""

from types import MappingProxyType

from vlmtune.aliases.nanovlm_lab import precision
from vlmtune.aliases.rules import Alias, Refusal, Rules, Settled, Translation, sources, truth
from vlmtune.config_tree import ABSENT, look, take
from vlmtune.types import JSON

_CLOSE = 0.5
"""What an answer off by one earned there, a share of close_weight."""
_GATED = Settled(
    accepts=lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    why="changes nothing: a right answer earns 1 - reward.format_weight in whatever words",
    otherwise="expected a number",
)


def debug_rows(values: dict[str, JSON]) -> tuple[Translation, ...]:
    """A rehearsal's number of rows counts only where the file asks for a rehearsal."""
    enabled = look(values, "debug.enabled")
    if enabled is ABSENT or truth(enabled):
        # What is said for rehearsals alone wins over what is said for every run.
        if look(values, "debug.max_samples") is ABSENT:
            return ()
        rows = take(values, "data.max_samples")
        why = "gives way to debug.max_samples"
        given = Translation(written="data.max_samples", read=None, value=rows, why=why)
        return () if rows is ABSENT else (given,)
    return tuple(
        Translation(written=key, read=None, value=value, why=f"is left: debug.enabled is {enabled}")
        for key in ("debug.max_samples", "debug.max_steps")
        if (value := take(values, key)) is not ABSENT
    )


def _quantization(value: JSON) -> JSON:
    """True stores frozen weights in 4 bits."""
    return "4bit" if truth(value) else "none"


def _close(value: JSON) -> JSON:
    """Half of it, which is what an answer off by one earned there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a number")
    return round(value * _CLOSE, 6)


ALSO = (
    "model.name", "model.use_lora", "model.lora.alpha", "model.lora.dropout", "data.datasets",
    "data.max_samples", "data.max_samples_per_dataset", "data.shuffle", "training.batch_size",
    "training.gradient_accumulation_steps", "training.learning_rate",
    "training.gradient_checkpointing", "training.warmup_ratio", "training.weight_decay",
    "training.max_seq_length", "training.max_length", "training.max_prompt_length",
    "training.output_dir", "dpo.beta", "dpo.loss_type", "dpo.label_smoothing",
    "grpo.num_generations", "grpo.temperature", "grpo.top_p", "hardware.use_vllm",
    "hardware.vllm_gpu_memory_utilization", "logging.report_to",
)  # fmt: skip
"""Keys of this tool that are ours as they are, or are in another table."""

RULES: Rules = MappingProxyType(
    {
        "model.use_4bit": Alias(to="model.quantization", convert=_quantization),
        "model.lora.r": Alias(to="model.lora.rank"),
        "data.dataset": Alias(to="data.datasets", convert=sources),
        "data.seed": Alias(to="seed"),
        "training.num_epochs": Alias(to="training.epochs"),
        "hardware.bf16": precision("bf16"),
        "hardware.fp16": precision("fp16"),
        "grpo.max_new_tokens": Alias(to="grpo.max_completion_length"),
        "grpo.reward_type": Alias(to="reward.type"),
        "grpo.reward_funcs": Alias(to="reward.functions"),
        "reward.reward_type": Alias(to="reward.type"),
        "reward.spatial.exact_match_weight": _GATED,
        "reward.spatial.spatial_weight": _GATED,
        "reward.spatial.format_weight": Alias(to="reward.format_weight"),
        "reward.counting.exact_weight": _GATED,
        "reward.counting.close_weight": Alias(to="reward.close_count", convert=_close),
        "logging.steps": Alias(to="tracking.log_steps"),
        "logging.save_steps": Alias(to="save.steps"),
        "logging.save_total_limit": Alias(to="save.keep"),
        "logging.run_name": Alias(to="run_name"),
        "logging.logging_dir": Refusal(
            why="TensorBoard files lie in the run's folder; name that folder: output_dir"
        ),
        "debug.enabled": Alias(to="debug"),
        "debug.max_samples": Alias(to="data.max_samples"),
        "debug.max_steps": Alias(to="rehearsal.train_steps"),
    }
)
