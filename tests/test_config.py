"""Settings come from a file, --set and flags; whatever cannot be used is one clear line."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmtune import config_file, config_yaml
from vlmtune.config import RunConfig
from vlmtune.config_messages import keys_of
from vlmtune.errors import ConfigError
from vlmtune.types import Stage


@pytest.fixture
def written(tmp_path: Path):
    """Write a config file and give its path."""

    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def complaint(path: Path | None, **options) -> str:
    with pytest.raises(ConfigError) as caught:
        config_file.load(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_file_with_one_key_gets_all_defaults(written) -> None:
    assert config_file.load(written("stage: grpo")) == RunConfig(stage=Stage.GRPO)


def test_flags_win_over_set_and_set_over_the_file(written) -> None:
    path = written("stage: grpo\nseed: 1\ngrpo: {temperature: 0.1, top_p: 0.1}")
    config = config_file.load(
        path,
        overrides=["seed=2", "grpo.temperature=0.2"],
        flags={"seed": 3, "grpo.top_k": None},
    )
    assert (config.seed, config.grpo.temperature, config.grpo.top_p) == (3, 0.2, 0.1)


def test_the_last_of_two_overrides_counts() -> None:
    assert config_file.load(None, overrides=["stage=sft", "seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5),
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1_000", 1000),
        ("8", 8),
        ("true", True),
        ("~", None),
        ("[scenes, photos.jsonl]", ["scenes", "photos.jsonl"]),
        ("2024-01-01", "2024-01-01"),
        ("3b-4bit", "3b-4bit"),
        ("e5", "e5"),
        ("12e", "12e"),
        ("a: b: c", "a: b: c"),
        ("", None),
    ],
)
def test_a_scalar_means_what_people_mean(text: str, value: object) -> None:
    read = config_yaml.scalar(text)
    assert read == value
    assert type(read) is type(value)


@settings(deadline=None)  # A busy machine may pause in the middle of one example.
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_read_back(value: float) -> None:
    assert config_yaml.scalar(repr(value)) == value


def test_a_dataset_may_be_a_bare_name(written) -> None:
    for text in (
        "data: {datasets: [scenes, x.jsonl]}",
        "data: {datasets: [{name: scenes}, x.jsonl]}",
    ):
        config = config_file.load(written("stage: grpo\n" + text))
        assert [dataset.name for dataset in config.data.datasets] == ["scenes", "x.jsonl"]
    config = config_file.load(written("stage: sft\ndata: {datasets: x.jsonl}"))
    assert [dataset.name for dataset in config.data.datasets] == ["x.jsonl"]


def test_set_reaches_into_lists_and_options() -> None:
    config = config_file.load(
        None,
        overrides=[
            "stage=grpo",
            "data.datasets.0.split=test",
            "data.datasets.0.options.objects=3",
            "data.datasets.1.name=photos.jsonl",
        ],
    )
    first, second = config.data.datasets
    assert (first.name, first.split, first.options) == ("scenes", "test", {"objects": 3})
    assert second.name == "photos.jsonl"


def test_a_section_left_empty_keeps_its_defaults(written) -> None:
    assert config_file.load(written("stage: grpo\ngrpo:\ndata:\n")) == RunConfig(stage=Stage.GRPO)


def test_a_fallback_gives_way_to_the_file(written) -> None:
    path = written("stage: sft")
    assert config_file.resolve(path, fallbacks={"stage": "dpo"}).config.stage is Stage.SFT
    assert config_file.resolve(None, fallbacks={"stage": "dpo"}).config.stage is Stage.DPO


def test_the_rendered_config_is_read_back_the_same(written) -> None:
    config = config_file.load(
        None, overrides=["stage=dpo", "grpo.temperature=5e-5", "data.max_samples=null"]
    )
    assert config_file.load(written(config_file.render(config))) == config


def test_the_plain_config_is_json_and_is_read_back_the_same(written) -> None:
    config = RunConfig(stage=Stage.GRPO)
    text = json.dumps(config_file.as_dict(config))
    assert config_file.load(written(text)) == config


def test_an_unknown_key_names_its_line_its_neighbours_and_the_likely_one(written) -> None:
    path = written("stage: grpo\ngrpo:\n  num_generation: 8\n")
    line = complaint(path)
    assert line.startswith(f"unknown key 'grpo.num_generation' in {path} line 3; ")
    assert "did you mean 'grpo.num_generations'?" in line
    assert "Valid keys of grpo: num_generations, temperature" in line


def test_a_key_of_another_section_is_found(written) -> None:
    line = complaint(written("stage: grpo\nlabel_smoothing: 0.1"))
    assert "did you mean 'dpo.label_smoothing'?" in line


def test_a_key_like_no_other_gets_no_guess(written) -> None:
    line = complaint(written("stage: grpo\nzzz: 8"))
    assert "did you mean" not in line
    assert "Valid keys: stage, backend" in line


def test_an_unknown_key_in_a_list_is_named_with_its_place(written) -> None:
    line = complaint(written("stage: grpo\ndata:\n  datasets:\n  - scenes\n  - {name: a, splt: b}"))
    assert "unknown key 'data.datasets.1.splt'" in line
    assert "line 5; did you mean 'data.datasets.1.split'?" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grpo: {num_generations: '8'}", 'expected a whole number, found "8"'),
        ("grpo: {num_generations: 2.5}", "expected a whole number, found 2.5"),
        ("grpo: {num_generations: 1}", "expected 2 or more, found 1"),
        ("grpo: {temperature: 0}", "expected more than 0.0, found 0"),
        ("grpo: {temperature: .inf}", "expected a finite number"),
        ("grpo: {scale_rewards: std}", "expected 'group', 'batch' or 'none', found \"std\""),
        ("grpo: 5", "expected keys and values, found 5"),
        ("seed: true", "expected a whole number, found true"),
        ("tracking: {wandb: maybe}", 'expected true or false, found "maybe"'),
        ("model: {name: 3}", "expected text, found 3"),
        ("data: {datasets: 3}", "expected a list, found 3"),
        ("reward: {format_weight: 0.5}", "expected 0.2 or less, found 0.5"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_found(written, text: str, told: str) -> None:
    path = written(f"stage: grpo\n{text}")
    line = complaint(path)
    assert told in line
    assert f"in {path} line 2" in line


def test_a_second_mistake_is_named_too(written) -> None:
    line = complaint(written("stage: grpo\nseed: -1\ngrpo: {top_p: 2}"))
    assert line.startswith("seed in ")
    assert line.endswith("Wrong as well: 'grpo.top_p'")


def test_a_mistake_on_the_command_line_says_where_it_came_from(written) -> None:
    path = written("stage: grpo")
    assert "seed in --set seed=-3: expected 0 or more" in complaint(path, overrides=["seed=-3"])
    assert "seed in the command line: expected 0" in complaint(path, flags={"seed": -3})


def test_a_missing_stage_says_how_to_choose_one() -> None:
    assert "set stage: sft, dpo or grpo" in complaint(None)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("grpo..seed=1", "is not a key"),
        ("stage.x=1", "'stage' is 'grpo'"),
        ("data.datasets.5.name=x", "is a list of 1"),
        ("data.datasets.first.name=x", "'first' is no place in it"),
    ],
)
def test_a_set_that_leads_nowhere_is_refused(written, override: str, told: str) -> None:
    assert told in complaint(written("stage: grpo"), overrides=[override])


def test_a_missing_file_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    line = complaint(tmp_path / "absent.yaml")
    assert "absent.yaml' not found; paths start at" in line


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: 1\nseed: 2", "line 2 sets 'seed' again, first set in line 1"),
        ("grpo:\n  top_k: 1\n  top_p: 1\n  top_k: 2", "line 4 sets 'grpo.top_k' again"),
        ("seed: [1", "is not YAML"),
        ("\tseed: 1", "line 1 is not YAML"),
        ("- seed", "holds a list, expected keys and values"),
        ("grpo", "holds only 'grpo'"),
        ("on: 1", "a key that is not a word"),
        ("seed: &a [*a]", "refers to itself"),
        ("seed: !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_a_file_that_is_no_config_says_why(written, text: str, told: str) -> None:
    assert told in complaint(written(text))


def test_a_folder_and_a_binary_file_are_named(tmp_path: Path) -> None:
    assert "is a folder" in complaint(tmp_path)
    binary = tmp_path / "model.safetensors"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in complaint(binary)


def test_a_merge_key_is_honoured(written) -> None:
    config = config_file.load(written("stage: grpo\ngrpo: {<<: {top_k: 5}, temperature: 0.5}"))
    assert (config.grpo.top_k, config.grpo.temperature) == (5, 0.5)


def test_every_key_has_a_sentence_that_explains_it() -> None:
    def undocumented(model, prefix=""):
        for name, field in model.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and hasattr(inner, "model_fields"):
                assert inner.__doc__
                yield from undocumented(inner, f"{prefix}{name}.")
            elif not field.description:
                yield f"{prefix}{name}"

    assert list(undocumented(RunConfig)) == []


def test_all_keys_are_listed_with_their_sections() -> None:
    keys = list(keys_of(RunConfig))
    assert {"stage", "grpo.temperature", "data.datasets.0.name", "reward.type"} <= set(keys)
    assert len(keys) == len(set(keys))


def test_the_demo_config_loads_for_every_stage() -> None:
    demo = Path(__file__).parents[1] / "configs" / "demo.yaml"
    for stage in Stage:
        config = config_file.resolve(demo, fallbacks={"stage": stage.value}).config
        assert config.model.name == "pico"
    assert "stage" not in yaml.safe_load(demo.read_text(encoding="utf-8"))
