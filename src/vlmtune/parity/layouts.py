"""Rows of every layout that `data/formats.py` reads, with pictures of many sizes.

{"id": 3, "image": {"bytes": ...}, "question": "How many red cubes ...", "answer": "2"}
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from vlmtune.data.datasets import scenes
from vlmtune.data.formats import to_example
from vlmtune.types import JSON, Example

SIZES = ((112, 112), (90, 60), (60, 140), (200, 100), (57, 57), (140, 90), (28, 100), (113, 87))
"""Width and height of the pictures; most are no multiple of a patch."""
_POOL = 64
Cell = dict[str, JSON]
Layout = Callable[[Example, Sequence[Cell]], dict[str, JSON]]


def _question(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {"image": pictures[0], "question": row.question, "answer": row.answer}


def _without_picture(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {"problem": row.question, "solution": f"<answer>{row.answer}</answer>"}


def _four_pictures(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {"images": list(pictures[:4]), "prompt": row.question, "completion": row.answer}


def _choices(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    options = [row.answer, "none of these", "a purple cow"]
    return {"image": pictures[0], "question": row.question, "choices": options, "answer": "(A)"}


def _messages_as_prompt(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    parts = [{"type": "image"}, {"type": "text", "text": row.question}]
    return {
        "images": [pictures[0]],
        "prompt": [{"role": "user", "content": parts}],
        "completion": [{"role": "assistant", "content": row.answer}],
    }


def _pair(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {
        "image": pictures[0],
        "prompt": row.question,
        "chosen": row.answer,
        "rejected": f"not {row.answer}",
    }


def _pair_of_conversations(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    asked = {"role": "user", "content": f"<image>{row.question}"}
    return {
        "image": pictures[0],
        "chosen": [asked, {"role": "assistant", "content": row.answer}],
        "rejected": [asked, {"role": "assistant", "content": f"not {row.answer}"}],
    }


def _conversations(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {
        "image": pictures[0],
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is this, in a word? Häuser; 数える; 🙂"},
            {"from": "gpt", "value": "A scene."},
            {"from": "human", "value": row.question},
            {"from": "gpt", "value": row.answer},
        ],
    }


def _messages(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    parts = [
        {"type": "image"},
        {"type": "image"},
        {"type": "text", "text": f"Of the second picture: {row.question}"},
    ]
    return {
        "images": list(pictures[:2]),
        "messages": [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": [{"type": "text", "text": row.answer}]},
        ],
    }


def _texts(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {"images": [pictures[0]], "texts": [{"user": row.question, "assistant": row.answer}]}


def _statement(row: Example, pictures: Sequence[Cell]) -> dict[str, JSON]:
    return {"image": pictures[0], "caption": f"{row.question} {row.answer}.", "label": 1}


LAYOUTS: Mapping[str, Layout] = {
    "question and answer": _question,
    "problem and solution, no picture": _without_picture,
    "prompt and completion, four pictures": _four_pictures,
    "choices": _choices,
    "prompt of messages": _messages_as_prompt,
    "prompt, chosen, rejected": _pair,
    "chosen and rejected conversations": _pair_of_conversations,
    "conversations of two turns": _conversations,
    "messages, two pictures": _messages,
    "texts": _texts,
    "caption and label": _statement,
}
"""What `data/formats.py` reads -> how a row of it is written."""


def rows(layout: str, *, count: int) -> list[Example]:
    """Write rows of a layout and read them as a run would.

    Args:
        layout: A key of `LAYOUTS`.
        count: How many; each asks something else, and pictures come from a pool.
    """
    asked = list(islice(_scenes(), count))
    pool = _pictures(min(count, _POOL))
    found = []
    for place, scene in enumerate(asked):
        pictures = [pool[(place + step) % len(pool)] for step in range(4)]
        found.append(
            to_example(
                {"id": place, **LAYOUTS[layout](scene, pictures)},
                row_id=f"{layout}/{place}",
                source=layout.replace(" ", "_"),
                image_folder=Path(),
            )
        )
    return found


def _scenes() -> Iterator[Example]:
    return scenes.load(split="test", seed=3, options={}, skip=_refuse)


def _refuse(row: str, reason: str) -> None:
    raise AssertionError(f"scene {row} skipped: {reason}")


def _pictures(count: int) -> list[Cell]:
    found: list[Cell] = []
    for place, scene in enumerate(islice(_scenes(), count)):
        stream = io.BytesIO()
        scene.images[0].open().resize(SIZES[place % len(SIZES)]).save(stream, "PNG")
        found.append({"bytes": stream.getvalue(), "path": None})
    return found
