"""CLIP as a scorer, on a tiny one made here with random weights."""

import math

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
)

from vlmtune.backends.pytorch.clip import load_scorer
from vlmtune.errors import CheckpointError
from vlmtune.rewards import ExplanationReward
from vlmtune.types import Example

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny_clip")
    marks = ["<|startoftext|>", "<|endoftext|>"]
    names = [*LETTERS, *(letter + "</w>" for letter in LETTERS), *marks]
    vocabulary = {name: number for number, name in enumerate(names)}
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2}  # fmt: skip
    config = CLIPConfig(
        text_config=size | {
            "vocab_size": len(vocabulary), "max_position_embeddings": 24,
            "bos_token_id": vocabulary[marks[0]], "eos_token_id": vocabulary[marks[1]],
        },
        vision_config=size | {"image_size": 16, "patch_size": 8},
        projection_dim=12,
    )  # fmt: skip
    torch.manual_seed(0)
    model = CLIPModel(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(4.0)
    model.save_pretrained(path)
    CLIPProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
        ),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24),
    ).save_pretrained(path)
    return path


def picture(seed: int) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def test_similarities_are_the_models_own_cosines(folder) -> None:
    scorer = load_scorer(str(folder))
    images, texts = [picture(0), picture(1), picture(0)], ["cat", "a red bus", "cat"]
    found = scorer.similarities(images, texts)
    with torch.inference_mode():
        inputs = scorer.processor(text=texts, images=images, padding=True, return_tensors="pt")
        out = scorer.model(**inputs)
    expected = (out.image_embeds * out.text_embeds).sum(dim=-1).tolist()
    assert found == pytest.approx(expected, abs=1e-5)
    assert found[0] == pytest.approx(found[2], abs=1e-6)
    assert len({round(value, 4) for value in found}) == 2
    assert all(-1 <= value <= 1 for value in found)


def test_one_picture_and_many_texts_come_back_in_order(folder) -> None:
    scorer, one = load_scorer(str(folder)), picture(2)
    texts = [f"{letter} cat" for letter in LETTERS[:20]]
    together = scorer.similarities([one] * 20, texts)
    alone = [scorer.similarities([one], [text])[0] for text in texts]
    assert together == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("text", ["", "x" * 100_000, "có hai con mèo", "\ud83d\ude00".encode(
    "utf-16", "surrogatepass").decode("utf-16"), "\n\t"])  # fmt: skip
def test_any_text_has_a_finite_cosine(folder, text) -> None:
    assert math.isfinite(load_scorer(str(folder)).similarities([picture(0)], [text])[0])


def test_it_is_loaded_once_and_has_no_gradients(folder) -> None:
    scorer = load_scorer(str(folder))
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


def test_a_folder_without_a_clip_is_told(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be loaded .*reward.explanation.clip_model"):
        load_scorer(str(tmp_path))
