"""A hundred held-out questions, answered by plain transformers and by ours on MLX."""

from itertools import islice

import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from vlmtune.backends import mlx as backend
from vlmtune.language import prompts
from vlmtune.models.resolve import PICO_FOLDER
from vlmtune.scenes.dataset import Scenes
from vlmtune.types import Example, Prompt, Sampling

QUESTIONS, TOGETHER, MOST_TOKENS = 100, 20, 96


def answers_of_transformers(asked: list[Prompt]) -> list[str]:
    """Generate greedily the way transformers' documentation shows, `TOGETHER` prompts at a time."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(PICO_FOLDER, dtype=torch.float32)
    # By its class: once mlx-vlm is imported, AutoProcessor gives its processor of MLX arrays.
    processor = Qwen2_5_VLProcessor.from_pretrained(PICO_FOLDER)
    texts = []
    for start in range(0, len(asked), TOGETHER):
        batch = asked[start : start + TOGETHER]
        inputs = processor(
            text=[
                processor.apply_chat_template(
                    list(prompt.messages), tokenize=False, add_generation_prompt=True
                )
                for prompt in batch
            ],
            images=[image.open() for prompt in batch for image in prompt.images],
            padding=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            ids = model.generate(**inputs, max_new_tokens=MOST_TOKENS, do_sample=False)
        ids = ids[:, inputs["input_ids"].shape[1] :]
        texts += processor.batch_decode(ids, skip_special_tokens=True)
    return texts


def test_a_hundred_greedy_answers_of_pico_are_identical_on_both_sides() -> None:
    rows: list[Example] = list(islice(Scenes(split="test", seed=11), QUESTIONS))
    asked = [prompts.build(row, style="spatial-v1") for row in rows]
    sampling = Sampling(max_tokens=MOST_TOKENS, temperature=0)
    generator = backend.load_generator("pico")
    ours = [group[0].text for group in generator.generate(asked, sampling)]
    theirs = answers_of_transformers(asked)
    # A model that said the same to everything would make this test worthless.
    assert len(set(theirs)) > QUESTIONS // 2
    assert ours == theirs
