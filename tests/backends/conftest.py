"""Pictures, prompts and loaded generators for the backends' tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vlmtune.backends import mlx, pytorch, scripted
from vlmtune.backends.mlx.blas import prefer_openblas
from vlmtune.language.prompts import build
from vlmtune.protocols import Generator
from vlmtune.types import Example, Kind, Prompt

Ask = Callable[..., Prompt]

# MLX binds to its BLAS when it is first imported, and test files import it when they are collected.
prefer_openblas()


@dataclass(frozen=True)
class Noise:
    """A picture of random pixels, the same for the same seed and size."""

    seed: int
    size: tuple[int, int] = (112, 112)

    @property
    def name(self) -> str:
        return f"noise/{self.seed}"

    def open(self) -> PIL.Image.Image:
        width, height = self.size
        pixels = np.random.default_rng(self.seed).integers(0, 256, (height, width, 3))
        return PIL.Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="session")
def make_noise() -> type[Noise]:
    return Noise


@pytest.fixture(scope="session")
def ask() -> Ask:
    def make(
        question: str = "How many red cubes are there?",
        *,
        name: str = "row/0",
        images: tuple[Noise, ...] = (),
        kind: Kind = Kind.COUNT,
    ) -> Prompt:
        example = Example(id=name, images=images, question=question, kind=kind)
        return build(example, style="spatial-v1")

    return make


@pytest.fixture(scope="session")
def prompts(ask: Ask) -> list[Prompt]:
    """Text only, one image, two images of unlike shapes, and a longer question."""
    return [
        ask(name="row/0"),
        ask("Is the sphere left of the cube?", name="row/1", images=(Noise(1),), kind=Kind.YES_NO),
        ask(name="row/2", images=(Noise(2, (90, 60)), Noise(3, (60, 140)))),
        ask(
            "Look at the image. How many blue spheres are in front of the green cylinder?",
            name="row/3",
            images=(Noise(4, (200, 100)),),
        ),
    ]


@pytest.fixture(scope="session")
def tiny(tiny_model_folder: Path) -> Generator:
    return mlx.load_generator(str(tiny_model_folder))


@pytest.fixture(scope="session")
def tiny_torch(tiny_model_folder: Path) -> Generator:
    return pytorch.load_generator(str(tiny_model_folder))


@pytest.fixture(scope="session", params=["scripted", "mlx", "pytorch"])
def generator(request: pytest.FixtureRequest) -> Generator:
    if request.param == "scripted":
        return scripted.load_generator("any")
    return request.getfixturevalue("tiny" if request.param == "mlx" else "tiny_torch")
