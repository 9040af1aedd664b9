"""One typed config for every stage and backend: one fact, one field, one default, one sentence.

A real file:

    stage: grpo
    model: {name: pico}
    data: {datasets: [scenes], max_samples: 16}
    grpo: {num_generations: 8, temperature: 1.0}

Unknown keys, wrong types and values out of range are errors, never ignored.
"""

from typing import Literal

from pydantic import Field

from vlmtune.config_dataset import DatasetConfig
from vlmtune.config_model import LoraConfig, ModelConfig, VlmConfig
from vlmtune.config_run import (
    EvaluationConfig,
    HardwareConfig,
    RehearsalConfig,
    SaveConfig,
    TrackingConfig,
)
from vlmtune.config_section import Section
from vlmtune.config_training import DpoConfig, GrpoConfig, TrainingConfig
from vlmtune.types import Stage

__all__ = [
    "DataConfig",
    "DatasetConfig",
    "DpoConfig",
    "EvaluationConfig",
    "GrpoConfig",
    "HardwareConfig",
    "LoraConfig",
    "ModelConfig",
    "PromptConfig",
    "RehearsalConfig",
    "RewardConfig",
    "RunConfig",
    "SaveConfig",
    "Section",
    "TrackingConfig",
    "TrainingConfig",
    "VlmConfig",
]


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
    max_samples: int | None = Field(default=None, ge=1)
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
    num_workers: int = Field(default=0, ge=0)
    """Processes that prepare batches beside the training; 0 prepares them in the training's own."""
    cache_dir: str | None = None
    """Folder of fetched and unpacked pictures and downloads; null is ~/.cache/vlmtune."""
    max_image_pixels: int = Field(default=50_000_000, ge=1)
    """Refuse an image with more pixels than this before decoding it."""


class PromptConfig(Section):
    """How questions are worded."""

    style: Literal["spatial-v1", "direct-v1"] = "spatial-v1"
    """spatial-v1 asks for <think> and <answer>; direct-v1 asks for the bare answer."""


class AccuracyConfig(Section):
    """The reward accuracy."""

    scale: Literal["unit", "seed"] = "unit"
    """unit pays 1, 0.5 for half the words, or 0; seed pays 3, 1.5 or 0."""


class FormatConfig(Section):
    """The reward format."""

    tags: list[str] | None = None
    """Tags in their order; null is think, answer, and explain where the gold answer has one."""


class ExplanationConfig(Section):
    """The reward explanation."""

    alpha: float = Field(default=0.5, ge=0, le=1)
    """Share of CIDEr; the rest is the picture's likeness. 1 needs no CLIP, 0 no references."""
    scorer: str = "clip"
    """What compares text and picture: clip, or a .py file with load_scorer(model)."""
    clip_model: str = "openai/clip-vit-base-patch16"
    """CLIP to load, once per process: hub id or local folder."""
    needs_accuracy: bool = True
    """Pay nothing for explaining a wrong answer, where the row has one to compare."""


class RewardConfig(Section):
    """What a completion earns."""

    type: str = "combined"
    """One reward: spatial, counting, combined, accuracy, format, explanation or a .py file."""
    functions: list[str] = Field(default_factory=list)
    """Several rewards by name, added up; replaces type. Names of `file` come first."""
    weights: list[float] | None = None
    """Weight of each; null gives format its format_weight and the others equal shares."""
    file: str | None = None
    """Python file of reward functions f(completions, solution, **kwargs) -> list of float."""
    format_weight: float = Field(default=0.1, ge=0, le=0.2)
    """Share of the reward that <think>...</think><answer>...</answer> earns."""
    close_count: float = Field(default=0.2, ge=0, lt=0.3)
    """Accuracy credit of a single number that is off by one; parts["accuracy"] stays 0."""
    accuracy: AccuracyConfig = AccuracyConfig()
    format: FormatConfig = FormatConfig()
    explanation: ExplanationConfig = ExplanationConfig()


class RunConfig(Section):
    """The whole run."""

    stage: Stage = Field(strict=False)
    """sft, dpo or grpo."""
    backend: Literal["auto", "mlx", "pytorch", "scripted"] = "auto"
    """auto takes the first that runs here and says why not the others."""
    seed: int = Field(default=0, ge=0)
    """Fixes rows, order and sampling."""
    debug: bool = False
    """Rehearse: everything a trainer does, except that no weight moves."""
    run_name: str | None = Field(default=None, pattern=r"^[^/\\]+$")
    """What trackers call the run, and its folder in outputs/; null is the stage."""
    output_dir: str | None = None
    """Folder to write; null is outputs/<run_name>, with -debug for a rehearsal."""
    resume: str = "never"
    """never, auto (from the newest checkpoint if there is one), must, or a checkpoint's path."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    prompt: PromptConfig = PromptConfig()
    training: TrainingConfig = TrainingConfig()
    dpo: DpoConfig = DpoConfig()
    grpo: GrpoConfig = GrpoConfig()
    reward: RewardConfig = RewardConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    save: SaveConfig = SaveConfig()
    rehearsal: RehearsalConfig = RehearsalConfig()
    hardware: HardwareConfig = HardwareConfig()
    tracking: TrackingConfig = TrackingConfig()
