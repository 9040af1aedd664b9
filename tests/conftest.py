"""What several rooms' tests share: a tiny random Qwen2.5-VL in a folder, pictures, prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vlmtune.language.prompts import build
from vlmtune.types import Example, Kind, Prompt

Ask = Callable[..., Prompt]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
SENTENCES = (
    "Look at the image and answer the question. How many red cubes are there?",
    "First think inside <think></think> and then give the answer inside <answer></answer>.",
    "The blue sphere is left of the green cylinder. Answer yes or no. Answer with a number.",
    "system user assistant (A) (B) (C) (D) above below in front of behind 0 1 2 3 4 5 6 7 8 9",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2.5-VL of 2 million weights, as transformers 5 saves it: a nested config."""
    folder = tmp_path_factory.mktemp("tiny_qwen2_5_vl")
    vocabulary = _save_tokenizer(folder)
    _save_model(folder, vocabulary)
    return folder


def _save_tokenizer(folder: Path) -> dict[str, int]:
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    Qwen2VLImageProcessorPil(
        size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    ).save_pretrained(folder)
    return fast.get_vocab()


def _save_model(folder: Path, vocabulary: dict[str, int]) -> None:
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(vocabulary),
            "hidden_size": 192,
            "intermediate_size": 384,
            "num_hidden_layers": 5,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 6, 6],
            },
            "eos_token_id": vocabulary["<|im_end|>"],
            "bos_token_id": None,
        },
        vision_config={
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_heads": 4,
            "window_size": 112,
            "fullatt_block_indexes": [1, 3],
            "patch_size": 14,
            "out_hidden_size": 192,
        },
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    # The default spread of 0.02 gives nearly equal logits, whose order rounding could change.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0.0, 0.08)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.05)
    model.generation_config.eos_token_id = [vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]]
    model.save_pretrained(folder, safe_serialization=True)


@dataclass(frozen=True)
class Noise:
    """A picture of random pixels, the same for the same seed and size."""

    seed: int
    size: tuple[int, int] = (112, 112)

    @property
    def name(self) -> str:
        return f"noise/{self.seed}"

    def open(self) -> PIL.Image.Image:
        width, height = self.size
        pixels = np.random.default_rng(self.seed).integers(0, 256, (height, width, 3))
        return PIL.Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def make_noise() -> type[Noise]:
    return Noise


@pytest.fixture(scope="session")
def ask() -> Ask:
    def make(
        question: str = "How many red cubes are there?",
        *,
        name: str = "row/0",
        images: tuple[Noise, ...] = (),
        kind: Kind = Kind.COUNT,
    ) -> Prompt:
        example = Example(id=name, images=images, question=question, kind=kind)
        return build(example, style="spatial-v1")

    return make


@pytest.fixture(scope="session")
def prompts(ask: Ask) -> list[Prompt]:
    """Text only, one image, two images of unlike shapes, and a longer question."""
    return [
        ask(name="row/0"),
        ask("Is the sphere left of the cube?", name="row/1", images=(Noise(1),), kind=Kind.YES_NO),
        ask(name="row/2", images=(Noise(2, (90, 60)), Noise(3, (60, 140)))),
        ask(
            "Look at the image. How many blue spheres are in front of the green cylinder?",
            name="row/3",
            images=(Noise(4, (200, 100)),),
        ),
    ]
