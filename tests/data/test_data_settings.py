"""Other tools' data settings, typed as their guides show them."""

from pathlib import Path
from typing import Any

import pytest

from vlmtune import config_file
from vlmtune.config import DatasetConfig, RunConfig
from vlmtune.data.sources import resolve
from vlmtune.errors import ConfigError


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def load(text: str) -> RunConfig:
        path = tmp_path / "theirs.yaml"
        path.write_text(text, encoding="utf-8")
        return config_file.load(path)

    return load


def test_a_hub_id_with_a_slice_and_an_evaluation_split(read: Any) -> None:
    config = read(
        """
training_type: sft
dataset:
  train_data_path: lmms-lab/multimodal-open-r1-8k-verified
  train_split: "train[:5%]"
  eval_data_path: lmms-lab/multimodal-open-r1-8k-verified
  eval_split: validation
  dataset_format: vqa
  preprocessing_fn: dataset_preprocessing.py
"""
    )
    (source,) = config.data.datasets
    assert source.split == "train[:5%]"
    loader, options = resolve(source)
    assert (loader.__name__, options) == ("vlmtune.data.datasets.open_r1_8k", {})
    assert [entry.name for entry in config.data.eval_datasets] == [source.name]
    assert (config.data.eval_split, config.data.preprocessing) == (
        "validation",
        "dataset_preprocessing.py",
    )


def test_no_evaluation_set_means_that_a_fifth_is_set_aside(read: Any) -> None:
    config = read(
        "training_type: dpo\n"
        "dataset: {train_data_path: HuggingFaceH4/rlaif-v_formatted, eval_data_path: null, "
        "eval_split: test, dataset_format: preference}"
    )
    assert config.data.eval_datasets is None
    assert config.data.eval_fraction == 0.2


def test_a_loaders_name_with_paths_and_keys(read: Any) -> None:
    config = read(
        """
runner: {task_type: sft}
data:
  dataset_name: robo2vlmsft
  train_data_paths: /data/Robo2VLM-1/train_data
  eval_data_paths: /data/Robo2VLM-1/test_data
  prompt_key: question
  choice_key: choices
  answer_key: correct_answer
  image_keys: [image]
"""
    )
    (source,) = config.data.datasets
    assert (source.name, source.options) == ("robo2vlm", {"path": "/data/Robo2VLM-1/train_data"})
    assert [entry.options for entry in config.data.eval_datasets] == [
        {"path": "/data/Robo2VLM-1/test_data"}
    ]
    assert (config.data.prompt_key, config.data.image_keys) == ("question", ["image"])


def test_a_list_of_datasets_with_a_cap_each(read: Any) -> None:
    config = read(
        "stage: sft\ndata: {datasets: [rlhf_v, pixmo_cap], max_samples_per_dataset: 500, seed: 3}"
    )
    assert [source.name for source in config.data.datasets] == ["rlhf_v", "pixmo_cap"]
    assert (config.data.max_samples_per_dataset, config.seed) == (500, 3)


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("scenes", "scenes"),
        ("rlhf-v", "rlhf_v"),
        ("openbmb/RLHF-V-Dataset", "rlhf_v"),
        ("cambridgeltl/vsr_zeroshot", "vsr"),
        ("nyu-visionx/CV-Bench", "cv_bench"),
        ("someone/something", "hub"),
        ("gone.jsonl", "jsonl"),
        ("rows.parquet", "files"),
        (".", "files"),
    ],
)
def test_what_a_name_stands_for(name: str, loader: str) -> None:
    assert resolve(DatasetConfig(name=name))[0].__name__ == f"vlmtune.data.datasets.{loader}"


def test_a_hub_id_names_its_variant() -> None:
    _, options = resolve(DatasetConfig(name="cambridgeltl/vsr_zeroshot"))
    assert options == {"variant": "zeroshot"}


def test_a_path_or_id_is_given_once() -> None:
    with pytest.raises(ConfigError, match="is a hub id and has an option 'id' as well"):
        resolve(DatasetConfig(name="someone/something", options={"id": "x/y"}))
