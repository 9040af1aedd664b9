"""Pictures: every odd file a user may have becomes RGB or one clear line."""

import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vlmtune.data import images
from vlmtune.data.images import BytesImage, FileImage
from vlmtune.errors import DataError


def picture(width: int = 8, height: int = 6) -> PIL.Image.Image:
    """Left half red, right half blue."""
    result = PIL.Image.new("RGB", (width, height), (255, 0, 0))
    result.paste((0, 0, 255), (width // 2, 0, width, height))
    return result


def encoded(image: PIL.Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def opened(data: bytes, **options: int) -> PIL.Image.Image:
    return BytesImage("row 1", data, **options).open()


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims its size in the header and has next to no data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel(file_format: str) -> None:
    result = opened(encoded(picture(), file_format))
    assert result.mode == "RGB"
    assert result.tobytes() == picture().tobytes()


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "GIF"])
def test_lossy_formats_come_out_rgb_and_nearly_right(file_format: str) -> None:
    result = opened(encoded(picture(32, 32), file_format))
    assert result.mode == "RGB"
    red, _, blue = result.getpixel((4, 16))
    assert red > 200
    assert blue < 60


def test_the_name_of_a_file_does_not_decide_its_format(tmp_path: Path) -> None:
    path = tmp_path / "cats.jpg"
    path.write_bytes(encoded(picture(), "PNG"))
    assert FileImage(str(path)).open().tobytes() == picture().tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_puts_the_red_corner_top_left(orientation: int) -> None:
    upright = PIL.Image.new("RGB", (16, 8), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 8, 4))
    # What a camera stores so that turning by `orientation` gives the upright picture back.
    stored = {
        1: upright,
        2: upright.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(PIL.Image.Transpose.ROTATE_180),
        4: upright.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(PIL.Image.Transpose.TRANSPOSE),
        6: upright.transpose(PIL.Image.Transpose.ROTATE_90),
        7: upright.transpose(PIL.Image.Transpose.TRANSVERSE),
        8: upright.transpose(PIL.Image.Transpose.ROTATE_270),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    result = opened(encoded(stored, "PNG", exif=exif))
    assert result.size == (16, 8)
    assert result.getpixel((0, 0)) == (255, 0, 0)
    assert result.getpixel((15, 7)) == (0, 0, 255)
    assert result.getexif().get(0x0112) is None, "a second reader would turn it again"


def test_metadata_that_is_garbage_does_not_cost_the_picture() -> None:
    data = encoded(picture(16, 16), "JPEG", exif=b"Exif\0\0" + b"\xff" * 40)
    assert opened(data).size == (16, 16)


def test_cmyk_becomes_rgb() -> None:
    result = opened(encoded(picture(16, 16).convert("CMYK"), "JPEG"))
    assert result.mode == "RGB"
    red, green, blue = result.getpixel((3, 8))
    assert red > 200
    assert max(green, blue) < 80


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    result = opened(encoded(PIL.Image.fromarray(values), "PNG"))
    # 257 / 257 = 1 and 32896 / 257 = 128; clipping would have made the last three white.
    assert [pixel[0] for pixel in np.asarray(result)[0].tolist()] == [0, 1, 128, 255]


def test_sixteen_bit_tiff_of_either_byte_order_is_scaled() -> None:
    for byte_order in ("<u2", ">u2"):
        values = np.array([[0, 65535]], dtype=byte_order)
        mode = "I;16" if byte_order == "<u2" else "I;16B"
        image = PIL.Image.frombytes(mode, (2, 1), values.tobytes())
        assert np.asarray(opened(encoded(image, "TIFF")))[0].tolist() == [[0] * 3, [255] * 3]


def test_32_bit_integer_pixels_beyond_16_bits_are_refused() -> None:
    image = PIL.Image.fromarray(np.array([[0, 70000]], dtype=np.int32))
    with pytest.raises(DataError, match="image has 32-bit pixels: row 1 ranges from 0 to 70000"):
        opened(encoded(image, "TIFF"))


def test_floating_point_pixels_are_refused() -> None:
    image = PIL.Image.fromarray(np.array([[0.0, 1.0]], dtype=np.float32))
    with pytest.raises(DataError, match="floating-point pixels"):
        opened(encoded(image, "TIFF"))


def test_transparent_pixels_become_white_and_half_transparent_ones_blend() -> None:
    image = PIL.Image.new("RGBA", (3, 1))
    image.putdata([(255, 0, 0, 0), (255, 0, 0, 255), (0, 0, 0, 128)])
    # 255 * (1 - 128 / 255) = 127
    assert np.asarray(opened(encoded(image, "PNG")))[0].tolist() == [
        [255, 255, 255],
        [255, 0, 0],
        [127, 127, 127],
    ]


def test_gray_with_alpha_is_composited() -> None:
    image = PIL.Image.new("LA", (2, 1))
    image.putdata([(0, 0), (0, 255)])
    assert np.asarray(opened(encoded(image, "PNG")))[0].tolist() == [[255] * 3, [0] * 3]


def test_palette_with_a_transparent_colour_is_composited() -> None:
    image = PIL.Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 0, 255, 0])
    image.putdata([0, 1])
    result = opened(encoded(image, "PNG", transparency=0))
    assert np.asarray(result)[0].tolist() == [[255, 255, 255], [0, 255, 0]]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_gray_bilevel_and_palette_pictures_become_rgb(mode: str) -> None:
    result = opened(encoded(PIL.Image.new(mode, (5, 4), 0), "PNG"))
    assert (result.mode, result.size) == ("RGB", (5, 4))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(file_format: str) -> None:
    first = PIL.Image.new("RGB", (8, 8), (255, 255, 255))
    second = PIL.Image.new("RGB", (8, 8), (0, 0, 0))
    data = encoded(first, file_format, save_all=True, append_images=[second])
    assert opened(data).getpixel((4, 4)) == (255, 255, 255)


