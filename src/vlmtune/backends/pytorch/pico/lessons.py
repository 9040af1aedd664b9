"""What pico is taught: batches of scenes with several questions packed behind each picture.

A sequence is one prefix and its segments, and every segment sees the prefix and itself only:

    [system][image] [question 1 -> answer 1] [question 2 -> answer 2] ...

Positions of all segments start where the prefix ends, so that each is computed exactly as if it
stood alone (tests/backends/pytorch/test_pico_lessons.py proves it), while the picture is encoded
once. Only answers carry a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from vlmtune.backends.pytorch.pico.architecture import MEAN, MERGE, PATCH, STD
from vlmtune.backends.pytorch.pico.tokenizer import SPECIAL_ID, TURN_END, TURN_START
from vlmtune.language.prompts import DIRECT, SPATIAL, SYSTEM, question_text, target_text
from vlmtune.scenes.choices import ASKERS
from vlmtune.scenes.dataset import Scenes
from vlmtune.scenes.layout import PLOTS, sample_world
from vlmtune.scenes.questions import Question
from vlmtune.scenes.render import render
from vlmtune.scenes.world import COLOURS, SHAPES, TRAY, SceneOptions, World
from vlmtune.types import Example, Kind

CELL = PATCH * MERGE
"""Side of the square that one image token sees, pixels."""

LOOKS = len(COLOURS) * (len(SHAPES) + 1)
IGNORED = -100
MOST_THINGS = {"vision": 12, "few": 4, "many": 12}
"""Courses, and the largest number of things in their scenes."""
SIZES = ((196, 196), (196, 196), (196, 196), (224, 168), (168, 224))
"""Width and height of a batch's pictures, drawn per batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pictures with their packed questions.

    Attributes:
        pixels: Patches as Qwen's image processor gives them, float32 [B * patches, 1176].
        grid: Patches in time, height, width of every picture, int64 [B, 3].
        ids: Token ids, int64 [B, S].
        positions: M-RoPE positions, int64 [3, B, S].
        segments: 0 prefix, 1.. questions, -1 padding, int64 [B, S].
        labels: Next-token labels, already shifted; IGNORED elsewhere, int64 [B, S].
        decisive: Whether the label belongs to the answer itself, not to the thinking or the tags
            around it, nor to a caption, bool [B, S].
        looks: Which looks have their centre in each cell, float32 [B, cells, LOOKS].
        centres: How many centres a cell has, 0..3, int64 [B, cells].
        offsets: Centre within its cell, 0..1, of cells with exactly one; else NaN [B, cells, 3]:
            x, y and drawn radius in cells.
        own_cell: Column and row of every image token, int64 [B, cells, 2].
        thing_cell: Column and row on the 10 x 10 grid of the thing in a cell with exactly one,
            else IGNORED, int64 [B, cells, 2].
    """

    pixels: Tensor
    grid: Tensor
    ids: Tensor
    positions: Tensor
    segments: Tensor
    labels: Tensor
    decisive: Tensor
    looks: Tensor
    centres: Tensor
    offsets: Tensor
    own_cell: Tensor
    thing_cell: Tensor


@dataclass(frozen=True, slots=True)
class Segment:
    """One question and its answer, as token ids.

    Attributes:
        asked: From behind the picture to the assistant's turn.
        answered: The assistant's turn with its end; as long as `decisive`.
        decisive: Which of these tokens are the answer itself.
    """

    asked: list[int]
    answered: list[int]
    decisive: list[bool]


Row = tuple[list[int], list[Segment]]
"""Token ids before the picture, and the questions behind it."""


class Lessons(torch.utils.data.Dataset[Batch]):
    """Batch i of the course, computed from (seed, i) alone: training can resume at any i."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, seed: int, batches: int, size: int, course: str
    ) -> None:
        """Set up the course.

        Args:
            tokenizer: pico's.
            seed: Fixes everything.
            batches: Length of the course.
            size: Pictures per batch.
            course: A key of MOST_THINGS; "vision" asks no questions.
        """
        self.tokenizer = tokenizer
        self.scenes = Scenes(split=f"pico-{course}", seed=seed)
        self.batches = batches
        self.size = size
        self.ask = course != "vision"
        self.most = MOST_THINGS[course]

    def __len__(self) -> int:
        """Batches in the course."""
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        """Draw batch `index`."""
        random = self.scenes.stream(index)
        width, height = SIZES[int(random.integers(len(SIZES)))]
        options = SceneOptions(width=width, height=height, max_objects=self.most)
        worlds = [sample_world(random, options, plot=_plot(random)) for _ in range(self.size)]
        rows = [self._row(world, random) if self.ask else ([], []) for world in worlds]
        return collate(worlds, rows)

    def _row(self, world: World, random: np.random.Generator) -> Row:
        """Tokenise the prefix and the (question, answer) segments of one picture."""
        # Without thinking pico answers hardly better than a guess; it learns mostly with.
        style = DIRECT if random.random() < 0.2 else SPATIAL
        kinds = [Kind.RELATION, *[Kind.YES_NO] * 4, Kind.COUNT, Kind.CHOICE]
        kinds += [Kind.CAPTION] if style == DIRECT else [Kind.RELATION]
        segments = []
        for kind in kinds:
            question = ASKERS[kind](world, random)
            if question is not None:
                segments.append(self._segment(question, style))
        before = f"{TURN_START}system\n{SYSTEM[style]}{TURN_END}\n{TURN_START}user\n"
        return self._ids(before), segments

    def _segment(self, question: Question, style: str) -> Segment:
        row = Example(id="", question=question.text, kind=question.kind, choices=question.choices)
        if question.kind is Kind.CAPTION:
            style = DIRECT
        target = target_text(style=style, answer=question.answer, rationale=question.rationale)
        asked = f"{question_text(row)}{TURN_END}\n{TURN_START}assistant\n"
        told = self.tokenizer(target + TURN_END, return_offsets_mapping=True)
        begin = target.rindex(question.answer)
        end = begin if question.kind is Kind.CAPTION else begin + len(question.answer)
        decisive = [start < end and stop > begin for start, stop in told["offset_mapping"]]
        return Segment(self._ids(asked), told["input_ids"], decisive)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids


