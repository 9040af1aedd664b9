"""A list of bad pictures and addresses: each costs one row, with a reason, and nothing else.

Every bad picture is put between two good rows: the run must keep both and count exactly one skip.
"""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

GOOD = {"prompt": "Good?", "answer": "A"}


def encoded(image: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def claimed(width: int, height: int, *, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG whose header claims a size and whose body is next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        total = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", total)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


PLAIN = PIL.Image.linear_gradient("L").convert("RGB")
JPEG = encoded(PLAIN, "JPEG")
PNG = encoded(PLAIN)
FILES: dict[str, bytes | None] = {
    "good.png": PNG,
    "empty.png": b"",
    "text.png": b"<html>not found</html>",
    "zeros.png": b"\0" * 500,
    "cut.jpg": JPEG[: len(JPEG) // 2],
    "head.jpg": JPEG[:20],
    "mark.jpg": b"\xff\xd8\xff",
    "cut.png": PNG[:200],
    "sign.png": PNG[:8],
    "cut.webp": encoded(PLAIN, "WEBP")[:60],
    "cut.gif": encoded(PLAIN.convert("P"), "GIF")[:40],
    "cut.bmp": encoded(PLAIN, "BMP")[:80],
    "cut.tif": encoded(PLAIN, "TIFF")[:100],
    "cut.ppm": encoded(PLAIN, "PPM")[:60],
    "bomb.png": claimed(60_000, 60_000),
    "wide.png": claimed(2_000_000_000, 2),
    "thin.png": encoded(PIL.Image.new("RGB", (1000, 2))),
    "none.png": claimed(0, 10),
    "float.tif": encoded(PIL.Image.new("F", (8, 8), 0.5), "TIFF"),
    "deep.tif": encoded(PIL.Image.new("I", (8, 8), 1_000_000), "TIFF"),
    "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf.png": b"%PDF-1.7\n",
    "zip.png": b"PK\x03\x04" + b"\0" * 60,
    "exe.png": b"\x7fELF" + b"\0" * 60,
    "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "heic.jpg": b"\0\0\0\x18ftypheic" + b"\0" * 60,
    "flip.png": PNG[:60] + bytes(255 - value for value in PNG[60:90]) + PNG[90:],
    "trail.png": PNG[:-30] + b"\0" * 30,
    "folder.png": None,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bad")
    for name, data in FILES.items():
        if data is None:
            (place / name).mkdir()
        else:
            (place / name).write_bytes(data)
    (place / "loop.png").symlink_to(place / "loop.png")
    return place


def pictured(image: Any) -> dict[str, Any]:
    return {**GOOD, "image": image}


BAD_PICTURES: list[tuple[Any, str]] = [
    ("gone.png", "image not found"),
    ("gone/deeper/x.png", "image not found"),
    ("good.png/inside.png", "image not found"),
    ("../../../../../../no/such.png", "image not found"),
    ("GOOD.PNG", "image not found"),
    ("empty.png", "image is empty"),
    ("folder.png", "image is a folder"),
    (".", "image is a folder"),
    ("loop.png", "image path cannot be used"),
    ("a\0b.png", "image path cannot be used"),
    ("x" * 5000, "image path cannot be used"),
    ("/dev/null", "image is not a file"),
    ("/dev/zero", "image is not a file"),
    ("text.png", "not an image"),
    ("zeros.png", "not an image"),
    ("svg.png", "not an image"),
    ("pdf.png", "not an image"),
    ("zip.png", "not an image"),
    ("exe.png", "not an image"),
    ("eps.png", "not an image"),
    ("heic.jpg", "not an image"),
    ("cut.jpg", "image is damaged"),
    ("head.jpg", "image is damaged"),
    ("mark.jpg", "image is damaged"),
    ("cut.png", "image is damaged"),
    ("sign.png", "image is damaged"),
    ("cut.webp", "image is damaged"),
    ("cut.gif", "image is damaged"),
    ("cut.bmp", "image is damaged"),
    ("cut.tif", "image is damaged"),
    ("cut.ppm", "image is damaged"),
    ("flip.png", "image is damaged"),
    ("bomb.png", "image is too large"),
    ("wide.png", "image is"),
    ("thin.png", "image is too narrow"),
    ("none.png", "image"),
    ("float.tif", "image has floating-point pixels"),
    ("deep.tif", "image has 32-bit pixels"),
    (7, "image is neither a path nor bytes"),
    (1.5, "image is neither a path nor bytes"),
    (True, "image is neither a path nor bytes"),
    ({"bytes": None, "path": None}, "image is neither a path nor bytes"),
    ({"url": "x"}, "image is neither a path nor bytes"),
    ([None], "image is neither a path nor bytes"),
    (["good.png", ""], "image is neither a path nor bytes"),
    ([["good.png"]], "image is neither a path nor bytes"),
    (["good.png"] * 5, "too many images"),
    (["good.png", "gone.png"], "image not found"),
    ("<|image_pad|>.png", "text holds a special token"),
    ("\ud800.png", "text is not valid Unicode"),
    ("ftp://a.example/x.png", "image is an address of a kind that is not read"),
    ("file:///etc/passwd", "image is an address of a kind that is not read"),
    ("s3://bucket/x.png", "image is an address of a kind that is not read"),
    ("hf://datasets/x.png", "image is an address of a kind that is not read"),
    ("data:text/plain;base64,QUJD", "image is an address of a kind that is not read"),
    ("data:image/png,QUJD", "image is an address of a kind that is not read"),
    ("data:image/png;base64,@@@", "image is not base64"),
    ("data:image/png;base64,QUJD", "not an image"),
    ("http://127.0.0.1/x.png", "image cannot be fetched"),
    ("http://localhost:8080/x.png", "image cannot be fetched"),
    ("http://[::1]/x.png", "image cannot be fetched"),
    ("http://[::ffff:10.0.0.1]/x.png", "image cannot be fetched"),
    ("http://10.0.0.1/x.png", "image cannot be fetched"),
    ("http://192.168.0.1/x.png", "image cannot be fetched"),
    ("http://172.16.5.5/x.png", "image cannot be fetched"),
    ("http://100.64.0.1/x.png", "image cannot be fetched"),
    ("http://169.254.169.254/latest/meta-data/", "image cannot be fetched"),
    ("http://[fd00:ec2::254]/x.png", "image cannot be fetched"),
    ("http://[fe80::1]/x.png", "image cannot be fetched"),
    ("http://0.0.0.0/x.png", "image cannot be fetched"),
    ("http://2130706433/x.png", "image cannot be fetched"),
    ("http://0x7f.1/x.png", "image cannot be fetched"),
    ("http://224.0.0.1/x.png", "image cannot be fetched"),
    ("http://168.63.129.16/x.png", "image cannot be fetched"),
    ("http:///x.png", "image cannot be fetched"),
    ("http://a.example:0/x.png", "image cannot be fetched"),
    ("http://a.example:99999/x.png", "image cannot be fetched"),
    ("http://me:secret@a.example/x.png", "image cannot be fetched"),
    ("http://a.example/" + "x" * 3000, "image cannot be fetched"),
    ("http://a.example/x\ny.png", "image cannot be fetched"),
    ("http://" + "a" * 70 + ".example/x.png", "image cannot be fetched"),
]


def name_of(case: Any) -> str:
    return repr(case)[:60] if not isinstance(case, str) else case[:40]


@pytest.mark.parametrize(("image", "start"), BAD_PICTURES, ids=name_of)
def test_a_bad_picture_costs_one_row(image: Any, start: str, folder: Path, between: Any) -> None:
    reason = between(folder, json.dumps(pictured(image)).encode())
    assert reason.startswith(start)


def test_the_list_of_pictures_is_as_long_as_promised() -> None:
    assert len(BAD_PICTURES) >= 75