def test_a_colour_profile_is_ignored() -> None:
    plain, profiled = encoded(picture(), "PNG"), encoded(picture(), "PNG", icc_profile=b"junk")
    assert opened(plain).tobytes() == opened(profiled).tobytes()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_picture_is_damaged(file_format: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(PIL.Image.fromarray(noise), file_format)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"^image is damaged: {path} is a {file_format} file"):
        FileImage(str(path)).open()


def test_a_file_of_0_bytes_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(DataError, match=f"^image is empty: {path} has 0 bytes; fetch or copy"):
        FileImage(str(path)).open()
    with pytest.raises(DataError, match=r"^image is empty: row 1"):
        opened(b"")


def test_text_that_was_saved_as_a_picture_is_shown() -> None:
    with pytest.raises(DataError, match=r"^not an image: row 1 starts with '<!DOCTYPE ht'"):
        opened(b"<!DOCTYPE html><title>404</title>")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^image not found: .*nothing.png"):
        FileImage(str(tmp_path / "nothing.png")).open()
    with pytest.raises(DataError, match=r"^image is a folder"):
        FileImage(str(tmp_path)).open()


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"^image is not a file"):
        FileImage(str(tmp_path / "pipe.png")).open()


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 5000])
def test_a_path_that_no_system_accepts_is_one_short_line(path: str) -> None:
    with pytest.raises(DataError, match=r"^image path cannot be used") as caught:
        FileImage(path).open()
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_000, 10_000)])
def test_a_decompression_bomb_is_refused_before_decoding_and_without_pillow_warnings(
    width: int, height: int, recwarn: pytest.WarningsRecorder
) -> None:
    limit = PIL.Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match=rf"too large: row 1 is {width} x {height} = .* pixels"):
        opened(bomb(width, height))
    assert limit == PIL.Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


def test_the_pixel_limit_is_exact() -> None:
    data = encoded(picture(10, 10), "PNG")
    assert opened(data, max_pixels=100).size == (10, 10)
    with pytest.raises(DataError, match=r"10 x 10 = 100 pixels, more than .* = 99"):
        opened(data, max_pixels=99)


def test_a_limit_above_pillows_own_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 10)
    assert opened(encoded(picture(10, 10), "PNG"), max_pixels=100).size == (10, 10)


def test_the_ratio_of_sides_is_bounded_where_qwen_bounds_it() -> None:
    assert opened(encoded(picture(200, 1), "PNG")).size == (200, 1)
    with pytest.raises(DataError, match="too narrow: row 1 is 201 x 1"):
        opened(encoded(picture(201, 1), "PNG"))
    with pytest.raises(DataError, match="too narrow: row 1 is 1 x 201"):
        opened(encoded(picture(1, 201), "PNG"))


def test_threads_do_not_disturb_one_another() -> None:
    good, bad = encoded(picture(64, 64), "PNG"), bomb(20_000, 20_000)
    outcomes: list[str] = []

    def work() -> None:
        for _ in range(20):
            assert opened(good).size == (64, 64)
            try:
                opened(bad)
            except DataError as error:
                outcomes.append(str(error)[:18])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["image is too large"] * 80


def test_check_reports_the_size_after_rotation() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    assert images.check(BytesImage("x", encoded(picture(8, 6), "JPEG", exif=exif))) == (6, 8)


def test_identity_depends_on_content_and_not_on_the_folder(tmp_path: Path) -> None:
    data = encoded(picture(), "PNG")
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.png").write_bytes(data + b" ")
    first, second, third = (
        images.identity(FileImage(str(tmp_path / name))) for name in ("a.png", "b.png", "c.png")
    )
    assert first == second == images.identity(BytesImage("x", data))
    assert third != first


def test_random_damage_never_escapes_as_another_error() -> None:
    draw = np.random.default_rng(1)
    for file_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        data = bytearray(encoded(picture(32, 32), file_format))
        for _ in range(60):
            hurt = bytearray(data)
            for place in draw.integers(0, len(hurt), 4):
                hurt[place] = int(draw.integers(0, 256))
            try:
                assert opened(bytes(hurt)).mode == "RGB"
            except DataError as error:
                assert "\n" not in str(error)
