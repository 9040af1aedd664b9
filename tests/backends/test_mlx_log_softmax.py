"""Log-probabilities and what is watched beside them, against float64."""

import mlx.core as mx
import numpy as np
import pytest
from scipy.special import log_softmax

from vlmtune.backends.mlx.log_softmax import log_probabilities, watched


@pytest.fixture(params=[5, 64, 704, 2001])
def logits(request) -> np.ndarray:
    return np.random.default_rng(request.param).normal(scale=6, size=(9, request.param))


def test_all_four_are_those_of_float64(logits) -> None:
    logits[0] = 0
    logits[0, 3] = 40
    ids = np.arange(9) % logits.shape[1]
    ids[0] = 3
    logps_NV = log_softmax(logits.astype(np.float32).astype(np.float64), axis=-1)
    found = np.array(watched(mx.array(logits.astype(np.float32)), mx.array(ids)))
    assert found[:, 0] == pytest.approx(logps_NV[np.arange(9), ids], rel=1e-5, abs=1e-6)
    assert found[:, 1] == pytest.approx(-(np.exp(logps_NV) * logps_NV).sum(-1), rel=1e-5, abs=1e-6)
    assert found[:, 2].tolist() == (logits.argmax(-1) == ids).tolist()
    assert found[0, 2] == 1
    assert found[:, 3] == pytest.approx(logits.mean(-1), rel=1e-4, abs=1e-5)


def test_only_the_log_probability_has_derivatives(logits) -> None:
    values, ids = mx.array(logits.astype(np.float32)), mx.array(np.arange(9) % logits.shape[1])
    own = mx.grad(lambda z: log_probabilities(z, ids).sum())(values)
    beside = mx.grad(lambda z: watched(z, ids).sum())(values)
    assert np.array_equal(np.array(own), np.array(beside))
    assert np.abs(np.array(own)).max() > 0.1
