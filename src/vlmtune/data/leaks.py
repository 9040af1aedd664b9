"""Do training rows show what evaluation asks about? Five kinds of evidence, from certain to likely.

- the same picture: the same file, the same bytes, or the same COCO number in their names;
- a picture that looks the same: a 256-bit difference hash within `NEAR` bits, so that scaling and
  recompression are seen through;
- the same question with the same answer about a picture of the same name, or about none;
- VSR's trap: its two variants cut the same statements differently, so a row of one is no clean
  training row for the other, whatever it shows.

A picture that is drawn when it is opened is the same when all that it is drawn from is.
"""

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeAlias

import numpy as np
import PIL.Image

from vlmtune.data import images
from vlmtune.data.images import BytesImage, FileImage
from vlmtune.types import Example, ImageRef

SIDE = 16
NEAR = 8
"""Bits of 256 in which two hashes of the same picture may differ."""
LISTED = 100
"""Pairs that a report names one by one; all others are counted."""

Link: TypeAlias = tuple[str, str]
"""The id of an earlier row, and what it shares with this one."""

_PLAIN = 16
_MASKS = tuple(
    sum(1 << bit for bit in range(place, SIDE * SIDE, NEAR + 1)) for place in range(NEAR + 1)
)
_COCO = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})\.(?:jpe?g|png)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A training row that shows what an evaluation row asks about.

    Attributes:
        train: The training row's id.
        evaluation: The evaluation row's id.
        why: What they share.
    """

    train: str
    evaluation: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakReport:
    """All leaks between two sets.

    Attributes:
        rows: Ids of the training rows that leak.
        reasons: How many rows each kind of evidence found first.
        first: The first `LISTED`, one a training row.
    """

    rows: frozenset[str]
    reasons: Mapping[str, int]
    first: tuple[Leak, ...]

    def line(self) -> str:
        """Say it in one line."""
        if not self.rows:
            return "no training row shows what evaluation asks about"
        causes = ", ".join(f"{why} ({count})" for why, count in self.reasons.items())
        example = self.first[0]
        return (
            f"{len(self.rows)} training rows show what evaluation asks about: {causes}; such as "
            f"{example.train} and {example.evaluation}"
        )


def find_leaks(
    train: Sequence[Example],
    evaluation: Sequence[Example],
    *,
    look: bool = True,
    progress: Callable[[int], None] | None = None,
) -> LeakReport:
    """Compare two sets of rows.

    Args:
        train: Rows to learn from.
        evaluation: Rows to be asked about.
        look: Decode pictures and compare what they show; without it only names and files count.
        progress: Called with the number of pictures looked at since the last call.

    Raises:
        DataError: If a picture cannot be decoded.
    """
    seen = _Seen(looks=_Looks(progress=progress or _nobody) if look else None)
    for example in evaluation:
        seen.remember(example)
    found = [leak for example in train if (leak := seen.leak(example)) is not None]
    return LeakReport(
        rows=frozenset(leak.train for leak in found),
        reasons=dict(Counter(leak.why for leak in found).most_common()),
        first=tuple(found[:LISTED]),
    )


def linked(
    examples: Sequence[Example],
    *,
    look: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, int]]:
    """Find rows of one set that would leak into each other if they were put on two sides.

    Args:
        examples: The rows.
        look: As for `find_leaks`.
        progress: As for `find_leaks`.

    Yields:
        Pairs of places in `examples`; whatever is connected belongs together.

    Raises:
        DataError: If a picture cannot be decoded.
    """
    yield from _equal(
        (place, key) for place, example in enumerate(examples) for key in _named(example)
    )
    if look:
        looks = _Looks(progress=progress or _nobody)
        for place, example in enumerate(examples):
            for other, _ in looks.like(example):
                yield place, int(other)
            looks.remember(example, name=str(place))


def difference_hash(image: PIL.Image.Image) -> int | None:
    """Describe what a picture shows in 256 bits: where brightness falls from left to right.

    Args:
        image: Any size, mode RGB.

    Returns:
        The bits, or None when the picture is too plain to be told from others.
    """
    small = image.convert("L").resize((SIDE + 1, SIDE), PIL.Image.Resampling.BOX)
    light_HW = np.asarray(small, dtype=np.int16)
    falls_HW = light_HW[:, :-1] > light_HW[:, 1:]
    ones = int(falls_HW.sum())
    if not _PLAIN <= ones <= SIDE * SIDE - _PLAIN:
        return None
    return int.from_bytes(np.packbits(falls_HW).tobytes(), "big")


def coco_number(name: str) -> int | None:
    """Read the COCO number out of a file's name or address; 2014 and 2017 share their numbers."""
    found = _COCO.fullmatch(PurePath(name.partition("?")[0]).name)
    return int(found[1]) if found else None


