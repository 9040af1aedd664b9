"""PyTorch's own decoding against transformers' full forward pass, and against MLX."""

import numpy as np
import pytest
import torch

from vlmtune.backends.pytorch import load_generator
from vlmtune.types import Sampling


def full_forward(generator, prompt, answer):
    """Log-probabilities of an answer at temperature 1 from one pass over prompt and answer."""
    loaded = generator._loaded
    inputs = loaded.reader.read(prompt)
    more = torch.tensor(answer)
    types = torch.cat([inputs.token_types_T, torch.zeros_like(more)])[None]
    with torch.no_grad():
        logits = loaded.network(
            input_ids=torch.cat([inputs.ids_T, more])[None],
            mm_token_type_ids=types,
            attention_mask=torch.ones_like(types),
            use_cache=False,
            **inputs.pictures,
        ).logits[0, len(inputs.ids_T) - 1 : -1]
    return logits.double()


@pytest.fixture(scope="module", params=["tiny", "pico"])
def generator(request, tiny_model_folder):
    return load_generator("pico" if request.param == "pico" else str(tiny_model_folder))


def test_recorded_log_probabilities_are_those_of_a_full_forward_pass(generator, prompts):
    sampling = Sampling(samples=2, max_tokens=12, temperature=0.7, seed=9)
    for prompt, group in zip(prompts, generator.generate(prompts, sampling), strict=True):
        for completion in group:
            logits = full_forward(generator, prompt, completion.token_ids) / 0.7
            expected = logits.log_softmax(-1)[range(len(logits)), list(completion.token_ids)]
            assert completion.logprobs == pytest.approx(expected.numpy(), abs=1e-4)


def test_greedy_answers_are_those_of_a_full_forward_pass(generator, prompts):
    for prompt, group in zip(
        prompts, generator.generate(prompts, Sampling(max_tokens=10, temperature=0)), strict=True
    ):
        logits = full_forward(generator, prompt, group[0].token_ids)
        logits[:, list(generator._loaded.suppressed)] = -torch.inf
        assert logits.argmax(-1).tolist() == list(group[0].token_ids)


def test_scores_are_those_of_a_full_forward_pass(generator, prompts):
    targets = ["3", "a longer answer that says nothing", "", "yes"]
    for prompt, target, score in zip(
        prompts, targets, generator.score(prompts, targets), strict=True
    ):
        ids = generator.encode(prompt, target).target_ids
        expected = full_forward(generator, prompt, ids).log_softmax(-1)[range(len(ids)), list(ids)]
        assert score == pytest.approx(expected.numpy(), abs=1e-4)


def test_equal_seeds_draw_the_same_answers_as_mlx(generator, tiny_model_folder, prompts):
    mlx = pytest.importorskip("vlmtune.backends.mlx", reason="compares with MLX").load_generator(
        generator.model.name
    )
    sampling = Sampling(samples=3, max_tokens=10, temperature=1.0, top_p=0.95, top_k=50, seed=4)
    drawn = [backend.generate(prompts, sampling) for backend in (generator, mlx)]
    ours, theirs = ([c.token_ids for g in groups for c in g] for groups in drawn)
    assert ours == theirs
    assert [generator.encode(p, "3") for p in prompts] == [mlx.encode(p, "3") for p in prompts]


def test_suppressed_tokens_are_never_drawn(generator, prompts):
    sampling = Sampling(samples=16, max_tokens=6, temperature=20.0, seed=0)
    drawn = generator.generate(prompts[1:2], sampling)[0]
    tokens = {token for completion in drawn for token in completion.token_ids}
    assert len(tokens) > 30
    assert not tokens & set(generator._loaded.suppressed)


def test_pictures_are_resized_by_pil_as_on_mlx(generator, prompts):
    pixels = generator._loaded.reader.read(prompts[1]).pictures["pixel_values"]
    picture = np.asarray(prompts[1].images[0].open(), dtype=np.float32) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    # 112 x 112 needs no resizing; the first patch is the upper left 14 x 14 pixels, shown twice.
    patch = ((picture - mean) / std)[:14, :14].transpose(2, 0, 1)
    assert pixels[0].reshape(3, 2, 14, 14)[:, 0].numpy() == pytest.approx(patch, abs=1e-5)
