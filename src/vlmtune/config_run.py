"""What surrounds the updates: evaluation, checkpoints, the machine, trackers, the rehearsal."""

from typing import Literal

from pydantic import Field

from vlmtune.config_dataset import DatasetConfig
from vlmtune.config_section import Section


class EvaluationConfig(Section):
    """When a run evaluates itself, and what scripts/evaluate.py --config asks."""

    strategy: Literal["no", "steps", "epoch"] = "no"
    """Evaluate while training: never, every `steps` updates, or after each epoch."""
    steps: int = Field(default=500, ge=1)
    """Updates between evaluations, with strategy: steps."""
    batch_size: int = Field(default=8, ge=1)
    """Rows a device takes at once while evaluating."""
    benchmarks: list[str] = Field(default_factory=lambda: ["VSR", "CV-Bench"], min_length=1)
    """Benchmarks of scripts/evaluate.py: names, or .py files."""
    datasets: list[DatasetConfig] = Field(default_factory=list)
    """Held-out rows of any dataset to ask; the usual benchmarks are then asked only if named."""
    seed: int | None = Field(default=None, ge=0)
    """Fixes which questions are drawn; null is the run's seed."""
    max_samples: int | None = Field(default=None, ge=1)
    """Rows of each benchmark and dataset, drawn by the seed; null is all."""
    style: Literal["direct", "think"] = "direct"
    """Ask benchmarks for the bare answer, or for <think> and <answer>."""
    protocol: str | None = None
    """How a benchmark asks, such as VSR's generate-true-false; null is its usual way."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest answer to a benchmark in tokens."""


class SaveConfig(Section):
    """Checkpoints and the finished model."""

    steps: int = Field(default=500, ge=1)
    """Updates between checkpoints."""
    keep: int | None = Field(default=3, ge=1)
    """Newest checkpoints to keep; null keeps all."""
    model_path: str | None = None
    """Folder of the finished model or adapter; null is the run's own folder."""
    processor: bool = True
    """Write tokenizer and image processor beside the model, so that its folder loads by itself."""
    push_to_hub: bool = False
    """Upload the finished model to the Hugging Face hub."""
    hub_model_id: str | None = None
    """Where to upload it: owner/name."""


class RehearsalConfig(Section):
    """What --debug looks at besides the stage's own settings."""

    max_samples: int = Field(default=24, ge=1)
    """Rows it looks at where data.max_samples is null."""
    temperatures: list[float] = Field(default_factory=lambda: [0.5, 1.5])
    """Other temperatures at which the share of flat groups is measured; [] measures none."""
    forecast_generations: list[int] = Field(default_factory=lambda: [2, 4, 8, 16, 32])
    """Group sizes for which the share of flat groups is forecast."""
    forecast_prompts: int = Field(default=8, ge=1)
    """Prompts drawn again at each other temperature."""
    train_steps: int = Field(default=3, ge=0)
    """Updates that --debug tries and throws away where the backend trains; 0 tries none."""


class HardwareConfig(Section):
    """What the machine can take."""

    generation_batch_size: int = Field(default=64, ge=1)
    """Completions decoded side by side; lower it when memory runs out."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where PyTorch computes; auto is cuda where there is one, else cpu."""
    gpus: list[int] | None = Field(default=None, min_length=1)
    """Numbers of the GPUs to use; null is all that are visible."""
    processes: int = Field(default=1, ge=1)
    """Processes on this machine that train together, one GPU each."""
    nodes: int = Field(default=1, ge=1)
    """Machines that train together."""
    fsdp: Literal["no", "full_shard", "shard_grad_op"] = "no"
    """FSDP2: shard weights, gradients and optimizer; or gather weights once a step; or none."""
    deepspeed: str | None = None
    """DeepSpeed: zero2, zero3, or a JSON file of its own settings."""
    ds_skip_cuda_check: bool = False
    """Let DeepSpeed compile with another CUDA version than PyTorch's (DS_SKIP_CUDA_CHECK)."""
    use_vllm: bool = False
    """Draw GRPO's completions with vLLM."""
    vllm_mode: Literal["colocate", "server"] = "colocate"
    """vLLM on the training GPUs, or a server of its own."""
    vllm_gpu_memory_utilization: float = Field(default=0.3, gt=0, le=1)
    """Share of GPU memory that vLLM takes, with vllm_mode: colocate."""
    vllm_server_url: str | None = None
    """Address of the server, with vllm_mode: server."""


class TrackingConfig(Section):
    """Where metrics go besides the run's own folder."""

    wandb: bool = False
    """Log to Weights & Biases; a rehearsal never does."""
    wandb_mode: Literal["online", "offline"] = "online"
    """offline keeps the log on this machine until `wandb sync`."""
    tensorboard: bool = False
    """Write TensorBoard files to the run's folder."""
    trackio: bool = False
    """Log to trackio."""
    project: str = "vlmtune"
    """The trackers' project."""
    entity: str | None = None
    """The team or user that the Weights & Biases project belongs to; null is your own."""
    log_steps: int = Field(default=10, ge=1)
    """Updates between two lines of metrics."""
    sample_steps: int | None = Field(default=50, ge=1)
    """Updates between two pages of sample answers; null writes none."""
