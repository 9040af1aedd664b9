"""Rows that are too long: stop, leave them out, or shrink their pictures. No token is ever cut.

A prompt's image tokens stand for its pixels one by one, so a prompt that is cut in the middle of a
picture no longer fits the picture. A smaller picture has fewer tokens, and that is the only way in
which a row is made shorter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import PIL.Image

from vlmtune.config import RunConfig
from vlmtune.errors import DataError
from vlmtune.types import ImageRef, Lesson, Prompt

_TRIES = 6
_LISTED = 3


class Reader(Protocol):
    """What counts tokens: a backend's own reader of prompts."""

    @property
    def image_token_id(self) -> int:
        """Id of the placeholder that stands for a piece of a picture."""
        ...

    def read(self, prompt: Prompt) -> Any:
        """Turn a prompt into something with its token ids as `ids_T`."""
        ...

    def target_ids(self, target: str) -> tuple[int, ...]:
        """Tokenise an answer, its end included."""
        ...


@dataclass(frozen=True, slots=True)
class ShrunkImage:
    """A picture that opens smaller than it is.

    Attributes:
        image: The picture.
        share: Share of its pixels to keep, in (0, 1).
    """

    image: ImageRef
    share: float

    @property
    def name(self) -> str:
        """The picture's own name."""
        return self.image.name

    def open(self) -> PIL.Image.Image:
        """Decode the picture and scale it down."""
        picture = self.image.open()
        side = self.share**0.5
        width, height = (max(1, round(pixels * side)) for pixels in picture.size)
        return picture.resize((width, height), PIL.Image.Resampling.LANCZOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Rows that fit.

    Attributes:
        lessons: In their old order, some with smaller pictures.
        dropped: Ids of rows that were left out.
        resized: Ids of rows whose pictures were made smaller.
        longest: Tokens of the longest row that is left.
    """

    lessons: tuple[Lesson, ...]
    dropped: tuple[str, ...]
    resized: tuple[str, ...]
    longest: int


def fit(
    lessons: Sequence[Lesson],
    reader: Reader,
    config: RunConfig,
    *,
    room: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Fitted:
    """Hold rows against `training.max_length` and `max_prompt_length`, by `on_overlong`.

    Args:
        lessons: The rows.
        reader: Counts tokens as training does.
        config: Limits and policy.
        room: Tokens that answers may take, where the rows' own answers do not count.
        progress: Called with the number of rows looked at since the last call.

    Raises:
        DataError: If a row is too long and the policy is error, no row is left, or a row's text
            alone is too long for pictures of any size.
    """
    policy = config.training.on_overlong
    kept: list[Lesson] = []
    long: list[str] = []
    resized: list[str] = []
    longest = 0
    for lesson in lessons:
        found: Lesson | None = lesson
        excess, length, sentence = _excess(lesson, reader, config, room)
        if excess > 0:
            long.append(f"{lesson.prompt.example_id}: {sentence}")
            if policy == "resize":
                found, length = _shrunk(lesson, reader, config, room)
                resized.append(lesson.prompt.example_id)
            elif policy == "drop":
                found = None
        if found is not None:
            kept.append(found)
            longest = max(longest, length)
        if progress is not None:
            progress(1)
    if long and (policy == "error" or not kept):
        raise DataError(_too_long(long, len(lessons)))
    dropped = tuple(line.partition(": ")[0] for line in long) if policy == "drop" else ()
    return Fitted(lessons=tuple(kept), dropped=dropped, resized=tuple(resized), longest=longest)


def _too_long(long: Sequence[str], total: int) -> str:
    more = f" and {len(long) - _LISTED} more" if len(long) > _LISTED else ""
    return (
        f"{len(long)} of {total} rows are too long: {'; '.join(long[:_LISTED])}{more}; raise the "
        "limit, or set training.on_overlong to drop or resize"
    )


def _excess(
    lesson: Lesson, reader: Reader, config: RunConfig, room: int | None
) -> tuple[int, int, str]:
    """Count the tokens beyond the limits, those of the whole row, and say so."""
    prompt = len(reader.read(lesson.prompt).ids_T)
    texts = [text for text in (lesson.answer, lesson.rejected) if text is not None]
    answers = [len(reader.target_ids(text)) for text in texts] if room is None else [room]
    length = prompt + max(answers, default=0)
    training = config.training
    over = [
        (found - limit, f"{found} tokens, training.{key} is {limit}")
        for found, limit, key in (
            (length, training.max_length, "max_length"),
            (prompt, training.max_prompt_length, "max_prompt_length"),
        )
        if limit is not None and found > limit
    ]
    excess, sentence = max(over, default=(0, ""))
    return excess, length, sentence


def _shrunk(
    lesson: Lesson, reader: Reader, config: RunConfig, room: int | None
) -> tuple[Lesson, int]:
    """Make the pictures of one row smaller until it fits.

    Raises:
        DataError: If no size makes it fit.
    """
    share, found = 1.0, lesson
    for _ in range(_TRIES):
        excess, length, sentence = _excess(found, reader, config, room)
        if excess <= 0:
            return found, length
        tokens = int((reader.read(found.prompt).ids_T == reader.image_token_id).sum())
        if tokens <= excess:
            break
        share *= 0.95 * (tokens - excess) / tokens
        images = tuple(ShrunkImage(image, share) for image in lesson.prompt.images)
        found = replace(lesson, prompt=replace(lesson.prompt, images=images))
    else:
        excess, length, sentence = _excess(found, reader, config, room)
        if excess <= 0:
            return found, length
    raise DataError(
        f"{lesson.prompt.example_id} does not fit with pictures of any size: {sentence}; raise the "
        "limit, or set training.on_overlong to drop"
    )


def told(fitted: Fitted) -> list[str]:
    """Say what became of long rows, a line for each thing that was done."""
    done = (
        (fitted.dropped, "rows are too long and are left out"),
        (fitted.resized, "rows got smaller pictures to fit"),
    )
    return [
        f"{len(names)} {what}: {', '.join(names[:_LISTED])}{' ...' if len(names) > _LISTED else ''}"
        for names, what in done
        if names
    ]
