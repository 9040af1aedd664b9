"""Files as other tools' users have them load as they are, and mean what they meant there."""

from pathlib import Path

import pytest

from vlmtune import cli, config_file
from vlmtune.config_labels import label
from vlmtune.errors import ConfigError

FILES = Path(__file__).parent / "fixtures" / "configs"
EXAMPLES = Path(__file__).parents[1] / "configs"
REFUSED = {
    "nanovlm_lab/sft_fresh.yaml": "'initialize' builds a new nanoVLM",
    "rlinf/fsdp_model_convertor.yaml": "the file of a checkpoint converter",
}


def names() -> list[str]:
    found = (path for path in FILES.rglob("*") if path.is_file())
    return sorted(path.relative_to(FILES).as_posix() for path in found)


def load(name: str, **options):
    return config_file.resolve(FILES / name, **options)


@pytest.mark.parametrize("name", [name for name in names() if name not in REFUSED])
def test_a_file_loads_and_says_what_was_translated(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(FILES / name), "--dry_run"]
    assert cli.main(None, checkout=tmp_path, argv=words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "note: " in said
    assert "\nstage: " in said


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_asks_for_what_is_not_here_says_what_to_use(name: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[name]):
        load(name)


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_our_own_example_of_a_stage_loads(stage: str) -> None:
    resolved = config_file.resolve(EXAMPLES / f"{stage}_config.yaml")
    assert resolved.translations == ()
    assert resolved.config.stage.value == stage
    assert resolved.config.output_dir == f"./outputs/{stage}"


def test_a_minimal_file_gets_defaults() -> None:
    config = load("nanovlm_lab/grpo_minimal.yaml").config
    assert (config.grpo.num_generations, config.grpo.beta) == (4, 0.1)
    assert (config.training.batch_size, config.training.learning_rate) == (1, 5e-6)
    assert config.data.datasets[0].name == "your_dataset"
    assert config.data.max_samples is None
    assert config.reward.file == "reward_functions.py"


def test_the_full_files_of_nanovlm_lab_keep_every_value() -> None:
    config = load("nanovlm_lab/grpo_full.yaml").config
    assert (config.model.tuning, config.model.lora.rank, config.model.lora.dropout) == (
        "lora", 16, 0.1,
    )  # fmt: skip
    assert config.training.max_prompt_length == 512
    assert config.data.preprocessing == "dataset_preprocessing.py"
    assert config.save.model_path == "./output/final_model"
    assert config.save.processor is True
    assert (config.tracking.tensorboard, config.tracking.wandb) == (True, False)
    assert (config.tracking.project, config.tracking.entity) == ("nanovlm-experiments", "someone")
    sft = load("nanovlm_lab/sft_full.yaml").config
    assert (sft.training.precision, sft.evaluation.strategy, sft.evaluation.steps) == (
        "bf16", "steps", 500,
    )  # fmt: skip
    assert sft.data.eval_datasets is not None
    assert sft.data.eval_split == "test"
    assert sft.tracking.wandb is True


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "gspo",
            "it is not GSPO; sequence: one ratio for each completion, which is GSPO (Group Seq",
        ),
        ("dapo", "DAPO: Decoupled clip and Dynamic sAmpling"),
        ("sapo", "Soft Adaptive Policy Optimization"),
    ],
)
def test_a_variant_is_labelled_by_what_it_is(name: str, told: str) -> None:
    assert told in label(load(f"nanovlm_lab/grpo_{name}.yaml").config)


def test_the_robot_file_is_read_with_its_references() -> None:
    config = load("rlinf/custom_sft_vlm.yaml").config
    assert config.training.epochs == 6000
    assert config.training.scheduler_steps == 6000
    assert config.training.max_steps is None
    assert (config.training.batch_size, config.training.global_batch_size) == (4, 256)
    assert (config.model.tuning, config.model.dtype) == ("full", "fp32")
    assert (config.training.precision, config.hardware.fsdp) == ("bf16", "no")
    assert config.training.warmup_steps == 200
    (source,) = config.data.datasets
    assert (source.name, source.options) == (
        "robo2vlm", {"path": "/path/to/Robo2VLM-1/train_data"},
    )  # fmt: skip
    assert config.data.answer_key == "correct_answer"
    assert (config.run_name, config.output_dir) == ("qwen2_5_vl_sft_demo", "../results")


def test_an_override_reaches_what_refers_to_it() -> None:
    config = load("rlinf/custom_sft_vlm.yaml", overrides=["runner.max_epochs=2"]).config
    assert (config.training.epochs, config.training.scheduler_steps) == (2, 2)


def test_without_training_rows_the_same_command_evaluates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(FILES / "rlinf" / "custom_sft_vlm.yaml")]
    words += ["data.train_data_paths=null", f"runner.logger.log_path={tmp_path / 'out'}"]
    assert cli.main(None, checkout=tmp_path, argv=[*words, "--model", "pico"]) == 2
    out, error = capsys.readouterr()
    assert "evaluation alone: python scripts/evaluate.py --model_path pico" in out
    assert "--benchmarks robo2vlm --data /path/to/Robo2VLM-1/test_data" in out
    assert "/path/to/Robo2VLM-1/test_data" in error


