"""One file, several stages: what is shared, what is a stage's own, and what cannot be."""

from pathlib import Path

import pytest

from vlmtune.config_pipeline import is_pipeline, load_pipeline
from vlmtune.errors import ConfigError

CHECKOUT = Path(__file__).parents[1]
FILE = """\
output_dir: ./out
model: {name: pico, lora: {rank: 8}}
training: {learning_rate: 1.0e-3, batch_size: 4}
stages:
  sft:
    data: {max_samples: 30}
  dpo:
    training: {learning_rate: 1.0e-4}
  grpo:
    training:
      max_steps: 5
evaluation: {datasets: [scenes], seed: 3, max_samples: 12, style: think}
"""


@pytest.fixture
def write(tmp_path):
    def written(text: str = FILE) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return written


def stages(path: Path, *overrides: str, **flags):
    found = load_pipeline(path, overrides=overrides, flags=flags)
    return {stage.name: stage.config for stage in found.stages}


def test_a_stage_has_what_is_shared_and_over_it_what_is_its_own(write):
    found = stages(write())
    assert list(found) == ["sft", "dpo", "grpo"]
    assert [str(config.stage) for config in found.values()] == ["sft", "dpo", "grpo"]
    assert [config.training.learning_rate for config in found.values()] == [1e-3, 1e-4, 1e-3]
    assert [config.training.batch_size for config in found.values()] == [4, 4, 4]
    assert [config.training.max_steps for config in found.values()] == [None, None, 5]
    assert found["sft"].data.max_samples == 30


def test_flags_win_over_a_stages_set_which_wins_over_the_shared_set_and_the_file(write):
    found = stages(
        write(),
        "stages.dpo.training.batch_size=2",
        "training.batch_size=6",
        "training.learning_rate=0.5",
        **{"data.max_samples": 7},
    )
    assert [config.training.batch_size for config in found.values()] == [6, 2, 6]
    assert [config.training.learning_rate for config in found.values()] == [0.5, 0.5, 0.5]
    assert [config.data.max_samples for config in found.values()] == [7, 7, 7]


def test_a_list_of_a_stage_replaces_the_shared_one(write):
    shared = FILE + "data: {datasets: [scenes, more.jsonl]}\n"
    found = stages(write(shared.replace("{max_samples: 30}", "{datasets: [own.jsonl]}")))
    assert [source.name for source in found["sft"].data.datasets] == ["own.jsonl"]
    assert [source.name for source in found["dpo"].data.datasets] == ["scenes", "more.jsonl"]


def test_references_reach_what_is_shared(write):
    text = FILE.replace("learning_rate: 1.0e-4", 'learning_rate: "${training.batch_size}"')
    assert stages(write(text), "training.batch_size=2")["dpo"].training.learning_rate == 2


def test_what_is_asked_is_no_setting_of_a_stages_own_training(write):
    found = load_pipeline(write())
    assert found.shared.config.evaluation.max_samples == 12
    assert found.shared.config.evaluation.datasets[0].name == "scenes"
    assert {stage.config.evaluation.max_samples for stage in found.stages} == {None}


def test_two_stages_of_one_kind_have_names_of_their_own(write):
    text = FILE.replace("  dpo:\n", "  again:\n    stage: sft\n")
    assert [str(config.stage) for config in stages(write(text)).values()] == ["sft", "sft", "grpo"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("max_steps: 5", "max_stepps: 5", (r"unknown key 'training\.max_stepps' in .*mine\.yaml "
         r"line 11; did you mean 'training\.max_steps'")),
        ("max_steps: 5", "max_steps: many", r"training\.max_steps in .* line 11: expected a whole"),
        ("  grpo:", "  gropo:", r"stages\.gropo .* is no stage; did you mean 'grpo'"),
        ("  grpo:", "  evaluations:", r"stages\.evaluations .* cannot be a folder of its own"),
        ("{max_samples: 30}", "[3]", r"data in .*: expected keys and values"),
        ("      max_steps: 5", "      max_steps: 5\n    output_dir: ./x",
         r"stages\.grpo\.output_dir .* is one for all stages"),
        ("      max_steps: 5", "      max_steps: 5\n    evaluation: {seed: 1}",
         r"stages\.grpo\.evaluation\.seed .* is one for all stages"),
        ("      max_steps: 5", "      max_steps: 5\n    model: {lora: {rank: 4}}",
         r"stages\.grpo would continue the adapter of stage dpo, which has other values"),
        ("      max_steps: 5", "      max_steps: 5\n    model: {tuning: full}",
         r"stages\.grpo has model\.tuning: full and cannot continue"),
        ("output_dir: ./out", "save: {model_path: ./best}",
         r"save\.model_path \./best would be written by the stages sft and dpo"),
        ("output_dir: ./out", "stage: sft", r"has stages \(sft, dpo, grpo\), so no single stage"),
        ("stages:\n", "stages: []\nold:\n", r"stages in .* should hold a section for each stage"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_one_line(write, old, new, complaint):
    assert old in FILE
    with pytest.raises(ConfigError, match=complaint) as caught:
        stages(write(FILE.replace(old, new, 1)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("stages.gropo.seed=1", "NAME is one of sft, dpo, grpo"),
        ("stages.grpo=1", "expected stages.NAME.KEY=VALUE"),
        ("stages.grpo.resume=must", r"stages\.grpo\.resume .* is one for all stages"),
        ("stages.dpo.dpo.betta=1", r"unknown key 'dpo\.betta'"),
    ],
)
def test_a_wrong_override_of_a_stage_is_refused(write, override, complaint):
    with pytest.raises(ConfigError, match=complaint):
        stages(write(), override)


def test_after_a_merge_the_next_adapter_may_have_another_shape(write):
    text = FILE.replace("max_steps: 5", "max_steps: 5\n    model: {start_adapter: merge, lora: "
                        "{rank: 4}}")  # fmt: skip
    assert stages(write(text))["grpo"].model.lora.rank == 4


def test_after_a_stack_the_adapter_cannot_simply_be_continued(write):
    text = FILE.replace("  dpo:\n", "  dpo:\n    model: {start_adapter: stack}\n")
    with pytest.raises(ConfigError, match="because it was stacked"):
        stages(write(text))


def test_only_a_file_with_stages_is_a_pipeline(write, tmp_path):
    assert is_pipeline(write())
    assert not is_pipeline(CHECKOUT / "configs" / "demo.yaml")
    script = tmp_path / "run.sh"
    script.write_text("python train.py --stages 3\n")
    assert not is_pipeline(script)


def test_the_pipeline_that_ships_with_the_checkout_can_be_read():
    found = load_pipeline(CHECKOUT / "configs" / "pico_pipeline.yaml")
    assert [stage.name for stage in found.stages] == ["sft", "dpo", "grpo"]
    evaluation = found.shared.config.evaluation
    assert evaluation.max_samples == 1000
    assert [(source.name, source.split) for source in evaluation.datasets] == [("scenes", "test")]
    splits = [stage.config.data.datasets[0].split for stage in found.stages]
    assert splits == ["train", "train-dpo", "train-grpo"]
