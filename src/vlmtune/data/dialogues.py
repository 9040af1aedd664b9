"""Rows that hold a conversation: `conversations`, `messages` and `texts`.

Real rows:

    {"image": "cats.jpg", "conversations": [{"from": "human", "value": "<image>How many cats?"},
                                            {"from": "gpt", "value": "<answer>2</answer>"}]}
    {"images": ["cats.jpg"], "texts": [{"user": "How many cats?", "assistant": "2"}]}
    {"messages": [{"role": "user", "content": [{"type": "image", "image": "cats.jpg"},
                                               {"type": "text", "text": "How many cats?"}]},
                  {"role": "assistant", "content": "2"}]}

    {"prompt": [{"role": "user", "content": "How many cats?"}],
     "completion": [{"role": "assistant", "content": "2"}]}

All become the same `Dialogue`: finished turns, a last question and its answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vlmtune.data import cells
from vlmtune.data.cells import Row, shorten
from vlmtune.errors import DataError
from vlmtune.types import JSON, Turn

_USER = frozenset({"human", "user"})
_ASSISTANT = frozenset({"gpt", "assistant"})
_SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """What was said, before pictures are looked up.

    Attributes:
        turns: Finished exchanges before the question.
        question: The last user text, without placeholders.
        answer: The cell that answers it, still as found in the row; None when nobody answered.
        placeholders: How many pictures the user's texts call for.
        pictures: Pictures given inside the conversation, as found.
        system: The row's own system text, or "".
    """

    turns: tuple[Turn, ...] = ()
    question: str
    answer: JSON = None
    placeholders: int = 0
    pictures: tuple[JSON, ...] = ()
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What one side said once."""

    speaker: str
    content: JSON
    column: str


def from_conversations(row: Row) -> Dialogue:
    """Read `conversations`, the ShareGPT and VLM-R1 shape.

    Raises:
        DataError: If the lines are not of the two sides in turn.
    """
    return _dialogue(_spoken(row["conversations"], column="conversations"))


def from_messages(row: Row) -> Dialogue:
    """Read `messages`, whose content is text or a list of typed parts.

    Raises:
        DataError: If the lines are not of the two sides in turn, or a part is of unknown type.
    """
    return _dialogue(_spoken(row["messages"], column="messages"))


def from_prompt(value: JSON, *, column: str) -> Dialogue:
    """Read a prompt that is a list of messages ending with the user's, as TRL has it.

    Raises:
        DataError: If the sides do not speak in turn, or the assistant has the last word.
    """
    found = _dialogue(_spoken(value, column=column))
    if found.answer is not None:
        raise DataError(
            f"prompt ends with an answer: '{column}' closes with the assistant's words; "
            "put them into 'completion' or 'chosen'"
        )
    return found


def from_pair(row: Row, *, chosen: str, rejected: str) -> tuple[Dialogue, JSON]:
    """Read two whole conversations that part at their last answer, TRL's pairs without a prompt.

    Returns:
        The chosen one, and the rejected one's last answer.

    Raises:
        DataError: If they differ before their last answers.
    """
    good = _dialogue(_spoken(row[chosen], column=chosen))
    bad = _dialogue(_spoken(row[rejected], column=rejected))
    if (good.turns, good.question) != (bad.turns, bad.question):
        raise DataError(
            f"pair has two questions: '{chosen}' and '{rejected}' differ before the last answer; "
            "both answer the same prompt, so give it in 'prompt'"
        )
    return good, bad.answer


def reply(value: JSON, *, column: str) -> JSON:
    """Read an answer that may be a list with the assistant's one message.

    Args:
        value: The cell.
        column: Its name, for the message.

    Returns:
        The cell itself when it is no list of messages, else the message's words.

    Raises:
        DataError: If it holds several messages, or one of another side.
    """
    if not is_messages(value):
        return value
    lines = list(_spoken(value, column=column))
    if len(lines) != 1 or lines[0].speaker not in _ASSISTANT:
        said = ", ".join(line.speaker for line in lines)
        raise DataError(
            f"answer is not one message of the assistant: '{column}' is said by {shorten(said)}; "
            "keep its last message"
        )
    if _is_scalar(lines[0].content):
        return lines[0].content
    words, called_for, _ = _content(lines[0])
    if called_for:
        raise DataError(f"answer holds an image: '{column}'; only the user may show pictures")
    return words


def is_messages(value: JSON) -> bool:
    """Whether a cell is a list of messages rather than a plain value."""
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Mapping)


def from_texts(row: Row) -> Dialogue:
    """Read `texts`, a list of {"user", "assistant"} exchanges.

    Raises:
        DataError: If an exchange lacks a side.
    """
    return _dialogue(_exchanges(row["texts"]))


