"""One typed config for every stage and backend: one fact, one field, one default, one sentence.

A real file:

    stage: grpo
    model: {name: pico}
    data: {datasets: [scenes], max_samples: 16}
    grpo: {num_generations: 8, temperature: 1.0}

Unknown keys, wrong types and values out of range are errors, never ignored.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vlmtune.types import JSON, Stage


class Section(BaseModel):
    """A part of the config: unknown keys are refused, fields are read-only, docstrings are help."""

    # Strict: "8" and true are not numbers. Neither is infinity.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class ModelConfig(Section):
    """Which model."""

    name: str = "pico"
    """Alias (pico, 3b-4bit ... 32b-4bit), local folder or hub id."""


class DatasetConfig(Section):
    """One source of rows."""

    name: str
    """Dataset name (scenes), .jsonl or .parquet file, folder of them, hub id, or .py loader."""
    split: str = "train"
    """Split to read, or a part of it: train[:5%], train[100:200]."""
    weight: float = Field(default=1.0, gt=0)
    """Rows drawn from this source, compared with the others' weights."""
    options: dict[str, JSON] = Field(default_factory=dict)
    """Options of that dataset; each dataset refuses those it does not know."""


class DataConfig(Section):
    """Which rows."""

    datasets: list[DatasetConfig] = Field(default_factory=lambda: [DatasetConfig(name="scenes")])
    """Sources, read in turn by weight; a plain string is a dataset's name."""
    eval_datasets: list[DatasetConfig] | None = None
    """Sources of the evaluation set; null sets aside eval_fraction of the rows instead."""
    eval_split: str = "test"
    """Split of those entries of eval_datasets that name none."""
    max_eval_samples: int | None = Field(default=None, ge=1)
    """Rows to evaluate on at most; null is max_samples."""
    eval_fraction: float = Field(default=0.2, ge=0, lt=1)
    """Share of rows set aside without eval_datasets; rows of one picture stay together."""
    on_leak: Literal["error", "drop", "allow"] = "error"
    """Training rows that evaluation asks about too: stop, leave them out, or only count them."""
    max_samples: int | None = Field(default=16, ge=1)
    """Rows to use at most; null uses all of a finite dataset."""
    max_samples_per_dataset: int | None = Field(default=None, ge=1)
    """Rows to use of each source at most."""
    shuffle: bool = False
    """Shuffle rows by `seed`."""
    on_bad_row: Literal["skip", "error"] = "skip"
    """Skip, count and list a row that cannot be used, or stop at the first."""
    preprocessing: str | None = None
    """Python file whose functions change each row before it is read: row -> row."""
    prompt_key: str | None = None
    """Column of the question in sources whose options name none; null lets usual names decide."""
    choice_key: str | None = None
    """Column of the choices, likewise."""
    answer_key: str | None = None
    """Column of the gold answer, likewise."""
    image_keys: list[str] | None = None
    """Columns of the pictures, likewise; [] shows none."""
    addresses: Literal["fetch", "cached", "refuse"] = "fetch"
    """Pictures given by http(s) address: fetch into the cache, take only cached ones, or refuse."""
    cache_dir: str | None = None
    """Folder of fetched and unpacked pictures and downloads; null is ~/.cache/vlmtune."""
    max_image_pixels: int = Field(default=50_000_000, ge=1)
    """Refuse an image with more pixels than this before decoding it."""


class PromptConfig(Section):
    """How questions are worded."""

    style: Literal["spatial-v1", "direct-v1"] = "spatial-v1"
    """spatial-v1 asks for <think> and <answer>; direct-v1 asks for the bare answer."""


class TrainingConfig(Section):
    """What every stage shares."""

    max_length: int | None = Field(default=2048, ge=1)
    """Longest prompt plus answer in tokens; a longer row is reported, never cut."""


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
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """Divide advantages by the group's, the batch's or no standard deviation (sample, ddof 1)."""


class RewardConfig(Section):
    """What a completion earns."""

    type: str = "combined"
    """spatial, counting or combined."""
    format_weight: float = Field(default=0.1, ge=0, le=0.2)
    """Share of the reward that <think>...</think><answer>...</answer> earns."""
    close_count: float = Field(default=0.2, ge=0, lt=0.3)
    """Accuracy credit of a single number that is off by one; parts["accuracy"] stays 0."""


class RehearsalConfig(Section):
    """What --debug looks at besides the stage's own settings."""

    temperatures: list[float] = Field(default_factory=lambda: [0.5, 1.5])
    """Other temperatures at which the share of flat groups is measured; [] measures none."""
    forecast_generations: list[int] = Field(default_factory=lambda: [2, 4, 8, 16, 32])
    """Group sizes for which the share of flat groups is forecast."""
    forecast_prompts: int = Field(default=8, ge=1)
    """Prompts drawn again at each other temperature."""


class HardwareConfig(Section):
    """What the machine can take."""

    generation_batch_size: int = Field(default=64, ge=1)
    """Completions decoded side by side; lower it when memory runs out."""


class TrackingConfig(Section):
    """Where metrics go besides the run's own folder."""

    wandb: bool = False
    """Log to Weights & Biases; a rehearsal never does."""


class RunConfig(Section):
    """The whole run."""

    stage: Stage = Field(strict=False)
    """sft, dpo or grpo."""
    backend: Literal["auto", "mlx", "scripted"] = "auto"
    """auto takes the first that runs here and says why not the others."""
    seed: int = Field(default=0, ge=0)
    """Fixes rows, order and sampling."""
    debug: bool = False
    """Rehearse: everything a trainer does, except that no weight moves."""
    output_dir: str | None = None
    """Folder to write; default outputs/<stage>, with -debug for a rehearsal."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    prompt: PromptConfig = PromptConfig()
    training: TrainingConfig = TrainingConfig()
    grpo: GrpoConfig = GrpoConfig()
    reward: RewardConfig = RewardConfig()
    rehearsal: RehearsalConfig = RehearsalConfig()
    hardware: HardwareConfig = HardwareConfig()
    tracking: TrackingConfig = TrackingConfig()
