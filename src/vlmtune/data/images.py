"""Pictures that are opened late, checked for size before decoding, and always come out RGB.

Every failure is a DataError of the form "what happened: which picture (details); what to do". The
part before the colon is the same for every picture, so that a report can count it.

The picture's format is read from its first bytes, never from its name, and only the decoders named
in `SIGNATURES` are used. Calling a decoder directly also keeps Pillow's process-wide pixel limit
out of the way: the limit here belongs to each picture, and threads cannot disturb one another.
"""

import dataclasses
import hashlib
import io
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import PIL.Image

from vlmtune.errors import DataError
from vlmtune.types import ImageRef

DEFAULT_MAX_PIXELS = 50_000_000
MAX_ASPECT_RATIO = 200
"""Longest side over shortest side.

Source: `smart_resize` of Qwen2-VL's image processor, which refuses more.
"""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"P4", "PPM"),
    (0, b"P5", "PPM"),
    (0, b"P6", "PPM"),
    (0, b"\x00\x00\x00\x0cjP  \r\n", "JPEG2000"),
    (4, b"ftypavif", "AVIF"),
)
"""Byte offset, bytes that stand there, and Pillow's name of the decoder."""

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class FileImage:
    """A picture in a file.

    Attributes:
        path: Where it lies.
        max_pixels: Refuse it when width times height is more.
        origin: What it was called before it came into this file: an address, or its name inside a
            table; "" for a file that the row itself names.
    """

    path: str
    max_pixels: int = DEFAULT_MAX_PIXELS
    origin: str = ""

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    def open(self) -> PIL.Image.Image:
        """Decode the file.

        Returns:
            Mode RGB, upright, without metadata.

        Raises:
            DataError: If it is missing, empty, no picture, damaged, too large or too narrow.
        """
        if problem := file_problem(self.path):
            raise DataError(problem)
        try:
            with Path(self.path).open("rb") as stream:
                return _decode(stream, name=self.path, max_pixels=self.max_pixels)
        except OSError as error:
            raise DataError(
                f"image cannot be read: {self.path} ({error.strerror}); check its permissions"
            ) from error


@dataclass(frozen=True, slots=True)
class BytesImage:
    """A picture that came inside a row, still encoded.

    Attributes:
        name: How messages and records call it.
        data: The encoded file, as it would lie on disk.
        max_pixels: Refuse it when width times height is more.
    """

    name: str
    data: bytes = field(repr=False)
    max_pixels: int = DEFAULT_MAX_PIXELS

    def open(self) -> PIL.Image.Image:
        """Decode the bytes.

        Returns:
            Mode RGB, upright, without metadata.

        Raises:
            DataError: If they are empty, no picture, damaged, too large or too narrow.
        """
        if not self.data:
            raise DataError(f"image is empty: {self.name} has 0 bytes; export the row again")
        return _decode(io.BytesIO(self.data), name=self.name, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True)
