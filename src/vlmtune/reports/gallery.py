"""Turns samples.jsonl into the cards of the gallery; text stays text until the template escapes it.

Equal answers of a group stand in one line with their number, because eight times the same line
hides what differs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from vlmtune.reports import plots
from vlmtune.reports.thumbnails import Thumbnail
from vlmtune.types import JSON

MOST_CARDS = 150
"""Prompts on one page; the records hold all."""
LONGEST_PIECE = 320
"""Characters of a thought, an answer or a stretch between them that are shown before the fold."""
MOST_PIECES = 12
"""Pieces of an answer that are shown before the fold."""
_THINK = re.compile(r"(<think>.*?(?:</think>|$))", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"(<answer>.*?</answer>)", re.DOTALL | re.IGNORECASE)
_ICONS = {"correct": "✓", "wrong": "✕", "unreadable": "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text with one meaning: "think", "answer" or "plain"."""

    style: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of a prompt.

    Attributes:
        name: Where it comes from.
        number: The same for every prompt that shows it.
        first: Whether this is the first place where it is shown; only there the page holds it.
        copy: The thumbnail, or None where the page has no room for one.
    """

    name: str
    number: int
    first: bool
    copy: Thumbnail | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An answer, once, however often it was given.

    Attributes:
        times: How often.
        pieces: Its text, long pieces cut.
        folded: All of its text where anything was cut, or "".
        reward: "0.90", or "" where nothing graded it.
        tone: 0 (nothing earned) to 4 (everything), or "" without a reward.
        verdict: "correct", "wrong", "unreadable" or "".
        icon: The same as one character.
        note: The reading and the reason.
        parts: "accuracy 1, format 0".
        tokens: Its length.
        cut: Whether it did not end by itself.
        advantage: "+1.20" or "".
        bar: The advantage as a drawing.
    """

    times: int
    pieces: tuple[Piece, ...]
    folded: str
    reward: str
    tone: str
    verdict: str
    icon: str
    note: str
    parts: str
    tokens: int
    cut: bool
    advantage: str
    bar: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One prompt.

    Attributes:
        sample: Its record.
        number: Place in the run, from 1.
        pictures: Its pictures.
        lines: Its answers.
        reward: Mean reward, for sorting; 0 without.
        signal: Standard deviation of the rewards, or what is most worth a look in other stages.
        flat: Whether its answers all earned the same.
        target: Pieces of the target, for SFT.
        chosen: Pieces of the chosen answer, for DPO.
        rejected: Pieces of the rejected answer, for DPO.
        margin: The margin per token as a drawing, for DPO.
        margin_text: The same in words.
    """

    sample: Mapping[str, JSON]
    number: int
    pictures: tuple[Picture, ...]
    lines: tuple[Line, ...]
    reward: float
    signal: float
    flat: bool
    target: tuple[Piece, ...] = ()
    chosen: tuple[Piece, ...] = ()
    rejected: tuple[Piece, ...] = ()
    margin: Markup = plots.NOTHING
    margin_text: str = ""


def cards(
    samples: Sequence[Mapping[str, JSON]], pictures: Mapping[str, Thumbnail]
) -> tuple[Card, ...]:
    """Make a card for each of the first `MOST_CARDS` prompts."""
    advantages = [
        abs(answer["advantage"])
        for sample in samples
        for answer in sample["completions"]
        if answer["advantage"] is not None
    ]
    margins = [
        abs(sample["pair"]["margin_per_token"])
        for sample in samples
        if "pair" in sample and sample["pair"]["margin_per_token"] is not None
    ]
    largest = max(advantages, default=1.0)
    widest = max(margins, default=1.0)
    numbers: dict[str, int] = {}
    made = []
    for index, sample in enumerate(samples[:MOST_CARDS], start=1):
        shown = tuple(_picture(name, pictures, numbers) for name in sample["images"])
        made.append(_card(index, sample, shown, largest=largest, widest=widest))
    return tuple(made)


def pieces(text: str) -> tuple[Piece, ...]:
    """Split a text into what was thought, what was answered, and the rest."""
    found = []
    for part in _THINK.split(text):
        if not part:
            continue
        if part[:7].lower() == "<think>":
            found.append(Piece(style="think", text=part))
            continue
        for inner in _ANSWER.split(part):
            if inner:
                answered = inner[:8].lower() == "<answer>" and inner[-9:].lower() == "</answer>"
                found.append(Piece(style="answer" if answered else "plain", text=inner))
    return tuple(found)


def shortened(whole: Sequence[Piece]) -> tuple[Piece, ...]:
    """Cut every long piece, so that the answer stays in sight behind a long thought."""
    shown = [
        piece
        if len(piece.text) <= LONGEST_PIECE
        else replace(piece, text=f"{piece.text[:LONGEST_PIECE]} …")
        for piece in whole[:MOST_PIECES]
    ]
    return tuple(shown)


def _picture(name: str, pictures: Mapping[str, Thumbnail], numbers: dict[str, int]) -> Picture:
    """Number a picture; `numbers` remembers those that were shown already."""
    first = name not in numbers
    number = numbers.setdefault(name, len(numbers))
    return Picture(name=name, number=number, first=first, copy=pictures.get(name))


def _card(
    number: int,
    sample: Mapping[str, JSON],
    pictures: tuple[Picture, ...],
    *,
    largest: float,
    widest: float,
) -> Card:
    card = Card(
        sample=sample,
        number=number,
        pictures=pictures,
        lines=_lines(sample["completions"], largest=largest),
        reward=float(sample.get("reward_mean") or 0.0),
        signal=float(sample.get("reward_std") or 0.0),
        flat=bool(sample.get("flat", False)),
    )
    if "target" in sample:
        loss = sample["target"]["loss"] or 0.0
        # The least likely target is the one to look at first.
        return replace(card, reward=-loss, signal=loss, target=pieces(sample["target"]["text"]))
    if "pair" in sample:
        pair = sample["pair"]
        margin = pair["margin_per_token"] or 0.0
        told = f"{plots.signed(margin)} per token, {plots.signed(pair['margin'] or 0.0)} in all"
        return replace(
            card,
            reward=margin,
            signal=abs(margin),
            chosen=pieces(pair["chosen"]["text"]),
            rejected=pieces(pair["rejected"]["text"]),
            margin=plots.advantage(margin, largest=widest),
            margin_text=told,
        )
    return card


def _lines(answers: Sequence[Mapping[str, JSON]], *, largest: float) -> tuple[Line, ...]:
    """Fold equal answers, best first; ties keep the order in which they were drawn."""
    counted: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], Mapping[str, JSON]] = {}
    for answer in answers:
        key = (answer["text"], answer["finish"])
        counted[key] = counted.get(key, 0) + 1
        first.setdefault(key, answer)
    order = sorted(first, key=lambda key: -(first[key]["reward"] or 0.0))
    return tuple(_line(first[key], times=counted[key], largest=largest) for key in order)


def _line(answer: Mapping[str, JSON], *, times: int, largest: float) -> Line:
    reward, gain = answer["reward"], answer["advantage"]
    verdict = answer.get("verdict", "")
    reading = answer["reading"]
    graded = reading is not None
    whole = pieces(answer["text"])
    shown = shortened(whole)
    return Line(
        times=times,
        pieces=shown,
        folded=answer["text"] if shown != whole else "",
        reward="" if reward is None else f"{reward:.2f}",
        tone="" if reward is None else str(min(4, int(reward * 5))),
        verdict=verdict,
        icon=_ICONS.get(verdict, ""),
        note=answer["why"] if graded else "",
        parts=", ".join(
            f"{name} {'?' if value is None else format(value, 'g')}"
            for name, value in answer["parts"].items()
        ),
        tokens=answer["tokens"],
        cut=answer["finish"] != "stop",
        advantage="" if gain is None else plots.signed(gain),
        bar=plots.NOTHING if gain is None else plots.advantage(gain, largest=largest),
    )
