"""CLIP as a scorer, on a tiny one made here with random weights."""

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoModel, CLIPModel, CLIPProcessor

from vlmtune.backends.pytorch.clip import load_scorer
from vlmtune.errors import CheckpointError
from vlmtune.rewards import ExplanationReward
from vlmtune.types import Example

FIXTURE = runpy.run_path(str(Path(__file__).parents[2] / "fixtures" / "tiny_clip.py"))
LETTERS = "abcdefghijklmnopqrst"
TEXTS = ("two cats sleep", "a red bus", "có hai con mèo trên ghế", "x" * 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return FIXTURE["save"](tmp_path_factory.mktemp("tiny_clip"))


def picture(seed: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def by_hand(folder, image: PIL.Image.Image, text: str) -> float:
    """What transformers' own CLIP says of a pair: its logit over its scale is the cosine."""
    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=[text], images=[image], truncation=True, return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
        return float(out.logits_per_image[0, 0] / model.logit_scale.exp())


def test_a_hundred_times_the_cosine_is_what_transformers_own_clip_says(folder) -> None:
    scorer = load_scorer(str(folder))
    images = [picture(seed) for seed, _ in enumerate(TEXTS)]
    found = scorer.similarities(images, TEXTS)
    expected = [by_hand(folder, *pair) for pair in zip(images, TEXTS, strict=True)]
    assert [100 * cosine for cosine in found] == pytest.approx(
        [100 * cosine for cosine in expected], abs=1e-3
    )
    assert len({round(cosine, 3) for cosine in found}) == len(TEXTS)


def test_a_picture_of_any_size_and_mode_is_resized_as_there(folder) -> None:
    drawn = PIL.Image.effect_mandelbrot((90, 50), (-2, -1.5, 1, 1.5), 60).convert("RGB")
    found = load_scorer(str(folder)).similarities([drawn], ["two cats sleep"])
    # The resizing of torchvision, which CLIPProcessor takes where it can, differs a little.
    assert found[0] == pytest.approx(by_hand(folder, drawn, "two cats sleep"), abs=0.01)


def test_what_mlx_vlm_does_to_processors_does_not_reach_it(folder) -> None:
    """In a process of its own: importing mlx-vlm changes AutoProcessor for good."""
    pytest.importorskip("mlx_vlm", reason="only where MLX is installed")
    code = f"""
import json, runpy, sys
import mlx_vlm
from mlx_vlm.models import base
from transformers import AutoProcessor, CLIPProcessor
class Other:
    @classmethod
    def from_pretrained(cls, *args, **more):
        return "a processor of MLX"
base.install_auto_processor_patch(["clip"], Other)
assert AutoProcessor.from_pretrained({str(folder)!r}) == "a processor of MLX"
from vlmtune.backends.pytorch.clip import load_scorer
scorer = load_scorer({str(folder)!r})
assert type(scorer.processor) is CLIPProcessor, type(scorer.processor)
make = runpy.run_path({__file__!r})["picture"]
print(json.dumps(scorer.similarities([make(0), make(1)], {list(TEXTS[:2])!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=180,
        env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    expected = [by_hand(folder, picture(seed), TEXTS[seed]) for seed in (0, 1)]
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-5)


def test_one_picture_and_many_texts_come_back_in_order(folder) -> None:
    scorer, one = load_scorer(str(folder)), picture(2)
    texts = [f"{letter} cat" for letter in LETTERS]
    together = scorer.similarities([one] * 20, texts)
    alone = [scorer.similarities([one], [text])[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_picture_is_encoded_once_however_often_it_is_opened(folder, monkeypatch) -> None:
    scorer = load_scorer(str(folder))
    scorer.encoded.clear()
    encode, seen = scorer.model.get_image_features, []

    def counted(**inputs):
        seen.append(len(inputs["pixel_values"]))
        return encode(**inputs)

    monkeypatch.setattr(scorer.model, "get_image_features", counted)
    first = scorer.similarities([picture(0), picture(1), picture(0)], ["cat", "cat", "dog"])
    again = scorer.similarities([picture(1), picture(0)], ["cat", "cat"])
    assert seen == [2]
    assert again == pytest.approx([first[1], first[0]], abs=1e-6)


@pytest.mark.parametrize("text", ["", "x" * 100_000, "có hai con mèo", "\ud83d\ude00".encode(
    "utf-16", "surrogatepass").decode("utf-16"), "\n\t"])  # fmt: skip
def test_any_text_has_a_finite_cosine(folder, text) -> None:
    assert math.isfinite(load_scorer(str(folder)).similarities([picture(0)], [text])[0])


def test_it_is_loaded_once_and_has_no_gradients(folder, monkeypatch) -> None:
    scorer = load_scorer(str(folder))
    monkeypatch.setattr(AutoModel, "from_pretrained", None)
    assert scorer is load_scorer(str(folder))
    assert not any(weights.requires_grad for weights in scorer.model.parameters())
    assert not scorer.model.training


def test_the_explanation_reward_uses_it(folder) -> None:
    class Drawn:
        name = "drawn"

        def open(self):
            return picture(0)

    gold = "<answer>cat</answer><explain>a cat sits on a mat</explain>"
    row = Example(id="a", question="?", answer=gold, images=(Drawn(),))
    reward = ExplanationReward(alpha=0.0, clip_model=str(folder)).prepared([row])
    score = reward.score(row, "<think>a</think><answer>cat</answer><explain>it sits</explain>")
    cosine = load_scorer(str(folder)).similarities([picture(0)], ["it sits"])[0]
    assert score.value == pytest.approx(min(1.0, max(0.0, (100 * cosine - 15) / 20)), abs=1e-6)


def test_a_model_that_compares_nothing_is_told(tmp_path) -> None:
    from transformers import BertConfig, BertModel

    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(vocab_size=9, intermediate_size=8, **size)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"is BertModel, which does not compare pictures"):
        load_scorer(str(tmp_path))


def test_a_clip_without_its_processor_is_told(folder, tmp_path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"cannot be loaded .*reward.explanation.clip_model"):
        load_scorer(str(tmp_path))


def test_a_folder_without_a_clip_is_told(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be loaded .*reward.explanation.clip_model"):
        load_scorer(str(tmp_path))
