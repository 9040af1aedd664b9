"""The section grpo reaches TRL, ours where TRL has nothing of the kind, or is refused."""

import dataclasses
from pathlib import Path

import pytest

from vlmtune import config_file
from vlmtune.backends.pytorch import grpo_settings
from vlmtune.config import GrpoConfig
from vlmtune.errors import ConfigError

OTHER = {
    "num_generations": 4,
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 20,
    "max_completion_length": 33,
    "scale_rewards": "none",
    "loss_type": "dapo",
    "importance_sampling_level": "sequence",
    "beta": 0.1,
    "epsilon": 0.3,
    "epsilon_high": 0.28,
    "delta": 10.0,
    "sapo_temperature_pos": 2.0,
    "sapo_temperature_neg": 2.0,
    "num_iterations": 3,
    "mask_truncated_completions": True,
    "disable_dropout": False,
}
OURS = {"resample_flat_groups", "log_completions"}
"""Honoured by backends/rollouts.py and training/samples.py."""


def config(**flags):
    return config_file.load(None, flags={"stage": "grpo", "backend": "pytorch", **flags})


def arguments(**flags):
    return grpo_settings.arguments(config(**flags), folder=Path("f"), device="cpu")


def test_every_setting_of_the_section_is_accounted_for():
    assert set(OTHER) | OURS == set(GrpoConfig.model_fields)


@pytest.mark.parametrize("name", OTHER)
def test_another_value_changes_what_trl_is_told(name):
    assert arguments(**{f"grpo.{name}": OTHER[name]}) != arguments()


def test_the_arguments_are_ones_that_trl_takes_and_builds_from():
    trl = pytest.importorskip("trl", reason="TRL needs Python 3.11")
    given = arguments(**{"grpo.num_generations": 4})
    assert set(given) <= {field.name for field in dataclasses.fields(trl.GRPOConfig)}
    built = trl.GRPOConfig(**given)
    # One completion at once and 4 in a group: the update was widened before TRL could complain.
    assert (built.generation_batch_size, built.gradient_accumulation_steps) == (4, 4)
    assert (built.bf16, built.use_cpu) == (False, True)


def test_the_cap_of_cispo_has_a_value_of_its_own():
    # TRL would take the clip's 0.2 as a cap and shrink every gradient to a fifth.
    assert arguments(**{"grpo.loss_type": "cispo"})["epsilon_high"] == 5.0
    assert arguments(**{"grpo.loss_type": "cispo", "grpo.epsilon_high": 4.0})["epsilon_high"] == 4.0
    assert arguments(**{"grpo.loss_type": "dapo"})["epsilon_high"] is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"grpo.loss_type": "cispo", "grpo.epsilon_high": 0.28}, "caps every ratio below 1"),
        ({"grpo.resample_flat_groups": 1, "grpo.scale_rewards": "batch"}, "scale_rewards: batch"),
        ({"training.global_batch_size": 12}, "holds no whole groups"),
        ({"grpo.epsilon": 1.5}, "epsilon"),
        ({"grpo.loss_type": "gspo"}, "loss_type"),
        ({"grpo.loss_type": "luspo"}, "loss_type"),
        ({"grpo.scale_rewards": "sometimes"}, "scale_rewards"),
        ({"grpo.importance_sampling_level": "word"}, "importance_sampling_level"),
        ({"grpo.num_generations": 1}, "num_generations"),
        ({"grpo.temperature": 0.0}, "temperature"),
        ({"grpo.top_p": 0.0}, "top_p"),
        ({"grpo.top_k": -1}, "top_k"),
        ({"grpo.delta": 1.0}, "delta"),
        ({"grpo.delta": 1.1}, "delta"),
        ({"grpo.beta": -0.1}, "beta"),
        ({"grpo.epsilon": 0.0}, "epsilon"),
        ({"grpo.epsilon_high": 0.1}, "epsilon_high"),
        ({"grpo.num_iterations": 0}, "num_iterations"),
        ({"grpo.max_completion_length": 0}, "max_completion_length"),
        ({"grpo.resample_flat_groups": -1}, "resample_flat_groups"),
        ({"grpo.sapo_temperature_pos": 0.0}, "sapo_temperature_pos"),
    ],
)
def test_what_cannot_be_honoured_is_refused_without_loading_anything(flags, said):
    with pytest.raises(ConfigError, match=said):
        grpo_settings.check(config(**flags))


def test_an_evaluation_batch_of_torn_groups_is_widened_and_told():
    flags = {"evaluation.strategy": "steps", "evaluation.batch_size": 6, "training.batch_size": 8}
    assert grpo_settings.check(config(**flags)) == [
        "evaluation.batch_size: 6 became 8, so that it holds whole groups of 8"
    ]
