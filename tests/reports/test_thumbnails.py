import base64
import io
from dataclasses import dataclass

import numpy as np
import PIL.Image

from vlmtune.reports.thumbnails import make


@dataclass(frozen=True)
class Drawn:
    name: str
    picture: PIL.Image.Image

    def open(self) -> PIL.Image.Image:
        return self.picture.copy()


def noise(name: str, size: tuple[int, int]) -> Drawn:
    pixels = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Drawn(name, PIL.Image.fromarray(pixels))


def decoded(uri: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_large_picture_is_scaled_and_keeps_its_shape() -> None:
    found = make([noise("a", (2000, 1000))])["a"]
    assert (found.width, found.height, found.original) == (560, 280, (2000, 1000))
    assert decoded(found.uri).size == (560, 280)


def test_a_small_picture_is_not_enlarged() -> None:
    assert make([noise("a", (30, 20))])["a"].width == 30


def test_plain_drawings_become_png_and_photographs_jpeg() -> None:
    plain = Drawn("plain", PIL.Image.new("RGB", (200, 200), "red"))
    found = make([plain, noise("photo", (200, 200))])
    assert found["plain"].uri.startswith("data:image/png;")
    assert found["photo"].uri.startswith("data:image/jpeg;")


def test_equal_names_are_copied_once() -> None:
    assert list(make([noise("a", (9, 9)), noise("a", (9, 9)), noise("b", (9, 9))])) == ["a", "b"]


def test_all_pictures_shrink_until_they_fit_the_budget() -> None:
    pictures = [noise(f"{index}", (400, 400)) for index in range(4)]
    found = make(pictures, budget=60_000)
    assert len(found) == 4
    assert {copy.width for copy in found.values()} <= {200, 128}
    assert sum(len(copy.uri) for copy in found.values()) < 60_000 * 4 / 3 + 4 * 30


def test_what_does_not_fit_at_all_is_left_out_from_the_end() -> None:
    pictures = [noise(f"{index}", (400, 400)) for index in range(4)]
    assert list(make(pictures, budget=20_000))[:1] == ["0"]
    assert len(make(pictures, budget=20_000)) < 4
