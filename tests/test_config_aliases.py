"""Other tools' keys are translated and said, or refused with a reason; none is ignored."""

from pathlib import Path

import pytest

from vlmtune import config_file
from vlmtune.aliases.rules import Alias, Refusal, Spread
from vlmtune.config import RunConfig
from vlmtune.config_aliases import ALIASES, translate
from vlmtune.config_messages import keys_of
from vlmtune.errors import ConfigError

NESTED = """
training_type: sft
model:
  model_name_or_path: some/model
dataset:
  train_data_path: rows.jsonl
  train_split: "train[:5%]"
  dataset_format: vqa
training:
  output_dir: ./output
logging:
  use_wandb: false
debug: {enabled: true, max_samples: 3}
"""


@pytest.fixture
def written(tmp_path: Path):
    """Write a config file and give its path."""

    def write(text: str) -> Path:
        path = tmp_path / "theirs.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_another_tools_file_is_read_as_ours(written) -> None:
    config = config_file.load(written(NESTED))
    assert config.stage.value == "sft"
    assert config.model.name == "some/model"
    assert [(data.name, data.split) for data in config.data.datasets] == [
        ("rows.jsonl", "train[:5%]")
    ]
    assert config.output_dir == "./output"
    assert config.tracking.wandb is False
    assert config.debug is True
    assert config.data.max_samples == 3


def test_every_translation_is_reported(written) -> None:
    notes = [str(note) for note in config_file.resolve(written(NESTED)).translations]
    assert "training_type is read as stage: 'sft'" in notes
    assert "dataset.dataset_format is read as stage: 'sft'" in notes
    assert "dataset.train_data_path is read as data.datasets.0.name: 'rows.jsonl'" in notes
    assert len(notes) == 9


def test_an_override_may_use_another_tools_key(written) -> None:
    resolved = config_file.resolve(None, overrides=["stage=grpo", "grpo.max_new_tokens=32"])
    assert resolved.config.grpo.max_completion_length == 32
    assert [note.written for note in resolved.translations] == ["grpo.max_new_tokens"]


def test_one_setting_under_two_names_must_agree(written) -> None:
    assert config_file.load(written("stage: dpo\ntraining_type: dpo")).stage.value == "dpo"
    with pytest.raises(ConfigError, match="'training_type' to 'sft' and 'stage' to 'dpo'"):
        config_file.load(written("stage: dpo\ntraining_type: sft"))
    with pytest.raises(ConfigError, match="which are the same setting; keep one"):
        config_file.load(written("training_type: sft\ndataset: {dataset_format: preference}"))


def test_several_paths_are_several_sources(written) -> None:
    config = config_file.load(written("stage: sft\ndata: {train_data_paths: [a.jsonl, b.jsonl]}"))
    assert [source.name for source in config.data.datasets] == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("value", "on"),
    [
        ("[wandb]", {"wandb"}),
        ("[tensorboard, trackio]", {"tensorboard", "trackio"}),
        ("tensorboard", {"tensorboard"}),
        ("none", set()),
        ("[]", set()),
    ],
)
def test_report_to_switches_trackers_on(written, value: str, on: set[str]) -> None:
    tracking = config_file.load(written(f"stage: sft\nlogging: {{report_to: {value}}}")).tracking
    assert {name for name in ("wandb", "tensorboard", "trackio") if getattr(tracking, name)} == on


def test_a_value_that_has_no_place_here_is_refused_with_the_reason(written) -> None:
    with pytest.raises(ConfigError, match="'comet' is no tracker here; there are tensorboard"):
        config_file.load(written("stage: sft\nlogging: {report_to: [comet]}"))
    with pytest.raises(ConfigError, match="expected one of vqa, preference, grpo"):
        config_file.load(written("dataset: {dataset_format: csv}"))


def test_a_wrong_value_is_blamed_on_the_key_that_was_written(written) -> None:
    with pytest.raises(ConfigError, match="written as 'training_type': expected 'sft'"):
        config_file.load(written("training_type: ppo"))


def nested(key: str, value: object) -> dict[str, object]:
    """Put a value at a dotted key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def test_every_refusal_refuses_and_says_what_to_use() -> None:
    refused = [key for key, rule in ALIASES.items() if isinstance(rule, Refusal)]
    assert refused
    for key in refused:
        with pytest.raises(ConfigError, match=f"'{key}' in a file cannot be used: "):
            translate(nested(key, 1), source="a file")


def test_no_alias_shadows_one_of_our_keys_and_all_lead_to_one() -> None:
    ours = set(keys_of(RunConfig))
    assert not ours & set(ALIASES)
    targets = {rule.to for rule in ALIASES.values() if isinstance(rule, Alias)}
    targets |= {to for rule in ALIASES.values() if isinstance(rule, Spread) for to in rule.to}
    # The options of a dataset are its own; this one is where VLM-R1 has its pictures.
    assert targets - ours == {"data.datasets.0.options.image_folder"}


def test_the_users_own_mapping_is_left_as_it_was() -> None:
    values = {"training_type": "sft"}
    translate(values, source="a file")
    assert values == {"training_type": "sft"}
