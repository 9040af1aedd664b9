"""Small copies of a run's pictures, as data URIs, within a budget for the whole page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import PIL.Image

from vlmtune.types import ImageRef

SIDES = (560, 400, 280, 200, 128)
"""Longest sides in pixels to try, until all pictures fit the budget."""
BUDGET_BYTES = 2_800_000
"""Encoded bytes of all pictures; base64 makes four of three."""
MOST_PICTURES = 400
"""Distinct pictures on one page; later ones show their name."""
_JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A picture that a page can hold.

    Attributes:
        uri: "data:image/jpeg;base64,..." or the same with png.
        width: Pixels of the copy.
        height: Pixels of the copy.
        original: Width and height of the picture itself.
    """

    uri: str
    width: int
    height: int
    original: tuple[int, int]


def make(images: Sequence[ImageRef], *, budget: int = BUDGET_BYTES) -> dict[str, Thumbnail]:
    """Copy each distinct picture once, as large as the budget allows for all of them.

    Args:
        images: Pictures; equal names are the same picture.
        budget: Bytes that all copies together may take, before base64.

    Returns:
        Picture name -> copy. Pictures that do not fit even at the smallest size are left out, the
        last ones first.

    Raises:
        DataError: If a picture cannot be opened.
    """
    distinct = list({image.name: image for image in images}.values())[:MOST_PICTURES]
    # Each is opened once and kept at the largest size only; smaller ones are made from that.
    large = {image.name: _opened(image) for image in distinct}
    encoded: dict[str, tuple[str, bytes, tuple[int, int]]] = {}
    for side in SIDES:
        encoded = {name: _encoded(picture, side) for name, (picture, _) in large.items()}
        if sum(len(data) for _, data, _ in encoded.values()) <= budget:
            break
    found: dict[str, Thumbnail] = {}
    spent = 0
    for name, (mime, data, size) in encoded.items():
        spent += len(data)
        if spent > budget:
            break
        uri = f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
        found[name] = Thumbnail(uri=uri, width=size[0], height=size[1], original=large[name][1])
    return found


def _opened(image: ImageRef) -> tuple[PIL.Image.Image, tuple[int, int]]:
    picture = image.open()
    original = picture.size
    picture.thumbnail((SIDES[0], SIDES[0]), PIL.Image.Resampling.LANCZOS)
    return picture, original


def _encoded(picture: PIL.Image.Image, side: int) -> tuple[str, bytes, tuple[int, int]]:
    """Encode as JPEG or PNG, whichever is smaller: drawings compress better as PNG."""
    small = picture.copy()
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    jpeg, png = io.BytesIO(), io.BytesIO()
    small.save(jpeg, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    small.save(png, "PNG", optimize=True)
    if len(png.getvalue()) < len(jpeg.getvalue()):
        return "image/png", png.getvalue(), small.size
    return "image/jpeg", jpeg.getvalue(), small.size
