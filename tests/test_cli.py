"""What a person sees who types a command: help that runs, one line per mistake, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlmtune import cli, cli_flags
from vlmtune.config import RunConfig
from vlmtune.config_aliases import ALIASES
from vlmtune.errors import ConfigError

CHECKOUT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "mlx", "mlx_vlm", "rich", "jinja2", "pydantic", "numpy", "PIL"}


def run(*words: str, script: str = "train_grpo.py", cwd: Path = CHECKOUT):
    return subprocess.run(
        [sys.executable, CHECKOUT / "scripts" / script, *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        check=False,
    )


def complaint(*words: str, stage: str | None = "grpo") -> str:
    with pytest.raises(ConfigError) as caught:
        cli.parse(words, stage=stage)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("script", ["train.py", "train_sft.py", "train_dpo.py", "train_grpo.py"])
def test_help_opens_with_a_command_that_parses(script: str) -> None:
    done = run("--help", script=script)
    first = done.stdout.splitlines()[0]
    assert first.startswith(f"python scripts/{script} ")
    stage = script.removesuffix(".py").removeprefix("train").removeprefix("_") or None
    flags = cli.parse(first.split()[2:], stage=stage).flags
    assert flags["debug"] is True
    assert done.returncode == 0
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from pathlib import Path; from vlmtune import cli\n"
        "cli.main('grpo', checkout=Path('.'), argv=['--help'])\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "vlmtune" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--debug"], "debug", True),
        (["--mlx"], "backend", "mlx"),
        (["--backend", "scripted"], "backend", "scripted"),
        (["--model", "pico"], "model.name", "pico"),
        (["--max_samples", "5"], "data.max_samples", 5),
        (["--max-samples=5"], "data.max_samples", 5),
        (["--no_wandb"], "tracking.wandb", False),
        (["--no-wandb"], "tracking.wandb", False),
        (["--reward_type", "spatial"], "reward.type", "spatial"),
        (["--output_dir", "out-put"], "output_dir", "out-put"),
        (["--seed", "7"], "seed", 7),
        (["--num_generations", "4"], "grpo.num_generations", 4),
        (["--dataset", "a.jsonl"], "data.datasets", [{"name": "a.jsonl"}]),
        (["--sft_checkpoint", "./outputs/sft"], "model.start_from", "./outputs/sft"),
        (["--dpo_checkpoint", "./outputs/dpo"], "model.start_from", "./outputs/dpo"),
        (["--run_name", "try-2"], "run_name", "try-2"),
        (["--resume", "auto"], "resume", "auto"),
        (["--max_steps", "30"], "training.max_steps", 30),
        (["--epochs", "0.5"], "training.epochs", 0.5),
        (["--batch_size", "2"], "training.batch_size", 2),
        (["--learning_rate", "5e-6"], "training.learning_rate", 5e-6),
        (["--reward_funcs", "accuracy", "format"], "reward.functions", ["accuracy", "format"]),
    ],
)
def test_each_flag_sets_exactly_one_field(words: list[str], key: str, value: object) -> None:
    found = cli.parse(words, stage="grpo")
    flags = found.flags
    assert found.foreign == {}
    assert {name: given for name, given in flags.items() if given is not None} == {key: value}


def test_mlx_model_names_the_model_and_the_backend() -> None:
    flags = cli.parse(["--mlx_model", "7b-8bit"], stage="sft").flags
    given = {name: value for name, value in flags.items() if value is not None}
    assert given == {"model.name": "7b-8bit", "backend": "mlx"}


def test_datasets_add_up() -> None:
    flags = cli.parse(["--dataset", "a.jsonl", "--dataset", "scenes"], stage="sft").flags
    assert flags["data.datasets"] == [{"name": "a.jsonl"}, {"name": "scenes"}]


def test_the_demo_s_number_of_rows_is_not_for_other_data() -> None:
    words = ["--debug", "--dry_run", "--dataset", "a.jsonl"]
    assert "max_samples: null, max_samples_per_dataset" in run(*words).stdout
    assert "max_samples: 3, max_samples_per_dataset" in run(*words, "--max_samples", "3").stdout
    assert "max_samples: 16, max_samples_per_dataset" in run(*words[:2]).stdout


def test_set_keeps_its_dashes_and_its_order() -> None:
    words = ["--set", "model.name=a-b", "--set=seed=1"]
    assert cli.parse(words, stage="sft").overrides == ("model.name=a-b", "seed=1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--max_sample", "3"], "unknown flag '--max_sample'; did you mean '--max_samples'?"),
        (["--max", "3"], "unknown flag '--max'"),
        (["--max_samples", "five"], "invalid int value: 'five'"),
        (["--max_samples"], "expected one argument"),
        (["--mlx", "--backend", "scripted"], "not allowed with argument"),
        (["--mlx_model", "pico", "--backend", "scripted"], "--backend says scripted"),
        (["--model", "pico", "--mlx_model", "pico"], "not allowed with argument"),
        (["pico"], "'pico' stands alone"),
        (["--sft_checkpoint", "x", "--dpo_checkpoint", "y"], "not allowed with argument"),
        (["--config_path", "x"], "--config_path needs --config_name"),
        (["--resume_from_checkpont", "x"], "did you mean '--resume_from_checkpoint'?"),
    ],
)
def test_a_wrong_command_line_is_one_line(words: list[str], told: str) -> None:
    assert told in complaint(*words)


def test_a_reward_has_no_place_in_sft() -> None:
    assert "unknown flag '--reward_type'" in complaint("--reward_type", "spatial", stage="sft")
    assert "unknown flag '--sft_checkpoint'" in complaint("--sft_checkpoint", "x", stage="sft")


def test_flags_of_other_trainers_are_those_that_the_tables_know() -> None:
    known = {key for key in ALIASES if "." not in key}
    explicit = {
        name.removeprefix("--")
        for stage in (None, "sft", "dpo", "grpo")
        for name in cli_flags.parser(stage)._option_string_actions
    }
    # Sections and hydra's list are written in files only.
    assert known - explicit == {"defaults", "training_type"}
    assert set(cli_flags.FOREIGN) <= known | set(RunConfig.model_fields)


def test_flags_of_another_trainer_keep_their_words_as_typed() -> None:
    words = "--reward_weights 1 0.5 --gradient_checkpointing --nproc-per-node=2 --bf16 true"
    assert cli.parse(words.split(), stage="grpo").foreign == {
        "reward_weights": ("1", "0.5"),
        "gradient_checkpointing": (),
        "nproc_per_node": ("2",),
        "bf16": ("true",),
    }


def test_beta_is_that_of_the_stage() -> None:
    assert cli.parse(["--beta", "0.2"], stage="dpo").flags["dpo.beta"] == 0.2
    assert cli.parse(["--beta", "0.2"], stage="grpo").foreign == {"beta": ("0.2",)}


def test_bare_words_with_an_equals_sign_are_overrides() -> None:
    found = cli.parse(["runner.logger.log_path=out", "--set", "seed=1"], stage="sft")
    assert found.overrides == ("seed=1", "runner.logger.log_path=out")


def test_hydra_names_a_folder_and_a_file() -> None:
    words = ["--config-path", "examples/sft/config/", "--config-name", "custom_sft_vlm"]
    assert cli.parse(words, stage="sft").config == Path("examples/sft/config/custom_sft_vlm.yaml")


def test_a_backend_that_cannot_train_says_so_and_what_to_do() -> None:
    done = run("--backend", "scripted")
    assert done.returncode == 2
    assert done.stderr.startswith("BackendUnavailable: backend scripted cannot train grpo")
    assert "--debug" in done.stderr


def test_without_config_the_first_line_names_the_demo_and_the_flag_for_a_real_model() -> None:
    first = run("--dry_run").stdout.splitlines()[0]
    assert "configs/demo.yaml" in first
    assert "--model 3b-4bit" in first


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--debug", "--config", "absent.yaml"], "ConfigError: config 'absent.yaml' not found"),
        (["--debug", "--set", "grpo.temperatur=1"], "did you mean 'grpo.temperature'?"),
        (["--debug", "--set", "grpo.temperature=0"], "expected more than 0.0, found 0"),
        (["--debug", "--set", "stage=sft"], "use scripts/train_sft.py"),
        (["--debug", "--max_samples", "0"], "data.max_samples in the command line: expected 1"),
        (["--debug", "--dataset", "scens"], "did you mean 'scenes'?"),
        (["--debug", "--dataset", "absent.jsonl"], "absent.jsonl"),
        (["--debug", "--model", "3b-4bt"], "did you mean '3b-4bit'?"),
        (["--debug", "--reward_type", "spacial"], "did you mean 'spatial'?"),
        (["--debug", "--backend", "mxl"], "expected 'auto', 'mlx', 'pytorch' or 'scripted'"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(
    words: list[str], told: str, tmp_path: Path
) -> None:
    done = run("--output_dir", str(tmp_path / "out"), *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr + done.stdout


def test_scripts_run_from_any_folder_and_without_installation(tmp_path: Path) -> None:
    # -S leaves out site-packages, so that only the checkout can provide vlmtune.
    done = subprocess.run(
        [sys.executable, "-S", CHECKOUT / "scripts" / "train_grpo.py", "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_python_without_the_libraries_is_told_how_to_get_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", CHECKOUT / "scripts" / "train_grpo.py", "--debug"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("MissingDependency: ")
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_one_line_and_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    # Ctrl-C cannot be typed at a chosen moment, so it is raised where the config is read.
    monkeypatch.setattr("vlmtune.config_file.resolve", interrupted)
    assert cli.main("grpo", checkout=CHECKOUT, argv=["--debug"]) == cli.INTERRUPTED == 130
    assert capsys.readouterr().err.startswith("Interrupted: ")


def test_a_file_of_another_tool_says_what_was_translated(tmp_path: Path) -> None:
    config = tmp_path / "theirs.yaml"
    config.write_text(
        "training_type: grpo\nmodel: {model_name_or_path: pico}\ndata: {max_samples: 1}\n"
        "grpo: {num_generations: 2, max_new_tokens: 8}\nrehearsal: {temperatures: []}\n"
    )
    done = run(
        "--config", str(config), "--debug", "--backend", "scripted", "--output_dir",
        str(tmp_path / "out"), script="train.py",
    )  # fmt: skip
    assert "note: training_type is read as stage: 'grpo'" in done.stdout, done.stderr
    assert "note: grpo.max_new_tokens is read as grpo.max_completion_length: 8" in done.stdout
    assert "max_completion_length: 8," in done.stdout
    assert "Traceback" not in done.stderr
