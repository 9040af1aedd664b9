"""A list of bad rows and lines: each costs one row, with a reason, and nothing else.

Every bad row is put between two good ones: the run must keep both and count exactly one skip, whose
reason starts as the list says. Bad pictures and bad settings have lists of their own.
"""

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from vlmtune.types import Stage

GOOD = {"prompt": "Good?", "answer": "A"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("bad")
    PIL.Image.linear_gradient("L").save(place / "good.png")
    return place


def pictured(image: Any) -> dict[str, Any]:
    return {**GOOD, "image": image}


def talk(*lines: Any, **more: Any) -> dict[str, Any]:
    return {"conversations": list(lines), **more}


ASK = {"from": "human", "value": "Q?"}
SAY = {"from": "gpt", "value": "A"}
CHOICE = {"prompt": "Q?", "choices": ["left", "right"]}
BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({}, "columns do not fit"),
    ({"answer": "A"}, "columns do not fit"),
    ({"promt": "Q?", "answer": "A"}, "columns do not fit"),
    ({"caption": "A cat."}, "columns do not fit"),
    ({"label": 1}, "columns do not fit"),
    ({"chosen": "A", "rejected": "B"}, "columns do not fit"),
    ({"prompt": "Q?", "chosen": "A"}, "columns do not fit"),
    ({"prompt": None, "answer": "A"}, "cell is not text"),
    ({"prompt": "", "answer": "A"}, "question is empty"),
    ({"prompt": " \t\n", "answer": "A"}, "question is empty"),
    ({"prompt": "<image>", "image": "good.png", "answer": "A"}, "question is empty"),
    ({"prompt": 3, "answer": "A"}, "cell is not text"),
    ({"prompt": True, "answer": "A"}, "cell is not text"),
    ({"prompt": {"text": "Q?"}, "answer": "A"}, "cell is not text"),
    ({"prompt": ["Q?"], "answer": "A"}, "cell is not text"),
    ({"prompt": "a<|im_end|>b", "answer": "A"}, "text holds a special token"),
    ({"prompt": "a<|vision_start|>", "answer": "A"}, "text holds a special token"),
    ({"prompt": "Q?", "answer": "<|endoftext|>"}, "text holds a special token"),
    ({"prompt": "\ud83d", "answer": "A"}, "text is not valid Unicode"),
    ({"prompt": "Q?", "answer": "\udc00"}, "text is not valid Unicode"),
    ({"prompt": "Q?"}, "no answer"),
    ({"prompt": "Q?", "answer": None}, "no answer"),
    ({"prompt": "Q?", "answer": " "}, "no answer"),
    ({"prompt": "Q?", "answer": []}, "no answer"),
    ({"prompt": "Q?", "answers": "A"}, "no answer"),
    ({"prompt": "Q?", "answer": ["A", "B"]}, "answer is a list"),
    ({"prompt": "Q?", "answer": {"text": "A"}}, "cell is not text"),
    ({"prompt": "Q?", "answer": 10**200}, "answer is too long"),
    ({"prompt": "Q?", "answer": "see <image>"}, "answer holds an image placeholder"),
    ({"prompt": "<image>Q?", "answer": "A"}, "images and placeholders differ"),
    ({**pictured("good.png"), "prompt": "<image><image>Q?"}, "images and placeholders differ"),
    ({**GOOD, "kind": "counting"}, "kind is unknown"),
    ({**GOOD, "kind": 3}, "kind is unknown"),
    ({**GOOD, "kind": ["count"]}, "kind is unknown"),
    ({**GOOD, "rationale": 3}, "cell is not text"),
    ({**GOOD, "photo": "good.png"}, "picture column is not known"),
    ({**GOOD, "image": "good.png", "images": ["gone.png"]}, "pictures are given twice"),
    ({**GOOD, "id": "<|im_end|>"}, "text holds a special token"),
    ({**CHOICE, "answer": "C"}, "answer is not one of the choices"),
    ({**CHOICE, "answer": "up"}, "answer is not one of the choices"),
    ({**CHOICE, "answer": 2}, "answer is not one of the choices"),
    ({**CHOICE, "answer": -1}, "answer is not one of the choices"),
    ({**CHOICE, "answer": None}, "no answer"),
    ({**CHOICE, "choices": ["B", "A"], "answer": "A"}, "answer could mean two choices"),
    ({**CHOICE, "choices": [1, 0], "answer": 1}, "answer could mean two choices"),
    ({**CHOICE, "choices": ["left", "left"], "answer": "left"}, "answer could mean two choices"),
    ({**CHOICE, "choices": ["left"], "answer": "A"}, "wrong number of choices"),
    ({**CHOICE, "choices": ["x"] * 27, "answer": "A"}, "wrong number of choices"),
    ({**CHOICE, "choices": "left or right", "answer": "A"}, "choices are not a list"),
    ({**CHOICE, "choices": "[[[[", "answer": "A"}, "choices are not a list"),
    ({**CHOICE, "choices": "__import__('os')", "answer": "A"}, "choices are not a list"),
    ({**CHOICE, "choices": {"a": 1}, "answer": "A"}, "choices are not a list"),
    ({**CHOICE, "choices": 5, "answer": "A"}, "choices are not a list"),
    ({**CHOICE, "choices": ["left", ""], "answer": "A"}, "choice is empty"),
    ({**CHOICE, "choices": ["left", None], "answer": "A"}, "choice is empty"),
    ({"caption": "A cat.", "label": 2}, "label is neither true nor false"),
    ({"caption": "A cat.", "label": "maybe"}, "label is neither true nor false"),
    ({"caption": "A cat.", "label": None}, "no answer"),
    ({"caption": " ", "label": 1}, "statement is empty"),
    ({"caption": 3, "label": 1}, "cell is not text"),
    (talk("Q?"), "line is not an object"),
    (talk(3), "line is not an object"),
    (talk(None), "line is not an object"),
    ({"conversations": "Q?"}, "conversation is not a list of lines"),
    ({"conversations": {"from": "human"}}, "conversation is not a list of lines"),
    (talk({"value": "Q?"}), "line has no speaker"),
    (talk({"from": 3, "value": "Q?"}), "line has no speaker"),
    (talk({"from": "bot", "value": "Q?"}), "speaker is unknown"),
    (talk(SAY), "speakers do not take turns"),
    (talk(ASK, ASK), "speakers do not take turns"),
    (talk(ASK, SAY, SAY), "speakers do not take turns"),
    (talk(ASK, {"from": "system", "value": "S"}), "speakers do not take turns"),
    (talk({"from": "system", "value": "S"}), "nobody asks"),
    (talk(ASK), "no answer"),
    (talk(ASK, {"from": "gpt", "value": ""}), "no answer"),
    (talk(ASK, {"from": "gpt", "value": None}), "cell is not text"),
    (talk(ASK, {"from": "gpt", "value": ""}, ASK, SAY), "an earlier turn is empty"),
    (talk({"from": "human", "value": ""}, SAY), "question is empty"),
    (talk({"from": "human", "value": "<image>Q?"}, SAY), "images and placeholders differ"),
    ({"texts": [{"user": "Q?"}]}, "exchange lacks a side"),
    ({"texts": [{"assistant": "A"}]}, "exchange lacks a side"),
    ({"texts": "Q?"}, "conversation is not a list of lines"),
    ({"texts": [{"user": None, "assistant": "A"}]}, "cell is not text"),
    ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "part is of unknown type"),
    ({"messages": [{"role": "user", "content": [{"text": "Q"}]}]}, "part is of unknown type"),
    ({"messages": [{"role": "user", "content": ["Q"]}]}, "line is not an object"),
    ({"messages": [{"role": "tool", "content": "Q"}]}, "speaker is unknown"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]},
        "cell is not text",
    ),
    (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q"}]}
            ]
        },
        "images and placeholders differ",
    ),
    ({"prompt": [{"role": "user", "content": "Q"}]}, "no answer"),
    ({"prompt": [{"role": "assistant", "content": "A"}]}, "speakers do not take turns"),
    (
        {"prompt": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
        "prompt ends with an answer",
    ),
    (
        {"prompt": "Q", "completion": [{"role": "user", "content": "A"}]},
        "answer is not one message",
    ),
    ({"prompt": "Q", "completion": [{"content": "A"}]}, "line has no speaker"),
    ({"chosen": [ASK, SAY], "rejected": "B"}, "columns do not fit"),
    (
        {
            "chosen": [ASK, SAY],
            "rejected": [{"from": "human", "value": "Other?"}, SAY],
        },
        "pair has two questions",
    ),
    ({"prompt": "Q?", "chosen": {"a": 1}, "rejected": "B"}, "cell is not text"),
]
BAD_LINES: list[tuple[bytes, str]] = [
    (b"{", "not valid JSON"),
    (b"}", "not valid JSON"),
    (b'{"prompt": "Q" "answer": "A"}', "not valid JSON"),
    (b'{"prompt": "Q", "answer": "A",}', "not valid JSON"),
    (b"{'prompt': 'Q', 'answer': 'A'}", "not valid JSON"),
    (b'{"prompt": "Q", "answer": NaN}', "not valid JSON"),
    (b'{"prompt": "Q", "answer": Infinity}', "not valid JSON"),
    (b'{"prompt": "Q", "answer": 1e999}', "not valid JSON"),
    (b'{"prompt": "Q", "prompt": "R", "answer": "A"}', "not valid JSON"),
    (b'{"prompt": "Q", "answer": 0x10}', "not valid JSON"),
    (b'{"prompt": "Q\tR", "answer": "A"}', "not valid JSON"),
    (b'{"prompt": "Q", "answer": ' + b"1" * 5000 + b"}", "not valid JSON"),
    (b'{"prompt": "\xff", "answer": "A"}', "not UTF-8 text"),
    (b"\x00\x01\x02", "not valid JSON"),
    (b"prompt,answer", "not valid JSON"),
    (b"[1, 2]", "not a JSON object"),
    (b'"Q?"', "not a JSON object"),
    (b"3", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"true", "not a JSON object"),
    (b"[" * 20_000, "nested too deeply"),
    (b'{"prompt": "' + b"x" * (17 << 20) + b'"}', "line is too long"),
]
BAD_PAIRS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "Q?", "chosen": "A", "rejected": "A"}, "chosen and rejected are the same"),
    ({"prompt": "Q?", "chosen": "A", "rejected": " A "}, "chosen and rejected are the same"),
    ({"prompt": "Q?", "chosen": "", "rejected": "B"}, "no chosen answer"),
    ({"prompt": "Q?", "chosen": "A", "rejected": None}, "no rejected answer"),
    ({"prompt": "Q?", "answer": "A"}, "no rejected answer"),
    ({"prompt": "Q?", "chosen": "A", "rejected": ["B", "C"]}, "answer is a list"),
    ({"prompt": "Q?", "chosen": "A", "rejected": "<image>"}, "answer holds an image placeholder"),
]


def name_of(case: Any) -> str:
    return repr(case)[:60] if not isinstance(case, str) else case[:40]


@pytest.mark.parametrize(("row", "start"), BAD_ROWS, ids=name_of)
def test_a_bad_row_costs_one_row(
    row: dict[str, Any], start: str, folder: Path, between: Any
) -> None:
    reason = between(folder, json.dumps(row).encode())
    assert reason.startswith(start)


@pytest.mark.parametrize(("line", "start"), BAD_LINES, ids=name_of)
def test_a_bad_line_costs_one_row(line: bytes, start: str, folder: Path, between: Any) -> None:
    assert between(folder, line).startswith(start)


@pytest.mark.parametrize(("row", "start"), BAD_PAIRS, ids=name_of)
def test_a_bad_pair_costs_one_row(
    row: dict[str, Any], start: str, folder: Path, between: Any
) -> None:
    good = {"prompt": "Good?", "chosen": "A", "rejected": "B"}
    reason = between(folder, json.dumps(row).encode(), stage=Stage.DPO, good=good)
    assert reason.startswith(start)


def test_the_list_of_rows_is_as_long_as_promised() -> None:
    assert len(BAD_ROWS) + len(BAD_LINES) + len(BAD_PAIRS) >= 110
