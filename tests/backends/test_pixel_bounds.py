"""Bounds of pictures in a rehearsal: both engines see what training would, token for token."""

import dataclasses
import importlib

import PIL.Image
import pytest

from vlmtune.errors import ConfigError
from vlmtune.language.prompts import build
from vlmtune.types import Example

LIBRARY = {"mlx": "mlx_vlm", "pytorch": "torch"}


@dataclasses.dataclass(frozen=True)
class Plain:
    name: str = "plain"

    def open(self) -> PIL.Image.Image:
        return PIL.Image.new("RGB", (100, 60), "#806040")


def image_tokens(backend: str, **bounds: int) -> int:
    pytest.importorskip(LIBRARY[backend], reason="needs this engine")
    module = importlib.import_module(f"vlmtune.backends.{backend}")
    generator = module.load_generator("pico", **bounds)
    prompt = build(Example(id="a", question="What?", images=(Plain(),)), style="spatial-v1")
    return int(generator.encode(prompt, "").image_tokens)


@pytest.mark.parametrize("backend", ["mlx", "pytorch"])
def test_a_larger_lower_bound_makes_more_tokens_and_a_smaller_upper_one_fewer(backend) -> None:
    usual = image_tokens(backend)
    more = image_tokens(backend, min_pixels=168 * 168, max_pixels=224 * 224)
    fewer = image_tokens(backend, min_pixels=28 * 28, max_pixels=56 * 56)
    assert fewer < usual < more
    # 100 by 60 fits into 56 * 56 pixels as two patches of 28 by one, or by two.
    assert fewer <= 4


def test_both_engines_cut_the_same_tokens() -> None:
    bounds = {"min_pixels": 140 * 140, "max_pixels": 196 * 196}
    assert image_tokens("mlx", **bounds) == image_tokens("pytorch", **bounds)


@pytest.mark.parametrize("backend", ["mlx", "pytorch"])
def test_a_bound_that_contradicts_the_models_own_is_told(backend) -> None:
    with pytest.raises(ConfigError, match=r"model.min_pixels \d+ is more than model.max_pixels"):
        image_tokens(backend, min_pixels=10**8)
