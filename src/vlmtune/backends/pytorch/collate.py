r"""From Lessons to the batches that TRL's trainers read: nothing is cut, pictures come as tensors.

    SFT   input_ids       p p p p a a .        DPO   chosen rows first, then the rejected ones;
          labels          . . . . a a .              completion_mask marks the answers
          attention_mask  1 1 1 1 1 1 0

Token ids are those of `TorchGenerator.encode`: what a rehearsal counts is what is trained.
"""

# B rows, T tokens

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlmtune.backends.packing import IGNORED
from vlmtune.backends.pytorch.inputs import PromptInputs, PromptReader
from vlmtune.backends.pytorch.model import LoadedModel
from vlmtune.types import Lesson


class Collator:
    """Turns places in a list of Lessons into one batch.

    Attributes:
        lessons: All rows; the trainer's dataset holds their places only.
        paired: Whether rejected answers come along, as DPO needs them.
    """

    def __init__(self, loaded: LoadedModel, lessons: Sequence[Lesson], *, paired: bool) -> None:
        self.lessons = lessons
        self.paired = paired
        self._reader: PromptReader = loaded.reader
        taken = inspect.signature(type(loaded.base).forward).parameters
        self._takes_types = "mm_token_type_ids" in taken

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Read the rows `{"row": place}` into tensors of B rows, of 2 B when paired."""
        lessons = [self.lessons[row["row"]] for row in rows]
        inputs = [self._reader.read(lesson.prompt) for lesson in lessons]
        answers = [self._reader.target_ids(lesson.answer) for lesson in lessons]
        if self.paired:
            inputs = inputs * 2
            answers += [self._reader.target_ids(lesson.rejected or "") for lesson in lessons]
        batch = self._batch(inputs, answers)
        return batch | {"row": torch.tensor([row["row"] for row in rows])}

    def _batch(
        self, inputs: Sequence[PromptInputs], answers: Sequence[tuple[int, ...]]
    ) -> dict[str, torch.Tensor]:
        lengths = [len(row.ids_T) + len(ids) for row, ids in zip(inputs, answers, strict=True)]
        shape = (len(inputs), max(lengths))
        ids_BT = torch.full(shape, self._reader.pad_id, dtype=torch.int64)
        answered_BT = torch.zeros(shape, dtype=torch.int64)
        seen_BT = torch.zeros(shape, dtype=torch.int64)
        types_BT = torch.zeros(shape, dtype=torch.int64)
        for place, (row, ids) in enumerate(zip(inputs, answers, strict=True)):
            start, end = len(row.ids_T), lengths[place]
            ids_BT[place, :start] = row.ids_T
            ids_BT[place, start:end] = torch.tensor(ids)
            answered_BT[place, start:end] = 1
            seen_BT[place, :end] = 1
            types_BT[place, :start] = row.token_types_T
        batch = {"input_ids": ids_BT, "attention_mask": seen_BT, **concatenated(inputs)}
        if self._takes_types:
            batch["mm_token_type_ids"] = types_BT
        if self.paired:
            return batch | {"completion_mask": answered_BT}
        return batch | {"labels": ids_BT.masked_fill(answered_BT == 0, IGNORED)}


def concatenated(inputs: Sequence[PromptInputs]) -> dict[str, torch.Tensor]:
    """Put the pictures of all rows behind each other; rows without any add nothing."""
    names = {name: None for row in inputs for name in row.pictures}
    return {
        name: torch.cat([row.pictures[name] for row in inputs if name in row.pictures])
        for name in names
    }
