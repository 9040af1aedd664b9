"""What the scripted backend may say to a prompt, and with which probability.

    "... How many red cubes are there? Answer with a number."
        0.12  <think>counting one by one</think><answer>0</answer>      and so on to 6
        0.10  3                                                         no tags
        0.05  (nothing)
        0.05  <think>then I look left and then I look right and ...     until it is cut

The words of a text are its tokens, blanks in front included. The candidates form a tree, so each
word has a probability given the words before it.
"""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from vlmtune.language.prompts import HINT
from vlmtune.types import Kind, Prompt

END = 0
"""Token id that ends an answer."""
IMAGE_TOKEN = 1
"""Token id that stands for a part of a picture; never said."""
VOCABULARY = 50_000
OFF_SCRIPT = 1e-4
"""Probability of leaving the script at a word, spread evenly over the vocabulary."""

_WELL_FORMED, _BARE, _CHATTY, _EMPTY, _RAMBLING = 0.70, 0.10, 0.10, 0.05, 0.05
_RAMBLE = "<think>" + "then I look left and then I look right and " * 60
_VALUES: dict[Kind, tuple[str, ...]] = {
    Kind.COUNT: tuple("0123456"),
    Kind.YES_NO: ("yes", "no"),
    Kind.RELATION: ("left of", "right of", "above", "below", "in front of", "behind"),
    Kind.OPEN: ("a red cube", "a blue sphere", "two objects"),
}
_THOUGHT = {
    Kind.COUNT: "counting one by one",
    Kind.YES_NO: "checking the statement",
    Kind.RELATION: "comparing the two positions",
    Kind.CHOICE: "comparing the options",
    Kind.OPEN: "looking at the image",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One thing that may be said.

    Attributes:
        text: All of it.
        weight: Its probability at temperature 1.
    """

    text: str
    weight: float


def pieces(text: str) -> list[str]:
    """Split a text into words with the blanks before them; joined they give the text back."""
    return re.findall(r"\s*\S+|\s+$", text)


def token_id(piece: str) -> int:
    """Number a word; two words may share a number, as hashes do."""
    return 2 + zlib.crc32(piece.encode()) % (VOCABULARY - 2)


def token_ids(text: str) -> tuple[int, ...]:
    """Number the words of a text and end it."""
    return (*(token_id(piece) for piece in pieces(text)), END)


def last_question(prompt: Prompt) -> str:
    """Read the text of the last message."""
    content = prompt.messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def candidates(prompt: Prompt) -> tuple[Candidate, ...]:
    """List what may be said to a prompt; the weights add up to 1."""
    question = last_question(prompt)
    kind = next((kind for kind, hint in HINT.items() if hint and hint in question), Kind.OPEN)
    letters = tuple(re.findall(r"^(\([A-Z]\)) ", question, flags=re.MULTILINE))
    values = letters or _VALUES[kind if kind in _VALUES else Kind.OPEN]
    thought = _THOUGHT[kind]
    # Which value leads depends on the question, so that greedy answers are not all alike.
    lead = zlib.crc32(question.encode()) % len(values)
    shares = [2.0 if index == lead else 1.0 for index in range(len(values))]
    explained = "<explain>I see {0} in the picture</explain>" if "<explain>" in question else ""
    forms = (
        (_WELL_FORMED, "<think>" + thought + "</think><answer>{0}</answer>" + explained),
        (_BARE, "{0}"),
        (_CHATTY, "I would say it is {0} here."),
    )
    said = [
        Candidate(form.format(value), weight * share / sum(shares))
        for weight, form in forms
        for value, share in zip(values, shares, strict=True)
    ]
    return (*said, Candidate("", _EMPTY), Candidate(_RAMBLE, _RAMBLING))


def heated(script: Sequence[Candidate], temperature: float) -> list[float]:
    """Sharpen or flatten the weights: each to the power 1 / temperature, then to sum 1."""
    if temperature == 0:
        best = max(range(len(script)), key=lambda index: script[index].weight)
        return [float(index == best) for index in range(len(script))]
    logs = [math.log(candidate.weight) / temperature for candidate in script]
    powers = [math.exp(value - max(logs)) for value in logs]
    return [power / sum(powers) for power in powers]


def logprobs(
    script: Sequence[Candidate], weights: Sequence[float], tokens: Sequence[int]
) -> tuple[float, ...]:
    """Compute the log-probability of each token given those before it.

    Args:
        script: What may be said.
        weights: Its probabilities.
        tokens: Any token ids; words that leave the script cost `OFF_SCRIPT / VOCABULARY` each.
    """
    paths = [
        (token_ids(candidate.text), weight)
        for candidate, weight in zip(script, weights, strict=True)
    ]
    found: list[float] = []
    for place, token in enumerate(tokens):
        before = sum(weight for _, weight in paths)
        paths = [(path, weight) for path, weight in paths if path[place : place + 1] == (token,)]
        share = sum(weight for _, weight in paths) / before if before else 0.0
        found.append(math.log((1 - OFF_SCRIPT) * share + OFF_SCRIPT / VOCABULARY))
    return tuple(found)
