"""Which weights move on PyTorch: adapters, parts, rates, 4-bit weights on a CPU."""

import hashlib
import re

import pytest
import torch

from vlmtune.backends.choices import Rates, Tuning
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import LoadedModel, load
from vlmtune.backends.pytorch.tuning import (
    adapt,
    merged,
    trained_counts,
    weight_groups,
)
from vlmtune.backends.targets import part_of, target_pattern
from vlmtune.errors import CheckpointError, ConfigError
from vlmtune.models.resolve import resolve
from vlmtune.types import Sampling

SHORT = ("q_proj", "down_proj")


@pytest.fixture
def pico() -> LoadedModel:
    return load(resolve("pico", backend="pytorch"), Loading(device="cpu"))


def trained(loaded: LoadedModel) -> list[str]:
    return [name for name, weight in loaded.network.named_parameters() if weight.requires_grad]


def vision_hash(loaded: LoadedModel) -> str:
    state = loaded.base.model.visual.state_dict()
    return hashlib.sha256(
        b"".join(state[name].numpy().tobytes() for name in sorted(state))
    ).hexdigest()


def test_an_adapter_on_short_names_leaves_the_vision_tower_alone(pico):
    loaded = adapt(pico, Tuning(rank=4, targets=SHORT), seed=0)
    names = trained(loaded)
    assert names and all("language_model" in name for name in names)
    assert {re.sub(r".*\.(\w+)\.lora_.*", r"\1", name) for name in names} == set(SHORT)
    # 5 layers; q_proj is 192 x 192 and down_proj 512 -> 192, each with two matrices of rank 4.
    assert trained_counts(loaded)["language"] == 5 * 4 * (192 + 192 + 512 + 192)


def test_a_frozen_tower_has_layers_of_the_same_short_names(pico):
    names = [name for name, _ in pico.base.named_modules() if name.endswith("down_proj")]
    pattern = target_pattern(names, pico.family, parts={"language"}, wanted={"down_proj"})
    inside = [name for name in names if part_of(name, pico.family) == "vision"]
    assert inside and not any(re.fullmatch(pattern, name) for name in inside)


def test_vision_is_adapted_when_asked_and_only_in_its_blocks(pico):
    loaded = adapt(pico, Tuning(rank=2, parts=frozenset({"vision"})), seed=0)
    names = trained(loaded)
    assert names and all("visual.blocks." in name for name in names)


def test_a_projector_beside_adapters_trains_its_own_weights(pico):
    parts = frozenset({"language", "projector"})
    loaded = adapt(pico, Tuning(rank=2, targets=SHORT, parts=parts), seed=0)
    own = [name for name in trained(loaded) if "lora_" not in name]
    assert own and all(part_of(name, pico.family) == "projector" for name in own)
    groups = weight_groups(loaded, Rates(default=1e-4, projector=5e-3), weight_decay=0.1)
    assert {group["name"]: (group["lr"], group["weight_decay"]) for group in groups} == {
        "language adapter": (1e-4, 0.1),
        "projector": (5e-3, 0.1),
        "projector, no decay": (5e-3, 0.0),
    }


def test_full_tuning_trains_exactly_the_parts_that_are_not_frozen(pico):
    loaded = adapt(pico, Tuning(method="full", parts=frozenset({"projector"})), seed=0)
    assert {part_of(name, pico.family) for name in trained(loaded)} == {"projector"}
    counts = trained_counts(loaded)
    assert counts["vision"] == counts["language"] == 0 < counts["projector"] < counts["all"]


def test_a_rate_that_no_weight_takes_is_refused(pico):
    loaded = adapt(pico, Tuning(rank=2, targets=SHORT), seed=0)
    with pytest.raises(ConfigError, match=r"training\.lr_mp is set and no weight"):
        weight_groups(loaded, Rates(default=1e-4, projector=1e-3), weight_decay=0.0)


def test_a_target_that_no_layer_has_is_refused_with_those_that_exist(pico):
    with pytest.raises(ConfigError, match=r"'qproj' is no linear layer.*down_proj.*v_proj"):
        adapt(pico, Tuning(targets=("qproj",)), seed=0)


def test_the_seed_decides_an_adapters_first_values(pico):
    again = load(resolve("pico", backend="pytorch"), Loading(device="cpu"))
    one, two = (adapt(model, Tuning(rank=2, targets=SHORT), seed=3) for model in (pico, again))
    pairs = zip(one.network.parameters(), two.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_a_new_adapter_changes_no_answer_and_generation_keeps_training_mode(pico, prompts, method):
    sampling = Sampling(samples=2, max_tokens=8, seed=1)
    before = TorchGenerator(pico).generate(prompts[:2], sampling)
    loaded = adapt(pico, Tuning(method=method, rank=2, targets=SHORT, dropout=0.5), seed=0)
    loaded.network.train()
    after = TorchGenerator(loaded).generate(prompts[:2], sampling)
    assert [[c.token_ids for c in g] for g in after] == [[c.token_ids for c in g] for g in before]
    assert loaded.network.training


def test_a_saved_adapter_continues_and_merges_to_the_same_answers(pico, prompts, tmp_path):
    loaded = adapt(pico, Tuning(rank=2, targets=SHORT), seed=0)
    with torch.no_grad():
        for name, weight in loaded.network.named_parameters():
            if "lora_B" in name:
                weight.normal_(0.0, 0.05)
    expected = TorchGenerator(loaded).score(prompts[:2], ["3", "yes"])
    loaded.network.save_pretrained(tmp_path)
    fresh = load(resolve("pico", backend="pytorch"), Loading(device="cpu"))
    continued = adapt(fresh, Tuning(), seed=0, adapter=tmp_path)
    assert trained(continued) == trained(loaded)
    for found, score in zip(
        TorchGenerator(continued).score(prompts[:2], ["3", "yes"]), expected, strict=True
    ):
        assert found == pytest.approx(score, abs=1e-6)
    base = load(resolve("pico", backend="pytorch"), Loading(device="cpu"))
    for found, score in zip(
        TorchGenerator(merged(base, tmp_path)).score(prompts[:2], ["3", "yes"]),
        expected,
        strict=True,
    ):
        assert found == pytest.approx(score, abs=1e-4)


def test_an_untrained_adapter_is_not_merged(pico, tmp_path):
    adapt(pico, Tuning(rank=2, targets=SHORT), seed=0).network.save_pretrained(tmp_path)
    base = load(resolve("pico", backend="pytorch"), Loading(device="cpu"))
    with pytest.raises(CheckpointError, match="changed no weight"):
        merged(base, tmp_path)


def test_four_bit_weights_train_on_a_cpu_and_leave_the_vision_tower_as_it_was(pico, prompts):
    before = vision_hash(pico)
    four = load(resolve("pico", backend="pytorch"), Loading(device="cpu", quantization="4bit"))
    assert vision_hash(four) == before
    layer = four.base.model.language_model.layers[0].mlp.down_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.weight.quant_state.quant_type == "nf4" and layer.weight.quant_state.nested
    loaded = adapt(four, Tuning(rank=2, targets=SHORT), seed=0)
    inputs = loaded.reader.read(prompts[1])
    out = loaded.network(
        input_ids=inputs.ids_T[None],
        mm_token_type_ids=inputs.token_types_T[None],
        **inputs.pictures,
    )
    out.logits.float().logsumexp(-1).mean().backward()
    gradients = [w.grad for w in loaded.network.parameters() if w.requires_grad]
    assert any(float(g.abs().max()) > 0 for g in gradients)
    assert vision_hash(four) == before
