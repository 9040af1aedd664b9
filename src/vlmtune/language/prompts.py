"""The only wording of a question, shared by every backend, stage and benchmark.

A style is a name that is stored with every run: the same style and Example always give the same
messages. What the model sees of one row in style "spatial-v1":

    system:    First think inside <think></think> ... then give the answer inside <answer></answer>.
    user:      [image] How many red cubes are there? Answer with a number.
    assistant: <think>red cube (2,7), red cube (6,3)</think><answer>2</answer>

The image comes first in the user turn, so that one image's questions share a prefix.
"""

from collections.abc import Mapping
from types import MappingProxyType

from vlmtune.types import JSON, Example, Kind, Prompt

SPATIAL = "spatial-v1"
DIRECT = "direct-v1"

SYSTEM: Mapping[str, str] = MappingProxyType(
    {
        SPATIAL: "Look at the image and answer the question. First think inside <think></think> "
        "about where things are, then give only the final answer inside <answer></answer>.",
        DIRECT: "Look at the image and answer the question. Give only the final answer.",
    }
)

UNSAID = "Look at the image and answer the question."
"""The system message of a question that names the <answer> tag, and so brings its own rules."""

HINT: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.RELATION: "Answer with a spatial relation.",
        Kind.COUNT: "Answer with a number.",
        Kind.YES_NO: "Answer yes or no.",
        Kind.CHOICE: "Answer with the letter of one option.",
        Kind.CAPTION: "",
        Kind.OPEN: "",
    }
)


def letter(index: int) -> str:
    """Name the option at `index`: 0 -> "(A)".

    Raises:
        ValueError: If index is not in 0..25.
    """
    if not 0 <= index < 26:
        raise ValueError(f"option index {index} has no letter; 0 to 25 have")
    return f"({chr(ord('A') + index)})"


def question_text(example: Example) -> str:
    """Write out the question with its lettered choices and the hint of its kind.

    A question that names the <answer> tag brings instructions of its own and gets no hint.
    """
    lines = [example.question]
    lines += [f"{letter(index)} {choice}" for index, choice in enumerate(example.choices)]
    hint = "" if "<answer>" in example.question else HINT[example.kind]
    if example.choices:
        return "\n".join([*lines, hint] if hint else lines)
    return f"{example.question} {hint}" if hint else example.question


def style_of_target(example: Example, *, style: str) -> str:
    """Choose the style whose system message a supervised target can honour.

    A target without thinking and without tags cannot follow "spatial-v1"; training on such a pair
    would teach the model to ignore its instructions, so the row is asked in "direct-v1".
    """
    tagged = "<answer>" in (example.answer or "")
    return style if example.rationale or tagged else DIRECT


def target_text(*, style: str, answer: str, rationale: str = "") -> str:
    """Write an answer the way `style` wants it.

    Args:
        style: A key of `SYSTEM`.
        answer: The answer; left alone when it already has an <answer> tag.
        rationale: What goes inside <think> in style "spatial-v1".
    """
    if style == DIRECT or "<answer>" in answer:
        return answer
    return f"<think>{rationale}</think><answer>{answer}</answer>"


def build(example: Example, *, style: str) -> Prompt:
    """Word an Example as chat messages.

    Args:
        example: The row.
        style: A key of `SYSTEM`.

    Returns:
        A Prompt whose last message is the user's; earlier turns come before it, and all image
        parts stand in the first user message.

    Raises:
        KeyError: If the style does not exist.
    """
    messages: list[Mapping[str, JSON]] = [{"role": "system", "content": _system(example, style)}]
    pictures = [{"type": "image"} for _ in example.images]
    for turn in example.turns:
        messages.append({"role": "user", "content": [*pictures, _text(turn.user)]})
        messages.append({"role": "assistant", "content": [_text(turn.assistant)]})
        pictures = []
    messages.append({"role": "user", "content": [*pictures, _text(question_text(example))]})
    return Prompt(
        example_id=example.id, messages=tuple(messages), images=example.images, style=style
    )


def _system(example: Example, style: str) -> list[dict[str, str]]:
    if "<answer>" in example.question:
        return [_text(UNSAID)]
    return [_text(SYSTEM[DIRECT if example.kind is Kind.CAPTION else style])]


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