def _equal(keys: Iterable[tuple[int, object]]) -> Iterator[tuple[int, int]]:
    """Yield places with equal keys; a million rows take 16 bytes a key and not a dictionary."""
    places, digests = array("q"), array("Q")
    for place, key in keys:
        places.append(place)
        digest = hashlib.blake2b(repr(key).encode(errors="surrogatepass"), digest_size=8).digest()
        digests.append(int.from_bytes(digest, "big"))
    codes = np.frombuffer(digests, dtype=np.uint64) if digests else np.empty(0, dtype=np.uint64)
    order = np.argsort(codes, kind="stable")
    for first in np.flatnonzero(codes[order[1:]] == codes[order[:-1]]):
        yield places[order[first + 1]], places[order[first]]


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What evaluation asks about, by every kind of evidence."""

    looks: "_Looks | None"
    evidence: dict[tuple[str, object], str] = field(default_factory=dict)
    variants: dict[str, str] = field(default_factory=dict)

    def remember(self, example: Example) -> None:
        """Enter a row that is evaluated on, by its names, its sentence and its pictures."""
        for key in _named(example):
            self.evidence.setdefault(key, example.id)
        if (variant := _vsr_variant(example)) is not None:
            self.variants.setdefault(variant, example.id)
        if self.looks is not None:
            self.looks.remember(example, name=example.id)

    def leak(self, example: Example) -> Leak | None:
        """Say which evaluated row a training row repeats, and by what; None if none."""
        found = next(self._links(example), None)
        return found and Leak(train=example.id, evaluation=found[0], why=found[1])

    def _links(self, example: Example) -> Iterator[Link]:
        for why, key in _named(example):
            if (other := self.evidence.get((why, key))) is not None:
                yield other, why
        mine = _vsr_variant(example)
        for variant, other in self.variants.items() if mine is not None else ():
            if variant != mine:
                yield other, "VSR's random and zeroshot cut the same statements differently"
        if self.looks is not None:
            yield from self.looks.like(example)


@dataclass(slots=True, kw_only=True)
class _Looks:
    """What rows show: their pictures' contents, and what these look like."""

    progress: Callable[[int], None]
    contents: dict[bytes, str] = field(default_factory=dict)
    bands: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    hashes: dict[str, tuple[bytes, int | None]] = field(default_factory=dict)

    def remember(self, example: Example, *, name: str) -> None:
        """Enter a row's pictures under `name`."""
        for content, look in self._looked(example):
            # A picture of many rows is entered once: the others are found by its content.
            if self.contents.setdefault(content, name) != name or look is None:
                continue
            entry = (look, name)
            for band in _bands(look):
                self.bands.setdefault(band, []).append(entry)

    def like(self, example: Example) -> Iterator[Link]:
        """Yield the names of rows whose pictures are these, or look like them, and why."""
        for content, look in self._looked(example):
            if (other := self.contents.get(content)) is not None:
                yield other, "the same picture"
            for other in self._alike(look):
                yield other, "a picture that looks the same"

    def _looked(self, example: Example) -> Iterator[tuple[bytes, int | None]]:
        """Yield each picture's content and what it shows, decoding every file once."""
        for image in example.images:
            if not isinstance(image, (FileImage, BytesImage)):
                yield images.identity(image), None
                continue
            name = image.name
            if name not in self.hashes:
                self.hashes[name] = (images.identity(image), difference_hash(image.open()))
                self.progress(1)
            yield self.hashes[name]

    def _alike(self, look: int | None) -> Iterator[str]:
        """Two hashes that differ in at most `NEAR` bits agree in one of `NEAR` + 1 bands."""
        if look is None:
            return
        for band in _bands(look):
            for other, name in self.bands.get(band, ()):
                if (look ^ other).bit_count() <= NEAR:
                    yield name


def _nobody(count: int) -> None:
    """Take a count of progress that nobody asked for."""


def _bands(look: int) -> Iterator[int]:
    """Split a hash into parts, each with its place above it.

    Every part takes its bits from all over the picture: an even sky is the same in many pictures,
    and a part that saw nothing else would hold half of them.
    """
    for place, mask in enumerate(_MASKS):
        yield (1 << (SIDE * SIDE + place)) | (look & mask)


def _named(example: Example) -> Iterator[tuple[str, object]]:
    """Yield the evidence that needs no decoding."""
    for image in example.images:
        for name in _names_of(image):
            number = coco_number(name)
            if number is not None:
                yield "the same COCO picture", number
        if isinstance(image, FileImage):
            yield "the same picture", image.path
        elif not isinstance(image, BytesImage):
            yield "the same picture", images.identity(image)
    names = tuple(name for image in example.images for name in _known_as(image))
    turns = tuple((turn.user, turn.assistant) for turn in example.turns)
    question = (turns, example.question.casefold(), example.answer)
    yield "the same question and answer", (names, question)


def _known_as(image: ImageRef) -> Iterator[str]:
    """Give what two copies of a picture have in common: a file's own name, or a drawing's recipe.

    Drawings are numbered, so the same number in two sets says nothing.
    """
    if isinstance(image, (FileImage, BytesImage)):
        yield from (PurePath(name).name for name in _names_of(image))
    else:
        yield images.identity(image).hex()


def _names_of(image: ImageRef) -> Iterator[str]:
    if isinstance(image, FileImage) and image.origin:
        yield image.origin
    else:
        yield image.name


def _vsr_variant(example: Example) -> str | None:
    if not example.source.startswith("vsr_"):
        return None
    return example.source.removeprefix("vsr_")
