"""What is written out for vLLM is the model that trains, also where its weights have 4 bits."""

import pytest

from vlmtune.backends import pytorch
from vlmtune.backends.choices import Tuning
from vlmtune.backends.pytorch.choices import Loading
from vlmtune.backends.pytorch.generate import TorchGenerator
from vlmtune.backends.pytorch.model import load
from vlmtune.backends.pytorch.tuning import adapt
from vlmtune.backends.pytorch.vllm_rollouts import adapter_weights, served_folder
from vlmtune.models.resolve import resolve

TARGETS = ["3", "yes", "a red cube", "no"]


def test_the_numbers_of_4_bit_weights_are_served(prompts):
    rounded = load(resolve("pico", backend="pytorch"), Loading(quantization="4bit"))
    adapted = adapt(rounded, Tuning(method="lora", rank=4), seed=0)
    with served_folder(adapted) as folder:
        served = pytorch.load_generator(str(folder)).score(prompts, TARGETS)
    for module in adapted.network.modules():
        # As a trainer does: else bitsandbytes computes with bf16 copies on a CPU.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    # A new adapter is 0, so these are the scores of the 4-bit weights below it.
    expected = TorchGenerator(adapted).score(prompts, TARGETS)
    plain = pytorch.load_generator("pico").score(prompts, TARGETS)
    for found, wanted, unrounded in zip(served, expected, plain, strict=True):
        assert found == pytest.approx(wanted, abs=1e-4)
        assert max(abs(one - other) for one, other in zip(found, unrounded, strict=True)) > 1e-3
    assert not folder.exists()


def test_weights_in_full_precision_are_served_from_where_they_lie():
    loaded = load(resolve("pico", backend="pytorch"), Loading())
    adapted = adapt(loaded, Tuning(method="lora", rank=4), seed=0)
    with served_folder(adapted) as folder:
        assert str(folder) == loaded.info.path
    names = adapter_weights(adapted)
    assert names
    assert all("language_model" in name for name in names)