def test_variables_of_a_script_are_settings() -> None:
    config = load("vlm_r1/variables.yaml").config
    assert config.stage.value == "grpo"
    assert (config.run_name, config.hardware.gpus, config.hardware.processes) == (
        "internvl-vivqa", [2], 1,
    )  # fmt: skip
    assert config.data.datasets[0].options == {"image_folder": "/data/coco/train2014"}
    assert config.reward.functions == ["accuracy", "format", "explanation"]
    assert (config.resume, config.tracking.wandb, config.grpo.log_completions) == (
        "never", False, True,
    )  # fmt: skip
    assert (config.model.freeze_vision, config.training.learning_rate) == (True, 1e-6)


def test_a_launch_script_is_read_and_never_run() -> None:
    resolved = load("vlm_r1/run_grpo_rec_internvl.sh")
    config = resolved.config
    assert config.run_name == "InternVL3-1B-vivqa"
    assert config.output_dir == "checkpoints/rl/InternVL3-1B-vivqa"
    assert config.model.name == "OpenGVLab/InternVL3-1B"
    assert config.data.datasets[0].name == "/data/processed/ViVQA-X_train_grpo.jsonl"
    assert config.data.datasets[0].options == {"image_folder": "/data/COCO_Images/train2014"}
    assert config.hardware.deepspeed == "local_scripts/zero2.json"
    assert (config.training.max_steps, config.seed) == (2000, 42)
    assert [line.rpartition(": ")[2].partition(" ")[0] for line in resolved.left] == [
        "cd", "mkdir", "echo",
    ]  # fmt: skip


def test_a_rehearsals_rows_count_only_where_the_file_rehearses() -> None:
    config = load("qwenvl_sandbox/sft_config.yaml").config
    assert (config.debug, config.data.max_samples) == (False, None)
    config = load("qwenvl_sandbox/grpo_config.yaml").config
    assert (config.debug, config.data.max_samples, config.rehearsal.train_steps) == (True, 5, 2)


def test_the_sandbox_keeps_its_adapters_and_rewards() -> None:
    config = load("qwenvl_sandbox/sft_config.yaml").config
    assert (config.model.quantization, config.model.lora.rank) == ("4bit", 64)
    reward = load("qwenvl_sandbox/grpo_config.yaml").config.reward
    # 0.3 times the half that an answer off by one earned there.
    assert (reward.format_weight, reward.close_count) == (0.2, 0.15)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("actor: {micro_batchsize: 4}", "did you mean 'actor.micro_batch_size'?"),
        ("dataset: {train_data: x}", "did you mean 'dataset.train_data_path'?"),
        ("training: {per_device_train_batchsize: 4}", "'training.per_device_train_batch_size'?"),
        ("EXP_NAME: a/b", "resuming finds nothing"),
        ("run_name: a/b", "run_name in"),
        ("CUDA_VISIBLE_DEVICES: all", "expected numbers of GPUs like 0,1"),
        ("nproc_per_node: 2\nCUDA_VISIBLE_DEVICES: 0,1,2", "2 processes and 3 GPUs"),
        ("data_paths: a:b:c\nimage_folders: x:y", "'data_paths' has 3 files and"),
        ("defaults: [base]", "files are not composed"),
        ("cluster: {component_placement: {actor: 0-3}}", "choose GPUs with hardware.gpus"),
        ("actor: {fsdp_config: {sharding_strategy: hybrid_shard}}", "expected one of no_shard"),
        ("actor: {model: {precision: int4}}", "expected one of auto, bf16"),
        ("reward: {use_reward_model: true}", "rewards are functions"),
        ("save: {save_tokenizer: true, save_image_processor: false}", "the same setting; keep one"),
        ("seed: ${nowhere.key}", "refers to 'nowhere.key', which is not set"),
        ("seed: ${oc.env:NO_SUCH_VARIABLE}", "needs the variable NO_SUCH_VARIABLE"),
        ("run_name: ${run_name}", "refers to itself"),
        ("logging: {logging_dir: x}", "name that folder: output_dir"),
        ("training: {bf16: maybe}", "expected true or false"),
    ],
)
def test_what_cannot_be_read_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text(f"stage: grpo\n{text}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config_file.load(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("if true; then\n  EXP_NAME=a\nfi", "line 1 is 'if', which only a shell can run"),
        ("torchrun a.py --beta $BETA", "uses $BETA, which the script does not set"),
        ("N=$(nproc)\ntorchrun --nproc_per_node $N a.py", "which a command would have to compute"),
        ("python a.py --beta 1\npython b.py --beta 2", "line 2 is a second command"),
        ("echo 'open", "cannot be read"),
        ("echo nothing here", "has no training command and no variable"),
        ("python a.py --no_such_setting 3", "unknown key 'no_such_setting'"),
    ],
)
def test_a_script_that_must_be_run_to_be_understood_is_refused(
    text: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.sh"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config_file.load(path, flags={"stage": "grpo"})
    assert told in str(caught.value)


def test_a_variable_of_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("stage: sft\ntracking: {wandb: true}\n", encoding="utf-8")
    resolved = config_file.resolve(path, variables={"WANDB_DISABLED": "true"})
    assert resolved.config.tracking.wandb is False
    assert "WANDB_DISABLED is read as tracking.wandb: False" in map(str, resolved.translations)


def test_flags_of_other_trainers_are_settings() -> None:
    flags = {"stage": "grpo", "gradient_checkpointing": True, "data_paths": "a.jsonl:b.jsonl"}
    flags |= {"image_folders": "x", "resume_from_checkpoint": True}
    config = config_file.load(None, flags=flags)
    assert config.training.gradient_checkpointing is True
    assert [source.options for source in config.data.datasets] == [{"image_folder": "x"}] * 2
    assert config.resume == "must"
