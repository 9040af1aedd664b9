"""Accuracy, format and explanation over ViVQA-X rows, start to end, with a CLIP from a folder."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest

from vlmtune import cli
from vlmtune.data.datasets.vivqa_x import create_jsonl_for_grpo

CHECKOUT = Path(__file__).parents[2]
FIXTURE = runpy.run_path(str(CHECKOUT / "tests" / "fixtures" / "tiny_clip.py"))
# The scripted backend says such things to open questions.
ANSWERS = {
    "a red cube": ["I see a red cube in the picture", "a red cube stands there"],
    "a blue sphere": ["the sphere in the picture is blue", "a blue sphere lies on the left"],
    "two objects": ["there are two objects in the picture"],
}
SCRIPT = """
export DS_SKIP_CUDA_CHECK=1
data_paths="data/processed/ViVQA-X_train_grpo.jsonl"
image_folders="coco/train2014"
model_path="pico"
export EXP_NAME="InternVL3-1B-vivqa"
export DEBUG_MODE="true"
export CUDA_VISIBLE_DEVICES=2
torchrun --nproc_per_node="1" src/open_r1/grpo_jsonl.py \\
    --output_dir checkpoints/rl/${EXP_NAME} \\
    --resume_from_checkpoint False \\
    --model_name_or_path $model_path \\
    --data_file_paths $data_paths \\
    --image_folders $image_folders \\
    --per_device_train_batch_size 1 \\
    --gradient_accumulation_steps 8 \\
    --max_steps 2000 \\
    --num_generations 8 \\
    --max_completion_length 64 \\
    --reward_funcs accuracy format explanation \\
    --beta 0.04 \\
    --learning_rate 1e-6 \\
    --freeze_vision_modules true \\
    --push_to_hub false \\
    --hub_model_id YourUsername/YourModelName
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """ViVQA-X's train file, COCO's pictures, the GRPO file made of both, and a CLIP."""
    folder = tmp_path_factory.mktemp("vivqa")
    FIXTURE["save"](folder / "clip")
    (folder / "coco" / "train2014").mkdir(parents=True)
    rows = []
    for number, (answer, explained) in enumerate(ANSWERS.items()):
        name = f"COCO_train2014_{number:012d}.jpg"
        picture = PIL.Image.new("RGB", (64, 48), ("#a03020", "#2040a0", "#808060")[number])
        PIL.ImageDraw.Draw(picture).rectangle((8 + 9 * number, 6, 40, 36), fill="white")
        picture.save(folder / "coco" / "train2014" / name, quality=95)
        rows.append(
            {"question": f"cái gì ở trên bàn số {number}?", "image_id": str(number),
             "image_name": name, "answer": answer, "explanation": explained,
             "question_id": f"{number}001", "question_type": "what", "answer_type": "other"}
        )  # fmt: skip
    (folder / "data").mkdir()
    (folder / "data" / "ViVQA-X_train.json").write_text(json.dumps(rows), encoding="utf-8")
    create_jsonl_for_grpo("train", source=folder / "data", output=folder / "data" / "processed")
    (folder / "run.sh").write_text(SCRIPT)
    return folder


