"""Which weights moved, and how far, after one update of a real run of the scripts.

AdamW's first step moves a weight by its rate, whatever its gradient: the largest move of a part is
the rate that this part was trained at.
"""

import importlib.util
import json

import pytest
from safetensors.torch import load_file

from vlmtune.models.families import qwen2_5_vl
from vlmtune.models.resolve import PICO_FOLDER

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

ONE = {
    "hardware.device": "cpu",
    "data.max_samples": 2,
    "data.eval_fraction": 0.0,
    "training.max_steps": 1,
    "training.batch_size": 2,
    "training.max_grad_norm": 0.0,
    "training.learning_rate": 1e-3,
    "training.lr_scheduler": "constant",
    "model.lora.rank": 2,
    "tracking.log_steps": 1,
}
GROUPS = {
    "data.max_samples": 1,
    "training.batch_size": 4,
    "grpo.num_generations": 4,
    "grpo.max_completion_length": 8,
    "grpo.num_iterations": 2,
    "grpo.temperature": 1.5,
}
REWARD = '''
def sum_of_letters(completions, **kwargs):
    """Earn something different for nearly every answer, so that no group is flat."""
    return [(sum(map(ord, text)) % 97) / 97 for text in completions]
'''
FAMILY = qwen2_5_vl.FAMILY
PEFT = "base_model.model."


@pytest.fixture(scope="module")
def train(forked_runs, tmp_path_factory):
    """Run a stage and hand out its folder."""
    reward = tmp_path_factory.mktemp("reward") / "letters.py"
    reward.write_text(REWARD)

    def trained(stage, **flags):
        folder = tmp_path_factory.mktemp(stage) / "run"
        settings = ONE | (GROUPS | {"reward.file": str(reward)} if stage == "grpo" else {}) | flags
        words = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
        run = forked_runs.start(stage, [*words, "--backend=pytorch", f"--output_dir={folder}"])
        assert run.wait() == 0, forked_runs.said()
        return folder

    return trained


def part(name):
    """Say to which part a weight belongs; published files write `visual` for `model.visual`."""
    plain = name.removeprefix("model.")
    if plain.startswith("visual.merger."):
        return "projector"
    return "vision" if plain.startswith("visual.") else "language"


def largest(weight):
    return float(weight.abs().max())


def moves(folder):
    """Measure the largest move of each part of a model that was trained itself."""
    before, after = (load_file(f / "model.safetensors") for f in (PICO_FOLDER, folder))
    assert before.keys() == after.keys()
    found: dict[str, float] = {}
    for name, weight in after.items():
        moved = largest(weight - before[name].float())
        found[part(name)] = max(found.get(part(name), 0.0), moved)
    return found


def metrics(folder, name):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line[name] for line in map(json.loads, lines) if name in line]


def test_every_part_moves_at_its_own_rate(train):
    rates = {
        "training.lr_mp": 5e-3,
        "training.lr_vision_backbone": 5e-5,
        "training.lr_language_backbone": 2e-4,
    }
    found = moves(train("sft", **{"model.tuning": "full", **rates}))
    assert found == pytest.approx({"projector": 5e-3, "vision": 5e-5, "language": 2e-4}, rel=0.01)


@pytest.mark.parametrize(
    ("stage", "frozen", "moved"),
    [
        ("sft", ["vision"], {"projector", "language"}),
        ("sft", ["projector", "language"], {"vision"}),
        ("dpo", ["vision", "language"], {"projector"}),
        ("grpo", ["vision", "projector"], {"language"}),
    ],
    ids=["no-vision", "vision-alone", "projector-alone", "language-alone"],
)
def test_exactly_the_parts_that_are_not_frozen_move(train, stage, frozen, moved):
    flags = {f"model.freeze_{name}": True for name in frozen}
    found = moves(train(stage, **{"model.tuning": "full", **flags}))
    assert {name for name, far in found.items() if far > 0} == moved


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_adapters_and_the_projector_beside_them_take_their_rates(train, method):
    flags = {
        "model.tuning": method,
        "model.freeze_vision": False,
        "training.lr_lora": 3e-3,
        "training.lr_mp": 1e-3,
    }
    weights = load_file(train("sft", **flags) / "adapter_model.safetensors")
    # B begins at 0, so it is its own move.
    for root in (FAMILY.vision_module, FAMILY.language_module):
        ours = [w for name, w in weights.items() if f".{root}." in name and "lora_B" in name]
        assert max(map(largest, ours)) == pytest.approx(3e-3, rel=0.01)
    base = load_file(PICO_FOLDER / "model.safetensors")
    own = {name: w for name, w in weights.items() if ".visual.merger." in name and "lora_" not in
           name}  # fmt: skip
    assert own
    far = [largest(w - base[name.removeprefix(f"{PEFT}model.")].float()) for name, w in own.items()]
    assert max(far) == pytest.approx(1e-3, rel=0.01)
    assert any("magnitude" in name for name in weights) == (method == "dora")


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_recomputing_activations_changes_no_loss(train, stage):
    two = {"training.max_steps": 2, "model.tuning": "full", "training.learning_rate": 1e-5}
    kept = train(stage, **two)
    again = train(stage, **two, **{"training.gradient_checkpointing": True})
    for name in ("loss", "grad_norm"):
        assert metrics(again, name) == pytest.approx(metrics(kept, name), rel=1e-5, abs=1e-7)


def test_kernels_and_formats_agree_on_the_loss(train):
    exact = metrics(train("sft"), "loss")[0]
    eager = metrics(train("sft", **{"model.attention": "eager"}), "loss")[0]
    assert eager == pytest.approx(exact, rel=1e-5)
    half = {"training.precision": "bf16", "model.dtype": "bf16"}
    assert metrics(train("sft", **half), "loss")[0] == pytest.approx(exact, rel=0.05)
