"""Unlike prompts computed in one pass: the numbers of each alone, and a network that cannot."""

import logging
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest

from vlmtune.backends.mlx.generate import MLXGenerator
from vlmtune.backends.mlx.model import LoadedModel, load
from vlmtune.backends.mlx.packs import shared_head
from vlmtune.backends.mlx.proof import go_together
from vlmtune.models.resolve import PICO_FOLDER, resolve
from vlmtune.types import Kind, Sampling

MODELS = ["tiny", "pico"] if (PICO_FOLDER / "model.safetensors").is_file() else ["tiny"]


@pytest.fixture(scope="module", params=MODELS)
def loaded(request, tiny_model_folder) -> LoadedModel:
    folder = tiny_model_folder if request.param == "tiny" else PICO_FOLDER
    return load(resolve(str(folder)))


@pytest.fixture(scope="module")
def many(ask, prompts, make_noise):
    """Eight prompts: none to two pictures each, of many shapes."""
    shapes = [(56, 56), (140, 70), (70, 140), (112, 84)]
    more = [
        ask(
            "What is near it?" if place % 2 else "Is the red cube above the blue sphere, or not?",
            name=f"more/{place}",
            images=(make_noise(place, shape),),
            kind=Kind.OPEN,
        )
        for place, shape in enumerate(shapes)
    ]
    return [*prompts, *more]


def rounding(one: mx.array, other: mx.array) -> float:
    """Largest difference as a share of the largest number; float32 resolves 1e-7 of it."""
    assert one.shape == other.shape
    mine, theirs = np.asarray(one), np.asarray(other)
    return float(np.abs(mine - theirs).max() / np.abs(mine).max())


def test_together_gives_the_logits_keys_and_values_of_each_alone(loaded, many):
    inputs = [loaded.reader.read(prompt) for prompt in many]
    # The premise: lengths differ, so some are filled up, and a common beginning is computed apart.
    assert len({len(one.ids_T) for one in inputs}) > 4
    assert shared_head(inputs, image_token_id=loaded.reader.image_token_id) > 0
    for one, shared in zip(inputs, loaded.prefill_together(inputs), strict=True):
        alone = loaded.prefill(one)
        assert shared.next_position == alone.next_position
        assert rounding(shared.logits_V, alone.logits_V) < 3e-6
        for mine, theirs in zip(alone.layers, shared.layers, strict=True):
            assert rounding(mine.keys, theirs.keys) < 3e-6
            assert rounding(mine.values, theirs.values) < 3e-6


def test_greedy_answers_are_those_of_one_prompt_at_a_time(loaded, many):
    sampling = Sampling(max_tokens=24, temperature=0)
    alone = [MLXGenerator(loaded).generate([prompt], sampling)[0][0] for prompt in many]
    for batch_rows in (3, 64):
        together = MLXGenerator(loaded, batch_rows=batch_rows).generate(many, sampling)
        assert [c.token_ids for (c,) in together] == [c.token_ids for c in alone]
        for (shared,), single in zip(together, alone, strict=True):
            assert shared.logprobs == pytest.approx(single.logprobs, abs=1e-4)


def test_all_pictures_go_through_the_tower_at_once(loaded, many, monkeypatch):
    generator = MLXGenerator(loaded)
    generator.generate(many[:2], Sampling(max_tokens=1))
    seen = []
    tower = type(loaded.network.vision_tower)
    original = tower.__call__

    def watching(self, pixels, grids_N3):
        seen.append(len(grids_N3.tolist()))
        return original(self, pixels, grids_N3)

    monkeypatch.setattr(tower, "__call__", watching)
    generator.generate(many, Sampling(max_tokens=1))
    assert seen == [sum(len(prompt.images) for prompt in many)]


class LooksBothWays:
    """A language model whose prompts are not causal, as in families with a prefix mask."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __call__(self, ids, *, mask, cache, position_ids, inputs_embeds=None):
        if isinstance(mask, str):
            tokens = inputs_embeds.shape[1]
            mask = mx.ones((1, 1, tokens, cache[0].offset + tokens), dtype=mx.bool_)
        return self._inner(
            ids, inputs_embeds=inputs_embeds, mask=mask, cache=cache, position_ids=position_ids
        )


class TakesOneAtATime(LooksBothWays):
    """A language model written for one row."""

    def __call__(self, ids, *, mask, cache, position_ids, inputs_embeds=None):
        if inputs_embeds is not None and inputs_embeds.shape[0] > 1:
            raise ValueError("one prompt only")
        return self._inner(
            ids, inputs_embeds=inputs_embeds, mask=mask, cache=cache, position_ids=position_ids
        )


class Network:
    """mlx-vlm's network with another language model."""

    def __init__(self, inner, text) -> None:
        self._inner = inner
        self.language_model = Language(inner.language_model, text)

    def __getattr__(self, name):
        return getattr(self._inner, name)


class Language:
    def __init__(self, inner, text) -> None:
        self._inner = inner
        self.model = text

    def __getattr__(self, name):
        return getattr(self._inner, name)


def with_text_model(loaded: LoadedModel, wrap) -> LoadedModel:
    text = wrap(loaded.network.language_model.model)
    return replace(loaded, network=Network(loaded.network, text))


def test_a_causal_network_may_share_a_pass(loaded, caplog):
    with caplog.at_level(logging.WARNING):
        assert go_together(loaded)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("wrap", "reason"), [(LooksBothWays, "numbers differ by"), (TakesOneAtATime, "ValueError")]
)
def test_another_network_gets_its_prompts_one_by_one_and_answers_alike(
    loaded, many, caplog, wrap, reason
):
    other = with_text_model(loaded, wrap)
    sampling = Sampling(max_tokens=8, temperature=0)
    alone = [MLXGenerator(other).generate([prompt], sampling)[0][0].token_ids for prompt in many]
    with caplog.at_level(logging.WARNING):
        together = MLXGenerator(other).generate(many, sampling)
    assert [c.token_ids for (c,) in together] == alone
    assert "one by one" in caplog.text
    assert reason in caplog.text
    assert caplog.text.count("one by one") == 1


def test_a_single_prompt_does_not_pay_for_the_trial(loaded, prompts, monkeypatch):
    def refuse(self, several):
        assert len(several) == 1
        return original(self, several)

    original = LoadedModel.prefill_together
    monkeypatch.setattr(LoadedModel, "prefill_together", refuse)
    MLXGenerator(loaded).generate(prompts[:1], Sampling(max_tokens=2, samples=3))