def samples(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def said(sample: dict, *, explained: bool) -> list[dict]:
    """The graded answers that answer, explain and are right."""
    return [
        answer
        for answer in sample["completions"]
        if ("<explain>" in answer["text"]) == explained and answer["parts"]["accuracy"]
    ]


def check(folder: Path, place: Path) -> None:
    """Every part of every reward is what its definition says; the picture's by transformers."""
    import torch
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(place / "clip").eval()
    processor = CLIPProcessor.from_pretrained(place / "clip")
    seen = []
    for sample in samples(folder):
        for answer in sample["completions"]:
            parts = answer["parts"]
            assert answer["reward"] == pytest.approx(
                0.45 * max(parts["accuracy"], parts["partial"])
                + 0.1 * parts["format"]
                + 0.45 * parts["explanation"]
            )
            formed = all(f"<{tag}>" in answer["text"] for tag in ("think", "answer", "explain"))
            assert parts["format"] == float(formed)
        for answer in said(sample, explained=True):
            text = answer["text"].partition("<explain>")[2].partition("</explain>")[0]
            picture = PIL.Image.open(sample["images"][0]).convert("RGB")
            inputs = processor(text=[text], images=[picture], return_tensors="pt")
            with torch.no_grad():
                cosine = float(model(**inputs).logits_per_text[0, 0] / model.logit_scale.exp())
            wanted = min(1.0, max(0.0, (100 * cosine - 15) / 20))
            # CLIPProcessor resizes with torchvision where it can, and not to the last bit alike.
            assert answer["parts"]["clip"] == pytest.approx(wanted, abs=0.05)
            assert answer["parts"]["explanation"] == pytest.approx(
                (answer["parts"]["cider"] + answer["parts"]["clip"]) / 2
            )
            seen.append((answer["parts"]["clip"], answer["parts"]["cider"]))
    assert len(seen) >= 3
    assert max(cider for _, cider in seen) > 0.5
    assert any(0.05 < clip < 0.95 for clip, _ in seen)


def test_a_launch_script_of_theirs_works_through_to_graded_rows(place, monkeypatch) -> None:
    monkeypatch.chdir(place)
    words = ["--config", "run.sh", "--debug", "--backend", "scripted", "--output_dir", "script",
             "--set", "reward.explanation.clip_model=clip",
             "--set", "grpo.temperature=2"]  # fmt: skip
    code = cli.main("grpo", checkout=CHECKOUT, argv=words)
    assert code in (0, 1)
    check(place / "script", place)
    run = json.loads((place / "script" / "run.json").read_text())
    assert run["details"]["reward"] == "0.45 accuracy + 0.1 format + 0.45 explanation"
    told = {check["name"]: check["status"] for check in run["checks"]}
    assert told["gold_answers"] == told["rewards_valid"] == told["empty_answer"] == "pass"


def test_the_same_typed_as_flags_loads_clip_once_and_asks_for_three_tags(
    place, monkeypatch
) -> None:
    from vlmtune.backends.pytorch.clip import load_scorer
    from vlmtune.rewards import initialize_explanation_scorer

    monkeypatch.chdir(place)
    for cached in (load_scorer, initialize_explanation_scorer):
        cached.cache_clear()
    words = ["--debug", "--backend", "scripted", "--output_dir", "flags",
             "--data_file_paths", "data/processed/ViVQA-X_train_grpo.jsonl",
             "--image_folders", "coco/train2014", "--num_generations", "8",
             "--reward_funcs", "accuracy", "format", "explanation",
             "--max_completion_length", "64", "--temperature", "2",
             "--set", "reward.explanation.clip_model=clip"]  # fmt: skip
    assert cli.main("grpo", checkout=CHECKOUT, argv=words) in (0, 1)
    check(place / "flags", place)
    assert load_scorer.cache_info().misses == 1
    assert initialize_explanation_scorer.cache_info().misses == 1
    assert initialize_explanation_scorer.cache_info().hits >= 3
    asked = samples(place / "flags")[0]["messages"]
    assert [message["role"] for message in asked] == ["system", "user"]
    # The question brings the rules for all three tags, so that ours must not forbid one of them.
    assert "<answer>" not in asked[0]["text"]
    assert all(f"<{tag}></{tag}>" in asked[1]["text"] for tag in ("think", "answer", "explain"))


def test_beside_mlx_in_one_process_the_picture_counts_the_same(place) -> None:
    pytest.importorskip("mlx_vlm", reason="only where MLX is installed")
    code = (
        "import sys; from pathlib import Path; from vlmtune import cli\n"
        f"cli.main('grpo', checkout=Path({str(CHECKOUT)!r}), argv=sys.argv[1:])\n"
        "assert 'mlx_vlm' in sys.modules\n"
        "import PIL.Image, json\n"
        "from vlmtune.backends.pytorch.clip import load_scorer\n"
        "assert load_scorer.cache_info().misses == 1\n"
        "name = 'coco/train2014/COCO_train2014_000000000000.jpg'\n"
        "picture = PIL.Image.open(name).convert('RGB')\n"
        "print(json.dumps(load_scorer('clip').similarities([picture], ['two objects'])))\n"
    )
    words = ["--debug", "--mlx", "--set", "model.name=pico", "--output_dir", "mlx",
             "--data_file_paths", "data/processed/ViVQA-X_train_grpo.jsonl",
             "--image_folders", "coco/train2014", "--num_generations", "2",
             "--reward_funcs", "accuracy", "format", "explanation",
             "--max_completion_length", "12", "--set", "rehearsal.temperatures=[]",
             "--set", "rehearsal.train_steps=0",
             "--set", "reward.explanation.clip_model=clip"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False,
        timeout=240, cwd=place, env=os.environ | {"PYTHONPATH": str(CHECKOUT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "gold_answers       all 3 gold answers earn full marks" in done.stdout
    from vlmtune.backends.pytorch.clip import load_scorer

    picture = PIL.Image.open(place / "coco/train2014/COCO_train2014_000000000000.jpg")
    expected = load_scorer(str(place / "clip")).similarities(
        [picture.convert("RGB")], ["two objects"]
    )
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-5)
