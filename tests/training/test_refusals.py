"""Settings that cannot be honoured are refused in one line, before any weight is looked at.

All of them go through the command line, in one process that tells whether an engine was imported
or a file of weights was opened.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

CHECKOUT = Path(__file__).parents[2]
BAD = [
    # The model and what of it moves.
    ("sft", "model.name=nosuchmodel", "'nosuchmodel' not found", "pico"),
    ("sft", "model.name=./nowhere", "./nowhere does not exist"),
    ("sft", "model.name=initialize", "no backend here can train", "pico"),
    ("sft", "model.nam=pico", "unknown key 'model.nam'", "did you mean 'model.name'"),
    ("sft", "model.tuning=qlora", "expected 'lora', 'dora' or 'full'", "qlora"),
    ("sft", "model.quantization=2bit", "'8bit' or '4bit'", "2bit"),
    ("sft", "model.quantization=4bit model.tuning=full", "cannot be trained themselves"),
    ("sft", "model.tuning=full model.dtype=fp16", "use bf16 or fp32"),
    ("sft", "model.attention=flash_attention_2", "flash_attn", "use sdpa"),
    ("sft", "model.attention=xformers", "'sdpa' or 'flash_attention_2'"),
    ("sft", "model.lora.rank=0", "model.lora.rank", "1 or more"),
    ("sft", "model.lora.dropout=1.0", "less than 1.0"),
    ("sft", "model.lora.target_modules=[]", "1 or more entries"),
    ("sft", "model.start_adapter=merge", "needs model.start_from"),
    ("dpo", "model.start_from=./nowhere", "does not exist", "name a run"),
    ("dpo", "model.start_from=. model.start_adapter=merge model.quantization=4bit",
     "full precision"),
    ("sft", "model.freeze_language=true", "all parts are frozen"),
    ("sft", "model.freeze_language=true model.freeze_projector=false",
     "has no place when vision and language are frozen"),
    ("sft", "model.freeze_vision=true training.lr_vision_backbone=1e-4",
     "model.freeze_vision is true"),
    ("sft", "model.freeze_projector=true training.lr_mp=1e-4", "model.freeze_projector is true"),
    ("sft", "model.tuning=full training.lr_lora=1e-4", "training.lr_lora", "no adapters"),
    ("sft", "model.min_pixels=9 model.max_pixels=8", "more than model.max_pixels 8"),
    # The optimizer.
    ("sft", "training.learning_rate=0", "training.learning_rate", "more than 0"),
    ("sft", "training.learning_rate=fast", "expected a number"),
    ("sft", "training.batch_size=0", "training.batch_size", "1 or more"),
    ("sft", "training.batch_size=2.5", "expected a whole number"),
    ("sft", "training.epochs=0", "training.epochs", "more than 0"),
    ("sft", "training.max_steps=0", "training.max_steps", "1 or more"),
    ("sft", "training.lr_scheduler=polynomial", "'cosine', 'linear' or 'constant'"),
    ("sft", "training.warmup_ratio=1.5", "less than 1.0"),
    ("sft", "training.warmup_steps=5 training.warmup_ratio=0.1", "keep one"),
    ("sft", "training.adam_beta2=1.0", "less than 1.0"),
    ("sft", "training.precision=int8", "'bf16', 'fp16' or 'fp32'"),
    ("sft", "training.precision=fp16 hardware.device=cpu", "trains on CUDA only", "use fp32"),
    ("sft", "training.global_batch_size=5 training.batch_size=2", "no multiple"),
    ("sft", "training.global_batch_size=4 training.gradient_accumulation_steps=3", "keep one"),
    ("sft", "training.max_length=10 training.max_prompt_length=20", "more than"),
    ("sft", "training.on_overlong=cut", "'error', 'drop' or 'resize'"),
    ("sft", "training.max_grad_norm=-1", "0.0 or more"),
    ("sft", "training.optimizer=lion", "unknown key 'training.optimizer'"),
    # DPO.
    ("dpo", "dpo.loss_type=kto_pair", "'sigmoid', 'hinge', 'ipo' or 'robust'"),
    ("dpo", "dpo.beta=0", "dpo.beta", "more than 0"),
    ("dpo", "dpo.label_smoothing=0.1 dpo.loss_type=hinge", "loss hinge has none"),
    ("dpo", "dpo.label_smoothing=0.6", "less than 0.5"),
    # GRPO.
    ("grpo", "grpo.loss_type=ppo", "'cispo' or 'sapo'"),
    ("grpo", "grpo.num_generations=1", "2 or more"),
    ("grpo", "grpo.temperature=0", "grpo.temperature", "more than 0"),
    ("grpo", "grpo.top_p=1.5", "1.0 or less"),
    ("grpo", "grpo.epsilon=1.0", "less than 1"),
    ("grpo", "grpo.epsilon_high=0.1", "less than grpo.epsilon 0.2"),
    ("grpo", "grpo.delta=1.1", "a cap below 1 + grpo.epsilon"),
    ("grpo", "grpo.loss_type=cispo grpo.epsilon_high=0.28", "caps every ratio below 1"),
    ("grpo", "grpo.importance_sampling_level=word", "'token' or 'sequence'"),
    ("grpo", "grpo.scale_rewards=row", "'group', 'batch' or 'none'"),
    ("grpo", "grpo.num_iterations=0", "1 or more"),
    ("grpo", "grpo.max_completion_length=0", "1 or more"),
    ("grpo", "grpo.resample_flat_groups=2 grpo.scale_rewards=batch", "scale_rewards: batch"),
    ("grpo", "training.global_batch_size=6 training.batch_size=2 grpo.num_generations=4",
     "no whole groups", "a multiple of 4"),
    ("grpo", "reward.type=spacial", "did you mean 'spatial'"),
    ("grpo", "reward.functions=[accuracy,formatt]", "did you mean 'format'"),
    ("grpo", "reward.weights=[1.0,2.0]", "reward.functions"),
    ("grpo", "reward.file=nowhere.py", "no such file"),
    ("grpo", "reward.format_weight=0.9", "0.2 or less"),
    ("grpo", "hardware.use_vllm=true hardware.vllm_mode=server", "vllm_server_url"),
    # The machine.
    ("sft", "hardware.nodes=2", "torchrun --nnodes 2"),
    ("sft", "hardware.fsdp=hybrid", "'full_shard' or 'shard_grad_op'"),
    ("sft", "hardware.deepspeed=zero2 hardware.fsdp=full_shard", "keep one of the two"),
    ("sft", "hardware.deepspeed=zero9", "neither zero2 nor zero3"),
    ("sft", "hardware.device=tpu", "'mps' or 'cpu'"),
    ("sft", "hardware.gpus=[0,1] hardware.processes=3", "one process drives one GPU"),
    # Evaluation, checkpoints, folders, rows.
    ("sft", "evaluation.strategy=steps data.eval_fraction=0", "no rows to evaluate on"),
    ("sft", "evaluation.strategy=often", "'no', 'steps' or 'epoch'"),
    ("sft", "save.push_to_hub=true", "Set save.hub_model_id"),
    ("sft", "save.steps=0", "save.steps", "1 or more"),
    ("sft", "tracking.log_steps=0", "tracking.log_steps", "1 or more"),
    *(
        (stage, f"tracking.{name}=true", f"{name}, which is not installed", "vlmtune[tracking]")
        for stage in ("sft", "dpo", "grpo")
        for name in ("wandb", "trackio")
        if importlib.util.find_spec(name) is None
    ),
    ("sft", "resume=must", "has no checkpoint", "--resume auto"),
    ("sft", "resume=./nowhere", "does not exist"),
    ("sft", "run_name=a/b", "run_name", "a name without slashes"),
    ("sft", "EXP_NAME=a/b", "EXP_NAME", "resuming finds nothing"),
    ("sft", "data.datasets=[scense]", "did you mean 'scenes'"),
    ("sft", "data.max_samples=0", "1 or more"),
    ("sft", "data.eval_fraction=1.0", "less than 1.0"),
    ("sft", "seed=-1", "0 or more"),
    ("sft", "stage=dpo", "use scripts/train_dpo.py"),
    ("sft", "prompt.style=spatial-v2", "'spatial-v1' or 'direct-v1'"),
]  # fmt: skip
PROBE = """
import contextlib, io, json, sys
from pathlib import Path
from vlmtune import cli

