"""Rows with no, one, two and four pictures in one batch: cut otherwise, they teach the same."""

import importlib.util
import json

import PIL.Image
import PIL.ImageDraw
import pytest

if importlib.util.find_spec("trl") is None:
    pytest.skip("TRL needs Python 3.11", allow_module_level=True)

SHARED = {
    "hardware.device": "cpu",
    "data.eval_fraction": 0.0,
    "training.max_steps": 2,
    "training.learning_rate": 1e-3,
    "training.lr_scheduler": "constant",
    "model.lora.rank": 2,
    "tracking.log_steps": 1,
    "reward.file": "letters.py",
    "grpo.num_generations": 2,
    "grpo.max_completion_length": 6,
    "grpo.num_iterations": 2,
    "grpo.temperature": 1.5,
}
CUTS = {
    "sft": ((4, 1), (1, 4)),
    "dpo": ((4, 1), (1, 4)),
    "grpo": ((8, 1), (2, 4)),
}
"""Stage -> batch sizes and batches of an update: everything at once, and piece by piece."""
REWARD = '''
def sum_of_letters(completions, **kwargs):
    """Earn something different for nearly every answer."""
    return [(sum(map(ord, text)) % 97) / 97 for text in completions]
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four rows; their pictures have different sizes, and so different numbers of tokens."""
    place = tmp_path_factory.mktemp("mixed")
    names = []
    for number, size in enumerate([(96, 64), (64, 64), (64, 128), (112, 84)]):
        picture = PIL.Image.new("RGB", size, "#ddd8cc")
        PIL.ImageDraw.Draw(picture).rectangle((8, 8, 30 + 4 * number, 40), fill="#c03030")
        names.append(f"{number}.png")
        picture.save(place / names[-1])
    rows = [
        {"id": f"row/{count}", "images": names[:count], "prompt": f"Question {count}: how many?",
         "answer": str(count), "rejected": f"There are {count + 3} of them"}
        for count in (0, 1, 2, 4)
    ]  # fmt: skip
    (place / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (place / "letters.py").write_text(REWARD)
    return place


def run(forked_runs, folder, stage, size, batches):
    """Train, and tell the numbers of every update."""
    flags = {"training.batch_size": size, "training.gradient_accumulation_steps": batches}
    words = [f"--set={key}={json.dumps(value)}" for key, value in (SHARED | flags).items()]
    words += ["--dataset=rows.jsonl", "--backend=pytorch", f"--output_dir={stage}-{size}"]
    done = forked_runs.start(stage, words, folder=str(folder))
    assert done.wait() == 0, forked_runs.said()
    lines = (folder / f"{stage}-{size}" / "metrics.jsonl").read_text().splitlines()
    return [(line["loss"], line["grad_norm"]) for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.parametrize("stage", list(CUTS))
def test_a_batch_of_mixed_rows_teaches_what_its_rows_teach_one_by_one(forked_runs, folder, stage):
    together, apart = (run(forked_runs, folder, stage, *cut) for cut in CUTS[stage])
    assert len(together) == 2
    for one, other in zip(together, apart, strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=1e-6)