def _spoken(value: JSON, *, column: str) -> Iterator[_Line]:
    for number, item in enumerate(_mappings(value, column=column)):
        where = f"{column}[{number}]"
        role = item.get("from", item.get("role"))
        content = item.get("value", item.get("content"))
        if not isinstance(role, str):
            raise DataError(
                f"line has no speaker: '{where}' has {_names(item)}; "
                "it needs 'from' and 'value', or 'role' and 'content'"
            )
        yield _Line(speaker=role.strip().lower(), content=content, column=where)


def _exchanges(value: JSON) -> Iterator[_Line]:
    for number, item in enumerate(_mappings(value, column="texts")):
        where = f"texts[{number}]"
        if "user" not in item or "assistant" not in item:
            raise DataError(
                f"exchange lacks a side: '{where}' has {_names(item)}; "
                "it needs 'user' and 'assistant'"
            )
        yield _Line(speaker="user", content=item["user"], column=f"{where}.user")
        yield _Line(speaker="assistant", content=item["assistant"], column=f"{where}.assistant")


def _mappings(value: JSON, *, column: str) -> Iterator[Mapping[str, JSON]]:
    if not isinstance(value, (list, tuple)) or not value:
        raise DataError(
            f"conversation is not a list of lines: '{column}' holds {type(value).__name__} "
            f"{shorten(value)}; write a list"
        )
    for number, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise DataError(
                f"line is not an object: '{column}[{number}]' holds {type(item).__name__} "
                f"{shorten(item)}; write an object"
            )
        yield item


def _dialogue(lines: Iterable[_Line]) -> Dialogue:
    system, asked, answered = "", list[str](), list[JSON]()
    placeholders, pictures = 0, list[JSON]()
    for line in lines:
        words, called_for, given = _content(line)
        if line.speaker == _SYSTEM and not asked:
            system = words
        elif line.speaker in _USER and len(asked) == len(answered):
            asked.append(words)
            placeholders += called_for
            pictures += given
        elif line.speaker in _ASSISTANT and len(asked) == len(answered) + 1:
            if called_for:
                raise DataError(
                    f"answer holds an image: '{line.column}'; only the user may show pictures"
                )
            # The last answer may be a bare number, as VLM-R1's files have it.
            answered.append(line.content if _is_scalar(line.content) else words)
        else:
            raise DataError(_out_of_turn(line))
    if not asked:
        raise DataError("nobody asks: the conversation has no user line; add one")
    finished = len(asked) - 1
    return Dialogue(
        turns=tuple(
            _finished(user, reply)
            for user, reply in zip(asked[:finished], answered[:finished], strict=True)
        ),
        question=asked[-1],
        answer=answered[-1] if len(answered) == len(asked) else None,
        placeholders=placeholders,
        pictures=tuple(pictures),
        system=system,
    )


def _content(line: _Line) -> tuple[str, int, list[JSON]]:
    """Return a line's words, how many pictures it calls for, and those that it brings along."""
    if line.speaker in _ASSISTANT and _is_scalar(line.content):
        return "", 0, []
    if not isinstance(line.content, (list, tuple)):
        return *cells.asked(line.content, column=line.column), []
    words, called_for, given = list[str](), 0, list[JSON]()
    for part in _mappings(line.content, column=line.column):
        kind = part.get("type")
        if kind == "text":
            said, extra = cells.asked(part.get("text"), column=f"{line.column}.text")
            words.append(said)
            called_for += extra
        elif kind in ("image", "image_url"):
            called_for += 1
            given += _inline_picture(part)
        else:
            raise DataError(
                f"part is of unknown type: '{line.column}' has {shorten(kind)}; "
                "text, image and image_url can be read"
            )
    return "\n".join(filter(None, words)), called_for, given


def _inline_picture(part: Mapping[str, JSON]) -> list[JSON]:
    for key in ("image", "image_url", "path", "url"):
        value = part.get(key)
        if isinstance(value, Mapping) and "url" in value:
            value = value["url"]
        if value is not None:
            return [value]
    return []


def _is_scalar(value: JSON) -> bool:
    return isinstance(value, (bool, int, float))


def _finished(user: str, reply: JSON) -> Turn:
    assistant = cells.answer(reply, column="an earlier answer")
    if not user or assistant is None:
        raise DataError("an earlier turn is empty: both sides need words; complete or remove it")
    return Turn(user=user, assistant=assistant)


def _out_of_turn(line: _Line) -> str:
    known = sorted(_USER | _ASSISTANT | {_SYSTEM})
    if line.speaker not in known:
        return (
            f"speaker is unknown: '{line.column}' is said by {shorten(line.speaker)}; "
            f"known: {', '.join(known)}"
        )
    return (
        f"speakers do not take turns: '{line.column}' is said by {shorten(line.speaker)}; "
        "system comes first, then user and assistant alternate"
    )


def _names(item: Mapping[str, JSON]) -> str:
    return ", ".join(f"'{key}'" for key in list(item)[:6]) or "nothing"