class AddressImage:
    """A picture on the internet, before it is fetched; `vlmtune.data.pictures` makes it a file.

    Attributes:
        address: http or https.
        max_pixels: Refuse it when width times height is more.
    """

    address: str
    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def name(self) -> str:
        """The address."""
        return self.address

    def open(self) -> PIL.Image.Image:
        """Refuse: opening a picture never uses the network.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"image has not been fetched: {self.address[:200]!r}; load the row through "
            "vlmtune.data.load, which fetches it into the cache"
        )


def check(image: ImageRef) -> tuple[int, int]:
    """Decode a picture once, only to know that it can be decoded.

    Args:
        image: The picture.

    Returns:
        Width and height in pixels, after EXIF rotation.

    Raises:
        DataError: If it cannot be used.
    """
    return image.open().size


def file_problem(path: str) -> str:
    """Say why a path cannot be a picture, without opening it.

    Args:
        path: Absolute, or relative to the working directory.

    Returns:
        The reason, or "" when the path is a regular file with content.
    """
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"image not found: {path}; check the path and the image folder"
    except (OSError, ValueError) as error:
        shown = path if len(path) <= 200 else f"{path[:200]}..."
        return f"image path cannot be used: {shown!r} ({_one_line(error)}); correct the path"
    if stat.S_ISDIR(status.st_mode):
        return f"image is a folder: {path}; name one picture inside it"
    if not stat.S_ISREG(status.st_mode):
        return f"image is not a file: {path} is a device, socket or pipe; name a picture"
    if status.st_size == 0:
        return f"image is empty: {path} has 0 bytes; fetch or copy it again"
    return ""


def encoded(image: PIL.Image.Image, *, name: str) -> bytes:
    """Encode a decoded picture as PNG, losslessly and without metadata.

    Args:
        image: Any mode that `FileImage` would accept.
        name: For messages.

    Raises:
        DataError: If its pixels cannot be loaded or have no 8-bit meaning.
    """
    stream = io.BytesIO()
    try:
        _rgb(_turn_upright(image), name=name).save(stream, "PNG")
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"image is damaged: {name} cannot be decoded ({_one_line(error)}); export it again"
        ) from error
    return stream.getvalue()


def identity(image: ImageRef) -> bytes:
    """Name a picture's content independently of the machine it lies on.

    Args:
        image: The picture. Encoded bytes are hashed; a picture that is drawn on demand has none
            and is named by all that it is drawn from.

    Returns:
        32 bytes.

    Raises:
        DataError: If the file cannot be read.
    """
    if isinstance(image, BytesImage):
        return hashlib.sha256(image.data).digest()
    if not isinstance(image, FileImage):
        # A dataclass writes out its fields; any other object might write its place in memory.
        recipe = repr(image) if dataclasses.is_dataclass(image) else image.name
        return hashlib.sha256(recipe.encode()).digest()
    digest = hashlib.sha256()
    try:
        with Path(image.path).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        raise DataError(f"image cannot be read: {image.path} ({_one_line(error)})") from error
    return digest.digest()


def _decode(stream: IO[bytes], *, name: str, max_pixels: int) -> PIL.Image.Image:
    decoder = _decoder_name(stream.read(32), name=name)
    stream.seek(0)
    try:
        # Pillow's decoders answer hostile bytes with a dozen exception types; all mean "damaged".
        with PIL.Image.OPEN[decoder][0](stream, name) as image:
            _refuse_size(image.size, name=name, max_pixels=max_pixels)
            image.load()
            return _rgb(_turn_upright(image), name=name)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"image is damaged: {name} is a {decoder} file that cannot be decoded "
            f"({_one_line(error)}); fetch or export it again"
        ) from error


def _decoder_name(head: bytes, *, name: str) -> str:
    PIL.Image.init()
    for offset, mark, decoder in SIGNATURES:
        if head[offset : offset + len(mark)] == mark:
            if decoder in PIL.Image.OPEN:
                return decoder
            raise DataError(
                f"image format is not supported by this Pillow: {name} is {decoder}; "
                "convert it to PNG or JPEG"
            )
    shown = head[:12].decode("latin-1")
    readable = ", ".join(sorted({decoder for _, _, decoder in SIGNATURES}))
    raise DataError(
        f"not an image: {name} starts with {shown!r}; formats that can be read: {readable}"
    )


def _refuse_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    width, height = size
    if min(width, height) < 1:
        raise DataError(f"image has no pixels: {name} is {width} x {height}; replace it")
    if width * height > max_pixels:
        raise DataError(
            f"image is too large: {name} is {width} x {height} = {width * height:,} pixels, more "
            f"than data.max_image_pixels = {max_pixels:,}; scale it down or raise the limit"
        )
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise DataError(
            f"image is too narrow: {name} is {width} x {height}, a ratio above "
            f"{MAX_ASPECT_RATIO}:1, which Qwen's image processor refuses; crop or pad it"
        )


def _turn_upright(image: PIL.Image.Image) -> PIL.Image.Image:
    method = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    return image if method is None else image.transpose(method)


def _rgb(image: PIL.Image.Image, *, name: str) -> PIL.Image.Image:
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        result = PIL.Image.new("RGB", layer.size, "white")
        result.paste(layer, mask=layer.getchannel("A"))
        return result
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = _eight_bit(image, name=name)
    elif image.mode == "F":
        raise DataError(
            f"image has floating-point pixels: {name} states no white level; "
            "save it with 8 or 16 bits per channel"
        )
    result = image.convert("RGB")
    # An orientation tag left behind would make the next reader turn the picture a second time.
    result.info.clear()
    return result


def _eight_bit(image: PIL.Image.Image, *, name: str) -> PIL.Image.Image:
    """Map 0..65535 to 0..255, rounding; Pillow's own conversion would clip at 255."""
    values_HW = np.asarray(image)
    low, high = int(values_HW.min()), int(values_HW.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"image has 32-bit pixels: {name} ranges from {low} to {high}; "
            "save it with 8 or 16 bits per channel"
        )
    scaled_HW = (values_HW.astype(np.uint32) + 128) // 257
    return PIL.Image.fromarray(scaled_HW.astype(np.uint8))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
