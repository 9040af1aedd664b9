"""ViVQA-X: Vietnamese questions about COCO photographs, each with an answer and explanations.

    {"question": "có bao nhiêu con mèo?", "image_id": "139", "image_name": "COCO_val2014_..139.jpg",
     "answer": "hai", "explanation": ["có hai con mèo ...", "...", "..."], "question_id": "139001",
     "question_type": "how many", "answer_type": "number"}

Three JSON files, ViVQA-X_train.json, ViVQA-X_val.json and ViVQA-X_test.json, each one list. Texts
come in composed and decomposed Unicode; here all are NFC, so that equal words are equal.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmtune.data import options as read_options
from vlmtune.data import rows, splits, store
from vlmtune.data.cells import Row, is_blank, shorten
from vlmtune.data.options import ROW_OPTIONS
from vlmtune.data.tables import Table, Unreadable
from vlmtune.errors import ConfigError, DataError
from vlmtune.protocols import SkipReport
from vlmtune.types import JSON, Example

OPTIONS = ("path", "instructions", *ROW_OPTIONS)
SPLITS = ("train", "val", "test")
INSTRUCTIONS = (
    "Hãy quan sát bức ảnh và trả lời câu hỏi bằng tiếng Việt. Trước tiên hãy suy luận từng bước "
    "trong thẻ <think></think>, tiếp theo ghi câu trả lời thật ngắn gọn trong thẻ "
    "<answer></answer>, cuối cùng giải thích câu trả lời bằng một câu trong thẻ "
    "<explain></explain>.\nCâu hỏi: "
)
"""What stands before a question, so that the answer comes in the three tags."""


def load(
    *, split: str, seed: int, options: Mapping[str, JSON], skip: SkipReport
) -> Iterator[Example]:
    """Yield questions in the file's order.

    Args:
        split: "train", "val" (or "validation") or "test", or a part of one.
        seed: Unused; the order is the file's.
        options: `path` (required: the folder of the three files, or one of them), `image_folder`
            (COCO's folder, with train2014 and val2014 in it or the pictures themselves; default:
            beside the files), `instructions` (false asks the bare question), `preprocessing`.
        skip: Told of every row that cannot be used.

    Raises:
        ConfigError: If an option or the split is wrong.
        DataError: If the file is missing or of another shape.
    """
    read_options.refuse_unknown(options, OPTIONS, dataset="vivqa_x")
    named = read_options.text(options, "path", dataset="vivqa_x")
    if named is None:
        raise ConfigError(
            "dataset vivqa_x needs the option 'path': the folder with ViVQA-X_train.json, "
            "ViVQA-X_val.json and ViVQA-X_test.json; it is not on the hub"
        )
    wanted = options.get("instructions", True)
    if not isinstance(wanted, bool):
        raise ConfigError(f"option instructions of vivqa_x is true or false, not {wanted!r}")
    part = splits.parse(split)
    name = splits.choose(part.name, SPLITS, dataset="vivqa_x")
    file = _file(Path(named), split=name)
    folder = read_options.folder(options, "image_folder", dataset="vivqa_x") or file.parent

    def shape(row: Row) -> Row:
        """Ask it the way that this run asks."""
        return _asked(row, folder=folder, before=INSTRUCTIONS if wanted else "")

    reader = rows.reader(
        options, dataset="vivqa_x", source="vivqa_x", image_folder=folder, shape=shape
    )
    return rows.examples(_table(file), part=part, label=f"vivqa_x/{name}", reader=reader, skip=skip)


def create_jsonl_for_grpo(
    split: str, *, source: Path | str = "data", output: Path | str = "data/processed"
) -> Path:
    """Write a split as the JSON Lines file that VLM-R1's trainers read, and this house too.

    Args:
        split: "train", "val" or "test".
        source: Folder of the three JSON files, or one of them.
        output: Folder to write ViVQA-X_<split>_grpo.jsonl to.

    Returns:
        The path of the file; pictures in it are names relative to COCO's train2014 or val2014.

    Raises:
        ConfigError: If there is no such split.
        DataError: If the file is missing, or a row has no question, picture or answer.
    """
    name = splits.choose(split, SPLITS, dataset="vivqa_x")
    file = _file(Path(source), split=name)
    lines = []
    for number, row in enumerate(_rows(file)):
        where = f"{file.name} row {number}"
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: not an object but {shorten(row)}; correct the file")
        question, answer = _text(row, "question"), _solution(row)
        picture = row.get("image_name")
        if not question or answer is None or is_blank(picture):
            raise DataError(f"{where}: question, answer or image_name is empty; remove the row")
        lines.append(
            {
                "id": row.get("question_id", number),
                "image": picture,
                "conversations": [
                    {"from": "human", "value": f"<image>{INSTRUCTIONS}{question}"},
                    {"from": "gpt", "value": answer},
                ],
            }
        )
    path = Path(output) / f"ViVQA-X_{name}_grpo.jsonl"
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    store.write_whole(path, text.encode())
    return path


def _file(path: Path, *, split: str) -> Path:
    file = path / f"ViVQA-X_{split}.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            f"dataset vivqa_x: {file} does not exist; name the folder of ViVQA-X_train.json, "
            "ViVQA-X_val.json and ViVQA-X_test.json with the option path"
        )
    return file


def _rows(file: Path) -> list[JSON]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"dataset vivqa_x: {file} is not JSON ({error})") from error
    if not isinstance(found, list):
        raise DataError(f"dataset vivqa_x: {file} is not a list of rows but {shorten(found)}")
    return found


def _table(file: Path) -> Table:
    found = _rows(file)

    def read(start: int, stop: int | None) -> Iterator[Row | Unreadable]:
        """Yield the file's rows; what is no object is said, not left out."""
        for number, row in enumerate(found[start:stop], start=start):
            if isinstance(row, Mapping):
                yield row
            else:
                reason = f"not an object: the row is {shorten(row)}; correct the file"
                yield Unreadable(where=f"{file.name} row {number}", reason=reason)

    return Table(name=str(file), columns=None, count=lambda: len(found), read=read)


