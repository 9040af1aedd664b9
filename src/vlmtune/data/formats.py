"""Row shapes: one row of any supported layout becomes an Example.

The shape is detected from the columns, first match wins (`SHAPES`). A row that fits none is
refused with the columns found, those needed and the nearest guess; so is a row whose pictures
would be overlooked. Columns that a shape does not use become the Example's `facts`.

    {"id": "a/1", "image": "cats.jpg", "prompt": "How many cats?", "answer": "2"}
        -> question "How many cats?", answer "2", kind COUNT, one FileImage

To add a shape: a function from row to `_Reading`, and a line in `SHAPES`.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vlmtune.data import cells, dialogues
from vlmtune.data.cells import MAX_IMAGES, PLACEHOLDER, Row, is_blank, shorten
from vlmtune.data.kinds import infer_kind, stated_kind
from vlmtune.errors import DataError
from vlmtune.types import JSON, Example, ImageRef, Kind

QUESTION = ("prompt", "question", "problem")
ANSWER = ("answer", "solution", "expected_answer", "ground_truth", "completion")
CHOICES = ("choices",)
IMAGES = ("image", "images")
CHOSEN = ("chosen", "chosen_answer", "winner_answer")
REJECTED = ("rejected", "rejected_answer", "loser_answer")
STATEMENT = ("caption", "label")

_TRUTH = {"1": "yes", "true": "yes", "yes": "yes", "0": "no", "false": "no", "no": "no"}
_FLAT = frozenset({"id", "kind", "rationale", "rejected_rationale"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Columns named by the user; None lets the aliases decide.

    Attributes:
        prompt: The question's column.
        answer: The gold answer's column.
        choice: The options' column.
        images: The pictures' columns, in order.
    """

    prompt: str | None = None
    answer: str | None = None
    choice: str | None = None
    images: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What a shape found.

    Attributes:
        dialogue: What was said.
        used: Columns that have been understood.
        answer_column: Where the answer came from, for messages.
        rejected: The cell of the worse answer.
        choices: The cell of the options.
        kind: The kind that the shape itself implies.
    """

    dialogue: dialogues.Dialogue
    used: frozenset[str]
    answer_column: str = "answer"
    rejected: JSON = None
    choices: JSON = None
    kind: Kind | None = None


def to_example(
    row: Row, *, row_id: str, source: str, image_folder: Path, keys: Keys | None = None
) -> Example:
    """Turn a row of any supported shape into an Example, opening no picture.

    Args:
        row: Column names and values, as JSON or parquet gives them.
        row_id: Used when the row has no id of its own, and in messages.
        source: The dataset's name.
        image_folder: What relative picture paths start from.
        keys: Columns that the user named.

    Raises:
        DataError: If the row cannot be used; the message says why and what to do.
    """
    keys = keys or Keys()
    reading = _read(row, keys=keys)
    dialogue = reading.dialogue
    if not dialogue.question:
        raise DataError("question is empty: the last user text has no words; write one")
    example_id = _own_id(row, fallback=row_id, source=source)
    columns = keys.images if keys.images is not None else IMAGES
    images = _images(row, dialogue, columns=columns, folder=image_folder, label=example_id)
    if not images and keys.images is None:
        _refuse_overlooked_pictures(row)
    choices = cells.choices(reading.choices, column=keys.choice or CHOICES[0])
    answer = (
        cells.option(dialogue.answer, options=choices, column=reading.answer_column)
        if choices
        else cells.answer(dialogue.answer, column=reading.answer_column)
    )
    kind = (
        stated_kind(row.get("kind"))
        or reading.kind
        or infer_kind(question=dialogue.question, answer=answer, choices=choices)
    )
    return Example(
        id=example_id,
        images=images,
        turns=dialogue.turns,
        question=dialogue.question,
        answer=answer,
        rationale=_optional_text(row, "rationale"),
        rejected=cells.answer(reading.rejected, column="rejected"),
        rejected_rationale=_optional_text(row, "rejected_rationale"),
        kind=kind,
        choices=choices,
        source=source,
        facts=_facts(row, dialogue, used=reading.used | _FLAT | set(columns)),
    )


def _read(row: Row, *, keys: Keys) -> _Reading:
    missing = [key for key in (keys.prompt, keys.answer, keys.choice) if key and key not in row]
    missing += [key for key in keys.images or () if key not in row]
    if missing:
        guess = difflib.get_close_matches(missing[0], list(row), n=1)
        hint = f"; did you mean '{guess[0]}'?" if guess else "; correct the dataset's options"
        raise DataError(f"named column is missing: no '{missing[0]}' among {_listed(row)}{hint}")
    shapes = (read for fits, read in SHAPES if fits(row))
    read = _question if keys.prompt is not None else next(shapes, None)
    if read is None:
        raise DataError(_mismatch(row))
    reading = read(row, keys)
    if keys.answer is None:
        return reading
    return replace(
        reading,
        dialogue=replace(reading.dialogue, answer=row[keys.answer]),
        answer_column=keys.answer,
        used=reading.used | {keys.answer},
    )


def _spoken(
    column: str, read: Callable[[Row], dialogues.Dialogue]
) -> Callable[[Row, Keys], _Reading]:
    def shape(row: Row, keys: Keys) -> _Reading:
        """Take the conversation out of its column, and the choices from beside it."""
        choices = keys.choice or CHOICES[0]
        return _Reading(
            dialogue=read(row),
            used=frozenset({column, choices}),
            answer_column=column,
            choices=row.get(choices),
        )

    return shape


def _preference(row: Row, _keys: Keys) -> _Reading:
    prompt, chosen, rejected = (_first(row, names) for names in (QUESTION, CHOSEN, REJECTED))
    if chosen is None or rejected is None:
        raise DataError(_mismatch(row))
    if prompt is None:
        if not all(isinstance(row[name], (list, tuple)) for name in (chosen, rejected)):
            raise DataError(_mismatch(row))
        dialogue, worse = dialogues.from_pair(row, chosen=chosen, rejected=rejected)
        return _Reading(
            dialogue=dialogue,
            used=frozenset({chosen, rejected}),
            answer_column=chosen,
            rejected=worse,
        )
    return _Reading(
        dialogue=replace(_prompt(row, prompt), answer=dialogues.reply(row[chosen], column=chosen)),
        used=frozenset({prompt, chosen, rejected}),
        answer_column=chosen,
        rejected=dialogues.reply(row[rejected], column=rejected),
    )


def _prompt(row: Row, column: str) -> dialogues.Dialogue:
    """Read a question's cell: text, or TRL's list of messages."""
    if dialogues.is_messages(row[column]):
        return dialogues.from_prompt(row[column], column=column)
    question, placeholders = cells.asked(row[column], column=column)
    return dialogues.Dialogue(question=question, placeholders=placeholders)


def _statement(row: Row, _keys: Keys) -> _Reading:
    caption, placeholders = cells.asked(row["caption"], column="caption")
    if not caption:
        raise DataError("statement is empty: 'caption' has no words; write one")
    label = row["label"]
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    truth = _TRUTH.get(str(label).strip().lower())
    if truth is None and not is_blank(label):
        raise DataError(
            f"label is neither true nor false: 'label' holds {shorten(label)}; write 1 or 0"
        )
    return _Reading(
        dialogue=dialogues.Dialogue(
            question=f'Is this statement true? "{caption}"', answer=truth, placeholders=placeholders
        ),
        used=frozenset(STATEMENT),
        answer_column="label",
        kind=Kind.YES_NO,
    )


def _question(row: Row, keys: Keys) -> _Reading:
    choices = keys.choice or _first(row, CHOICES)
    offered = row[choices] if choices else None
    # CV-Bench has both: its 'prompt' repeats the choices that 'question' leaves out.
    order = QUESTION if is_blank(offered) else ("question", "problem", "prompt")
    prompt = keys.prompt or _first(row, order)
    if prompt is None:
        raise DataError(_mismatch(row))
    answer = _first(row, ANSWER) if keys.answer is None else None
    rejected = _first(row, REJECTED)
    return _Reading(
        dialogue=replace(
            _prompt(row, prompt),
            answer=dialogues.reply(row[answer], column=answer) if answer else None,
        ),
        used=frozenset(filter(None, (prompt, answer, choices, rejected))),
        answer_column=answer or ANSWER[0],
        rejected=row[rejected] if rejected else None,
        choices=offered,
    )


SHAPES: tuple[tuple[Callable[[Row], bool], Callable[[Row, Keys], _Reading]], ...] = (
    (
        lambda row: not is_blank(row.get("conversations")),
        _spoken("conversations", dialogues.from_conversations),
    ),
    (lambda row: not is_blank(row.get("messages")), _spoken("messages", dialogues.from_messages)),
    (lambda row: not is_blank(row.get("texts")), _spoken("texts", dialogues.from_texts)),
    (lambda row: any(name in row for name in CHOSEN), _preference),
    (lambda row: _first(row, QUESTION) is not None, _question),
    (lambda row: all(name in row for name in STATEMENT), _statement),
)
"""Which columns mark a shape, and what reads it; the first that fits is taken."""


def _first(row: Row, names: Iterable[str]) -> str | None:
    """Return the first of `names` that has content, else the first that is there at all."""
    present = [name for name in names if name in row]
    return next((name for name in present if not is_blank(row[name])), next(iter(present), None))


def _own_id(row: Row, *, fallback: str, source: str) -> str:
    value = row.get("id")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        return f"{source}/{value}"
    if is_blank(value) or not isinstance(value, str):
        return fallback
    return cells.text(value, column="id")


def _images(
    row: Row, dialogue: dialogues.Dialogue, *, columns: Iterable[str], folder: Path, label: str
) -> tuple[ImageRef, ...]:
    filled = [name for name in columns if not is_blank(row.get(name))]
    if columns is IMAGES and len(filled) == 2 and row["image"] != row["images"]:
        raise DataError(
            "pictures are given twice: 'image' and 'images' differ; keep one, or set image_keys"
        )
    if columns is IMAGES:
        filled = filled[:1]
    given = [(name, row[name]) for name in filled]
    if dialogue.pictures:
        if given and len(dialogue.pictures) != dialogue.placeholders:
            raise DataError(
                "pictures are given twice: in the messages and in their own column; keep one"
            )
        given = given or [("messages", list(dialogue.pictures))]
    images = tuple(
        image
        for name, value in given
        for image in cells.pictures(value, column=name, folder=folder, label=label)
    )
    if len(images) > MAX_IMAGES:
        raise DataError(
            f"too many images: the row has {len(images)}; at most {MAX_IMAGES} fit one prompt"
        )
    if dialogue.placeholders not in (0, len(images)):
        raise DataError(
            f"images and placeholders differ: {len(images)} images, {dialogue.placeholders} "
            f"{PLACEHOLDER} placeholders or image parts in the user's text; correct one of the two"
        )
    return images


def _refuse_overlooked_pictures(row: Row) -> None:
    """A picture under an unknown name would silently turn the row into a text-only one."""
    for name, value in row.items():
        if name not in IMAGES and cells.looks_like_picture(value):
            raise DataError(
                f"picture column is not known: '{name}' holds {shorten(value)}; rename it to "
                f"'image', or set the option image_keys: ['{name}'] ([] for rows without pictures)"
            )


def _optional_text(row: Row, column: str) -> str:
    value = row.get(column)
    return "" if value is None else cells.text(value, column=column)


def _facts(
    row: Row, dialogue: dialogues.Dialogue, *, used: frozenset[str] | set[str]
) -> Mapping[str, JSON]:
    facts = {name: value for name, value in row.items() if name not in used}
    if dialogue.system:
        facts["system"] = dialogue.system
    return facts


def _mismatch(row: Row) -> str:
    """Say which columns were found, which are needed, and what may have been meant."""
    known = [*QUESTION, *CHOSEN, *REJECTED, "conversations", "messages", "texts", *STATEMENT]
    if any(name in row for name in (*CHOSEN, *REJECTED)):
        lacking = [
            names[0]
            for names in (QUESTION, CHOSEN, REJECTED)
            if not any(name in row for name in names)
        ]
        needed = f"a preference row also needs {' and '.join(lacking)}"
        known = [*QUESTION, *CHOSEN, *REJECTED]
    else:
        needed = (
            "a row needs one of prompt, question, problem, conversations, messages, texts, "
            "or caption with label"
        )
    hints = []
    for name in row:
        if name not in (*known, *ANSWER, *IMAGES, *CHOICES, *_FLAT):
            guess = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.7)
            hints += [f"'{name}' may be meant as '{guess[0]}'"] if guess else []
    advice = hints[0] if hints else "rename a column, or name it with the option prompt_key"
    return f"columns do not fit: found {_listed(row)}; {needed}; {advice}"


def _listed(row: Row) -> str:
    names = [shorten(name, limit=40) for name in row]
    rest = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return (", ".join(names[:12]) or "no column") + rest
