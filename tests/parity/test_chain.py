"""SFT on MLX, DPO on PyTorch, GRPO on MLX: a chain that changes its machine at every stage."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import mlx.core as mx
import numpy as np
import peft
import pytest
import torch
import yaml
from rich.console import Console
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from vlmtune import config_file
from vlmtune.backends.mlx import adapted
from vlmtune.backends.mlx.model import load as load_mlx
from vlmtune.backends.select import select
from vlmtune.language import prompts
from vlmtune.models.resolve import PICO_FOLDER, resolve
from vlmtune.scenes.dataset import Scenes
from vlmtune.training import train
from vlmtune.types import Prompt, Sampling

pytest.importorskip("trl", reason="TRL needs Python 3.11")

STAGES = ("sft", "dpo", "grpo")
WHERE = {"sft": "mlx", "dpo": "pytorch", "grpo": "mlx"}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much of each stage, and how many questions afterwards."""

    updates: dict[str, int]
    batch: dict[str, int]
    questions: int


SMALL = Size(
    updates={"sft": 3, "dpo": 2, "grpo": 2},
    batch={"sft": 8, "dpo": 4, "grpo": 8},
    questions=40,
)
FULL = Size(
    updates={"sft": 40, "dpo": 25, "grpo": 15},
    batch={"sft": 32, "dpo": 16, "grpo": 64},
    questions=500,
)


@pytest.fixture(
    scope="module",
    params=[pytest.param(SMALL, id="small"), pytest.param(FULL, id="full", marks=pytest.mark.long)],
)
def size(request) -> Size:
    return request.param


@pytest.fixture(scope="module")
def chain(size, tmp_path_factory) -> dict[str, Path]:
    """Train the stages, one file of settings each, each from the run before it."""
    place = tmp_path_factory.mktemp("chain")
    folders: dict[str, Path] = {}
    for stage in STAGES:
        settings = {
            "stage": stage,
            "backend": WHERE[stage],
            "output_dir": str(place / stage),
            "model": {"name": "pico", "lora": {"rank": 8, "alpha": 16}},
            "hardware": {"device": "cpu"} if WHERE[stage] == "pytorch" else {},
            "data": {
                "datasets": [{"name": "scenes", "split": f"train-{stage}"}],
                "max_samples": size.updates[stage] * size.batch[stage],
                "eval_fraction": 0.0,
            },
            "training": {
                "batch_size": size.batch[stage],
                "max_steps": size.updates[stage],
                "learning_rate": 1e-3,
            },
            "grpo": {"num_generations": 4, "max_completion_length": 48},
            "save": {"steps": 100},
        }
        before = list(folders.values())[-1:]
        if before:
            settings["model"]["start_from"] = str(before[0])
        path = place / f"{stage}.yaml"
        path.write_text(yaml.safe_dump(settings))
        train.run(config_file.load(path, flags={}), console=Console(quiet=True))
        folders[stage] = place / stage
    return folders


@pytest.fixture(scope="module")
def asked(size) -> list[Prompt]:
    rows = islice(Scenes(split="test", seed=13), size.questions)
    return [prompts.build(row, style="spatial-v1") for row in rows]


def plain_logits(adapter: Path, prompt: Prompt) -> np.ndarray:
    """The next token's logits by transformers and peft as their documentation uses them."""
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(PICO_FOLDER, dtype=torch.float32)
    network = peft.PeftModel.from_pretrained(base, adapter).eval()
    processor = Qwen2_5_VLProcessor.from_pretrained(PICO_FOLDER)
    text = processor.apply_chat_template(
        list(prompt.messages), tokenize=False, add_generation_prompt=True
    )
    inputs = processor(
        text=[text], images=[image.open() for image in prompt.images], return_tensors="pt"
    )
    with torch.no_grad():
        return network(**inputs).logits[0, -1].numpy()


def mlx_logits(prompt: Prompt, adapter: Path | None = None) -> np.ndarray:
    loaded = load_mlx(resolve("pico"))
    if adapter is not None:
        adapted.load_adapter(loaded.network, adapter)
    found = loaded.prefill(loaded.reader.read(prompt)).logits_V
    mx.eval(found)
    return np.array(found)


def test_every_stage_goes_on_from_the_one_before_whatever_trained_it(chain):
    for before, stage in zip((None, *STAGES), STAGES, strict=False):
        found = json.loads((chain[stage] / "run.json").read_text())
        assert found["backend"] == WHERE[stage]
        if before is None:
            assert found["parent"] is None
        else:
            assert found["parent"]["stage"] == before
            assert found["parent"]["folder"] == str(chain[before])


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_trained_has_one_meaning_everywhere(chain, asked, stage):
    mine, theirs = mlx_logits(asked[0], chain[stage]), plain_logits(chain[stage], asked[0])
    np.testing.assert_allclose(mine, theirs, atol=1e-4, rtol=0)
    # An adapter that changed nothing would agree as well.
    assert np.abs(mine - mlx_logits(asked[0])).max() > 1e-2


def test_both_sides_give_the_same_answers_after_the_last_stage(chain, asked):
    greedy = Sampling(max_tokens=96, temperature=0.0)
    answers = {
        name: [
            group[0].text
            for group in select(name)
            .backend.load_generator("pico", adapter=chain["grpo"])
            .generate(asked, greedy)
        ]
        for name in ("mlx", "pytorch")
    }
    assert len(set(answers["mlx"])) > len(asked) // 4
    assert answers["mlx"] == answers["pytorch"]
