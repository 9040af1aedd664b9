"""Unlike prompts computed in one pass: the numbers of each alone, and a network that cannot."""

import logging
from dataclasses import replace

import pytest
import torch

from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.generate import TorchGenerator, inference
from vlmtune.backends.pytorch.model import LoadedModel, load
from vlmtune.backends.pytorch.proof import go_together
from vlmtune.models.resolve import resolve
from vlmtune.types import Kind, Sampling


@pytest.fixture(scope="module", params=["tiny", "pico"])
def loaded(request, tiny_model_folder) -> LoadedModel:
    name = "pico" if request.param == "pico" else str(tiny_model_folder)
    resolved = resolve(name, backend="pytorch")
    return load(resolved, Loading(device="cpu", dtype="fp32"))


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


def rounding(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference as a share of the largest number; float32 resolves 1e-7 of it."""
    assert one.shape == other.shape
    return float((one - other).abs().max() / one.abs().max())


def test_together_gives_the_logits_keys_and_values_of_each_alone(loaded, many):
    inputs = [loaded.reader.read(prompt) for prompt in many]
    # The premise: lengths differ, so some are filled up, and some have no picture.
    assert len({len(one.ids_T) for one in inputs}) > 4
    assert {bool(one.pictures) for one in inputs} == {True, False}
    with inference(loaded):
        found = loaded.prefill_together(inputs)
        alone = [loaded.prefill(one) for one in inputs]
    for one, shared in zip(alone, found, strict=True):
        assert (shared.next_position, shared.length) == (one.next_position, one.length)
        assert rounding(shared.logits_V, one.logits_V) < 3e-6
        for mine, theirs in zip(one.layers, shared.layers, strict=True):
            assert rounding(mine[0], theirs[0]) < 3e-6
            assert rounding(mine[1], theirs[1]) < 3e-6


def test_greedy_answers_are_those_of_one_prompt_at_a_time(loaded, many):
    sampling = Sampling(max_tokens=24, temperature=0)
    alone = [TorchGenerator(loaded).generate([prompt], sampling)[0][0] for prompt in many]
    for batch_rows in (3, 64):
        together = TorchGenerator(loaded, batch_rows=batch_rows).generate(many, sampling)
        assert [c.token_ids for (c,) in together] == [c.token_ids for c in alone]
        for (shared,), single in zip(together, alone, strict=True):
            assert shared.logprobs == pytest.approx(single.logprobs, abs=1e-4)


def test_all_pictures_go_through_the_tower_at_once(loaded, many, monkeypatch):
    generator = TorchGenerator(loaded)
    generator.generate(many[:2], Sampling(max_tokens=1))
    seen = []
    tower = type(loaded.base.model.visual)
    original = tower.forward

    def watching(self, pixels, grid_thw, **more):
        seen.append(len(grid_thw))
        return original(self, pixels, grid_thw, **more)

    monkeypatch.setattr(tower, "forward", watching)
    generator.generate(many, Sampling(max_tokens=1))
    assert seen == [sum(len(prompt.images) for prompt in many)]


class LooksAround:
    """A model whose tokens know of those behind them, as in families with a prefix mask."""

    def __init__(self, inner) -> None:
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __call__(self, **inputs):
        out = self._inner(**inputs)
        out.last_hidden_state = out.last_hidden_state + out.last_hidden_state.mean(1, keepdim=True)
        return out


class TakesOneAtATime(LooksAround):
    """A model written for one row."""

    def __call__(self, **inputs):
        if inputs.get("past_key_values") is None and len(inputs["input_ids"]) > 1:
            raise ValueError("one prompt only")
        return self._inner(**inputs)


class Network:
    """transformers' network with another model below its head."""

    def __init__(self, inner, model) -> None:
        self._inner = inner
        self.model = model

    def __getattr__(self, name):
        # A network with an adapter has this; asking for it tells the two apart.
        if name == "get_base_model":
            raise AttributeError(name)
        return getattr(self._inner, name)


def test_a_causal_network_may_share_a_pass(loaded, caplog):
    with caplog.at_level(logging.WARNING), inference(loaded):
        assert go_together(loaded)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("wrap", "reason"), [(LooksAround, "numbers differ by"), (TakesOneAtATime, "ValueError")]
)
def test_another_network_gets_its_prompts_one_by_one_and_answers_alike(
    loaded, many, caplog, wrap, reason
):
    other = replace(loaded, network=Network(loaded.network, wrap(loaded.network.model)))
    sampling = Sampling(max_tokens=1, temperature=0)
    alone = [TorchGenerator(other).generate([prompt], sampling)[0][0].token_ids for prompt in many]
    with caplog.at_level(logging.WARNING):
        together = TorchGenerator(other).generate(many, sampling)
    assert [c.token_ids for (c,) in together] == alone
    assert reason in caplog.text
    assert caplog.text.count("one by one") == 1


def test_a_single_prompt_does_not_pay_for_the_trial(loaded, prompts, monkeypatch):
    def refuse(self, several):
        assert len(several) == 1
        return original(self, several)

    original = LoadedModel.prefill_together
    monkeypatch.setattr(LoadedModel, "prefill_together", refuse)
    TorchGenerator(loaded).generate(prompts[:1], Sampling(max_tokens=2, samples=3))
