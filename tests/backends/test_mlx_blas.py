import os
import subprocess
import sys

import pytest

from vlmtune.backends.mlx.blas import OFF, find_openblas

PRODUCT = """
from vlmtune.backends.mlx.blas import prefer_openblas
placed = prefer_openblas()
import mlx.core as mx
a = mx.arange(12.0).reshape(3, 4) @ mx.arange(8.0).reshape(4, 2)
print(placed, a.tolist(), prefer_openblas())
"""
# Row 0 is (0, 1, 2, 3); its product with the columns (0, 2, 4, 6) and (1, 3, 5, 7) is 28 and 34.
ANSWER = "[[28.0, 34.0], [76.0, 98.0], [124.0, 162.0]]"

linux_only = pytest.mark.skipif(
    sys.platform != "linux" or find_openblas() is None,
    reason="only MLX's Linux wheel needs another BLAS, and only opencv-python brings one",
)


def run(**environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PRODUCT],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return result.stdout.strip()


@linux_only
def test_openblas_is_placed_before_mlx_and_gives_the_same_product():
    assert run() == f"True {ANSWER} False"


def test_it_can_be_switched_off():
    assert run(**{OFF: "0"}) == f"False {ANSWER} False"
