"""What a training takes is added up beforehand, and said with numbers where it does not fit."""

from pathlib import Path

import mlx.core as mx
import pytest

from vlmtune.backends.choices import Tuning
from vlmtune.backends.mlx import failures, memory
from vlmtune.backends.mlx.loading import Loading
from vlmtune.errors import BackendUnavailable, ConfigError, RunFailed
from vlmtune.models.resolve import resolve

GIB = 2**30
PICO = 3_376_576
"""Weights of pico."""


def resting(loading=None, **tuning):
    return memory.resting(resolve("pico"), loading or Loading(dtype="fp32"), Tuning(**tuning))


def test_weights_gradients_and_moments_are_four_bytes_each():
    found = resting(method="full", parts=frozenset({"vision", "projector", "language"}))
    assert found.weights == pytest.approx(4 * PICO / GIB)
    assert found.moving == pytest.approx(12 * PICO / GIB)


def test_an_adapter_moves_little():
    # Rank 16 on every projection of six layers is 271,360 weights, as a run says.
    assert resting(rank=16).moving == pytest.approx(16 * 271_360 / GIB)
    assert resting(rank=16, targets=("q_proj",)).moving < resting(rank=16).moving


def test_four_bits_take_less_than_sixteen_and_sixteen_less_than_thirty_two():
    packed = Loading(dtype="fp32", bits=4)
    sizes = [resting(found).weights for found in (packed, Loading(dtype="bf16"), None)]
    assert sizes == sorted(sizes)


def test_layers_computed_twice_keep_less():
    folder = Path(resolve("pico").location)
    kept, again = (
        memory.activations_gib(folder, tokens=500, rows=4, width=4, checkpointing=checkpointing)
        for checkpointing in (False, True)
    )
    assert 0 < again < kept


def test_what_fits_is_silent_what_may_not_fit_is_told_and_what_cannot_is_refused():
    need = memory.Need(weights=6.0, moving=1.0, activations=3.0)
    assert memory.refuse_too_large("7b", need, limit=11.0) == ""
    assert "10.00 GiB (weights 6.00" in memory.refuse_too_large("7b", need, limit=9.5)
    with pytest.raises(BackendUnavailable, match=r"this machine gives MLX 8\.00 GiB; lower"):
        memory.refuse_too_large("7b", need, limit=8.0)


def test_a_run_that_took_more_than_there_is_ends_with_numbers():
    mx.eval(mx.zeros((1024, 1024)))
    with pytest.raises(RunFailed, match=r"out of memory at update 3: it took .* gives MLX 0\.00"):
        memory.watch(3, limit=0.001)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("[metal::malloc] Attempting to allocate 9 bytes"), "out of memory"),
        (MemoryError("std::bad_alloc"), "out of memory"),
        (OSError(28, "No space left on device"), "nothing can be written"),
    ],
)
def test_what_ran_out_is_said_in_one_line(error, said):
    with (
        pytest.raises(RunFailed, match=f"{said} at update 7") as caught,
        failures.explained(lambda: 7),
    ):
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [ConfigError("a setting"), ValueError("shapes differ")])
def test_everything_else_stays_what_it_is(error):
    with pytest.raises(type(error), match=str(error)), failures.explained(lambda: 7):
        raise error


def test_a_weight_that_is_no_number_is_named():
    weights = {"a": mx.zeros(2), "b": mx.array([1.0, float("nan")])}
    assert failures.lost_weight(weights) == "b"
    assert failures.lost_weight({"a": mx.zeros(2)}) == ""