def _plot(random: np.random.Generator) -> str:
    return PLOTS[int(random.integers(1, len(PLOTS)))] if random.random() < 0.45 else "free"


def collate(
    worlds: Sequence[World],
    rows: Sequence[Row],
) -> Batch:
    """Draw the pictures and pack the rows; all worlds have one size."""
    pictures = np.stack([np.asarray(render(world)) for world in worlds])
    high, wide = pictures.shape[1] // CELL, pictures.shape[2] // CELL
    packed = [pack(before, segments, (high, wide)) for before, segments in rows]
    length = max(len(row[0]) for row in packed)
    ids = np.full((len(rows), length), SPECIAL_ID["<|endoftext|>"], dtype=np.int64)
    positions = np.zeros((3, len(rows), length), dtype=np.int64)
    segments_BS = np.full((len(rows), length), -1, dtype=np.int64)
    labels = np.full((len(rows), length), IGNORED, dtype=np.int64)
    decisive = np.zeros((len(rows), length), dtype=bool)
    for index, (row, place, segment, label, decides) in enumerate(packed):
        ids[index, : len(row)] = row
        positions[:, index, : len(row)] = place
        segments_BS[index, : len(row)] = segment
        labels[index, : len(row)] = label
        decisive[index, : len(row)] = decides
    looks, centres, offsets, things = zip(
        *(dense_targets(world, (high, wide)) for world in worlds), strict=True
    )
    rows_of, columns_of = np.divmod(np.arange(high * wide), wide)
    own = np.tile(np.stack([columns_of, rows_of], axis=-1), (len(worlds), 1, 1))
    grid = np.tile([1, high * MERGE, wide * MERGE], (len(worlds), 1))
    return Batch(
        pixels=torch.from_numpy(patches(pictures)),
        grid=torch.from_numpy(grid),
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        segments=torch.from_numpy(segments_BS),
        labels=torch.from_numpy(labels),
        decisive=torch.from_numpy(decisive),
        looks=torch.from_numpy(np.stack(looks)),
        centres=torch.from_numpy(np.stack(centres)),
        offsets=torch.from_numpy(np.stack(offsets)),
        own_cell=torch.from_numpy(own),
        thing_cell=torch.from_numpy(np.stack(things)),
    )


