"""A group's answers scored behind one prompt: MLX against itself apart, and against PyTorch."""

from collections.abc import Callable
from functools import partial

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import torch
from mlx.utils import tree_flatten

from vlmtune.backends.mlx import model as mlx_model
from vlmtune.backends.mlx import prompt_once as mlx_side
from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.pytorch import model as torch_model
from vlmtune.backends.pytorch import prompt_once as torch_side
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.data.datasets import scenes
from vlmtune.language.prompts import build
from vlmtune.models.resolve import fetch, resolve
from vlmtune.types import Example, Prompt, Sampling

DRAWN = Sampling(samples=3, max_tokens=20, temperature=1.3, seed=2)
ASKED = [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    """One picture, no picture, two pictures."""
    rows = scenes.load(split="train", seed=5, options={}, skip=lambda *_: None)
    one, two, three = (next(rows) for _ in range(3))
    plain = Example(id="plain", question="Which colour is the sky?")
    both = Example(
        id="both", images=(*two.images, *three.images), question="Is there a red cube in both?"
    )
    return [build(row, style="spatial-v1") for row in (one, plain, both)]


@pytest.fixture(scope="module")
def loaded() -> mlx_model.LoadedModel:
    return mlx_model.load(fetch(resolve("pico", backend="mlx")))


@pytest.fixture(scope="module")
def answers(loaded, prompts) -> list[tuple[int, ...]]:
    """What the model says, some of it cut; the last answer is empty."""
    groups = MLXGenerator(loaded).generate(prompts, DRAWN)
    return [*[one.token_ids for group in groups for one in group][:-1], ()]


@pytest.fixture(scope="module")
def packing(loaded, prompts, answers) -> Callable[..., mlx_side.Packed]:
    inputs = {key: loaded.reader.read(prompt) for key, prompt in enumerate(prompts)}
    return partial(mlx_side.pack, loaded, inputs, ASKED, answers)


def value_and_gradient(loaded, packed) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Log-probabilities, and the gradient of half their squares by every weight."""
    found = []

    def loss(network) -> mx.array:
        logps_BC = mlx_side.score(loaded, packed, temperature=DRAWN.temperature)
        found.append(logps_BC)
        return 0.5 * logps_BC.square().sum()

    loaded.network.unfreeze()
    value, gradient = nn.value_and_grad(loaded.network, loss)(loaded.network)
    mx.eval(value, gradient)
    logps_BC = mlx_side.score(loaded, packed, temperature=DRAWN.temperature)
    return np.array(logps_BC), {
        name: np.array(array) for name, array in dict(tree_flatten(gradient)).items()
    }


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """Length of the difference, as a share."""
    assert one.keys() == other.keys()
    apart = sum(float(np.square(one[name] - other[name]).sum()) for name in one)
    return float(np.sqrt(apart / sum(float(np.square(array).sum()) for array in one.values())))


def test_a_prompt_computed_once_gives_what_a_row_per_answer_gives(loaded, packing, answers) -> None:
    once, gradient = value_and_gradient(loaded, packing(together=True))
    apart, plain = value_and_gradient(loaded, packing(together=False))
    assert once.shape == (9, max(map(len, answers)))
    assert np.abs(once - apart).max() < 1e-5
    assert once.mean() == pytest.approx(apart.mean(), abs=1e-6)
    assert distance(plain, gradient) < 1e-5


def test_log_probabilities_are_those_of_pytorch(loaded, packing, prompts, answers) -> None:
    other = torch_model.load(
        fetch(resolve("pico", backend="pytorch")), Loading(device="cpu", dtype="fp32")
    )
    inputs = {key: other.reader.read(prompt) for key, prompt in enumerate(prompts)}
    packed = torch_side.pack(other, inputs, ASKED, answers)
    with torch.no_grad():
        logits = other.network(**packed.inputs, use_cache=False).logits / DRAWN.temperature
        labels = packed.labels_RT.clamp(min=0)
        logps = logits.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
        expected = packed.unpack(logps, [len(ids) for ids in answers], max(map(len, answers)))
    found = np.array(mlx_side.score(loaded, packing(together=True), temperature=DRAWN.temperature))
    assert np.abs(found - expected.numpy()).max() < 1e-5
    assert (found[1][len(answers[1]) :] == 0).all()
    assert (found[-1] == 0).all()


def test_parts_of_the_vocabulary_s_logits_change_nothing(loaded, packing, monkeypatch) -> None:
    whole, gradient = value_and_gradient(loaded, packing(together=True))
    monkeypatch.setattr(mlx_side, "SCORED_POSITIONS", 7)
    parts, same = value_and_gradient(loaded, packing(together=True))
    assert np.abs(whole - parts).max() < 1e-5
    assert distance(gradient, same) < 1e-5


def test_answers_of_no_tokens_at_all_have_a_column_of_nothing(loaded, packing, answers) -> None:
    # MLX on a CPU sometimes never ends a sum over no columns; the run would hang.
    empty = partial(mlx_side.pack, loaded, packing.args[1], ASKED, [()] * len(answers))()
    assert np.array(mlx_side.score(loaded, empty)).tolist() == [[0.0]] * len(answers)