def _asked(row: Row, *, folder: Path, before: str) -> Row:
    question = _text(row, "question")
    if not question:
        raise DataError("question is empty: 'question' has no words; remove the row")
    if is_blank(row.get("image_name")):
        raise DataError("picture is missing: 'image_name' is empty; remove the row")
    used = ("question", "answer", "image_name", "question_id", "explanation")
    return {
        **{name: value for name, value in row.items() if name not in used},
        "id": f"vivqa_x/{row.get('question_id')}" if row.get("question_id") is not None else None,
        "image": _picture(str(row["image_name"]), folder=folder),
        "prompt": before + question,
        "answer": _solution(row),
        "explanations": _explanations(row),
        "language": "vi",
    }


def _picture(name: str, *, folder: Path) -> str:
    """COCO keeps train2014 and val2014 in folders of their own, and names files after them."""
    parts = name.split("_")
    inner = (
        Path(parts[1]) / name if len(parts) == len(("COCO", "val2014", "number")) else Path(name)
    )
    return str(inner) if (folder / inner).is_file() else name


def _solution(row: Row) -> str | None:
    answer, explanations = _text(row, "answer"), _explanations(row)
    if not answer:
        return None
    why = f"<explain>{explanations[0]}</explain>" if explanations else ""
    return f"<answer>{answer}</answer>{why}"


def _explanations(row: Row) -> list[str]:
    value = row.get("explanation")
    found = value if isinstance(value, list) else [value]
    return [_normal(text) for text in found if isinstance(text, str) and text.strip()]


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"cell is not text: '{column}' holds {shorten(value)}; write a string")
    return _normal(value)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()