def patches(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Cut pictures into patches in the order of Qwen's image processor.

    Args:
        pictures: uint8 [B, H, W, 3]; H and W multiples of CELL.

    Returns:
        float32 [B * H/14 * W/14, 3 * 2 * 14 * 14]: merged cells row by row, the four patches of a
        cell row by row, each as (channel, time, y, x), normalised by CLIP's mean and deviation.
    """
    count, height, width, _ = pictures.shape
    mean, deviation = np.array(MEAN, dtype=np.float32), np.array(STD, dtype=np.float32)
    scaled = (pictures.astype(np.float32) / 255 - mean) / deviation
    cut = scaled.reshape(
        count, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH, 3
    ).transpose(0, 1, 4, 2, 5, 7, 3, 6)
    flat = cut.reshape(-1, 3, 1, PATCH, PATCH)
    return np.ascontiguousarray(np.repeat(flat, 2, axis=2).reshape(flat.shape[0], -1))


Packed = tuple[list[int], NDArray[np.int64], list[int], list[int], list[bool]]


def pack(before: list[int], segments: Sequence[Segment], cells: tuple[int, int]) -> Packed:
    """Put the picture and its questions behind the system message.

    Returns:
        Token ids [S], positions [3, S], segment numbers [S], shifted labels [S], which of the
        labels decide [S].
    """
    high, wide = cells
    image = [SPECIAL_ID["<|image_pad|>"]] * (high * wide)
    ids = [*before, SPECIAL_ID["<|vision_start|>"], *image, SPECIAL_ID["<|vision_end|>"]]
    start = len(before) + 1
    place = np.tile(np.arange(start), (3, 1))
    rows, columns = np.divmod(np.arange(high * wide), wide)
    place = np.hstack([place, np.stack([rows * 0, rows, columns]) + start])
    follow = start + max(high, wide)
    place = np.hstack([place, np.full((3, 1), follow)])
    numbers = [0] * len(ids)
    labels = [IGNORED] * len(ids)
    decisive = [False] * len(ids)
    for number, segment in enumerate(segments, start=1):
        silent = len(segment.asked) - 1
        text = segment.asked + segment.answered
        ids += text
        place = np.hstack([place, np.tile(np.arange(len(text)) + follow + 1, (3, 1))])
        numbers += [number] * len(text)
        labels += [IGNORED] * silent + segment.answered + [IGNORED]
        decisive += [False] * silent + segment.decisive + [False]
    return ids, place, numbers, labels, decisive


Dense = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]


def dense_targets(world: World, cells: tuple[int, int]) -> Dense:
    """Say what stands in each cell of one picture.

    Returns:
        `looks`, `centres`, `offsets` and `thing_cell` of Batch.
    """
    high, wide = cells
    looks = np.zeros((high * wide, LOOKS), dtype=np.float32)
    centres = np.zeros(high * wide, dtype=np.int64)
    offsets = np.full((high * wide, 3), np.nan, dtype=np.float32)
    places = np.full((high * wide, 2), IGNORED, dtype=np.int64)
    shapes = (*SHAPES, TRAY)
    for thing in world.things:
        column, row = int(thing.x // CELL), int(thing.y // CELL)
        if not (0 <= column < wide and 0 <= row < high):
            continue
        cell = row * wide + column
        looks[cell, COLOURS.index(thing.colour) * len(shapes) + shapes.index(thing.shape)] = 1
        centres[cell] += 1
        alone = centres[cell] == 1
        offsets[cell] = (
            (thing.x / CELL - column, thing.y / CELL - row, thing.radius / CELL)
            if alone
            else np.nan
        )
        places[cell] = world.cell(thing) if alone else IGNORED
    return looks, np.minimum(centres, 3), offsets, places