opened = []
def heard(event, arguments):
    if event == "open" and str(arguments[0]).endswith((".safetensors", ".bin", ".pt", ".pth")):
        opened.append(str(arguments[0]))
sys.addaudithook(heard)

for number, (stage, settings) in enumerate(json.load(sys.stdin)):
    words = ["--backend=pytorch", f"--output_dir=out{number}"]
    words += [f"--set={setting}" for setting in settings.split()]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(stage, checkout=Path(sys.argv[1]), argv=words)
    engines = {"torch", "transformers", "trl", "peft", "safetensors"} & set(sys.modules)
    print(json.dumps([code, said.getvalue(), sorted(engines), opened]))
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory) -> dict:
    """What the command line says to each, in the order of the table."""
    found = subprocess.run(
        [sys.executable, "-c", PROBE, str(CHECKOUT)],
        input=json.dumps([bad[:2] for bad in BAD]),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path_factory.mktemp("refusals"),
        env={"PYTHONPATH": str(CHECKOUT / "src"), "PATH": "", "HOME": "/nonexistent"},
    )
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    return {bad[:2]: line for bad, line in zip(BAD, lines, strict=True)}


@pytest.mark.parametrize(("stage", "settings", "words"), [(b[0], b[1], b[2:]) for b in BAD])
def test_a_bad_setting_is_refused_in_one_line(refusals, stage, settings, words):
    code, said, engines, opened = refusals[stage, settings]
    assert code == 2
    assert said.count("\n") == 1
    for word in words:
        assert word in said
    assert engines == []
    assert opened == []


def test_the_list_is_long_and_every_stage_is_in_it():
    assert len(BAD) >= 80
    assert {stage for stage, *_ in BAD} == {"sft", "dpo", "grpo"}
