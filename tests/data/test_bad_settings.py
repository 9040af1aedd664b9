"""A list of bad files and settings: each is one clear line before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest

from vlmtune import config_file
from vlmtune.config import DataConfig, DatasetConfig, RunConfig
from vlmtune.data.load import load_examples
from vlmtune.errors import ConfigError, DataError, VlmtuneError
from vlmtune.types import Stage


def name_of(case: Any) -> str:
    return repr(case)[:60] if not isinstance(case, str) else case[:40]


BAD_FILES: list[tuple[str, bytes | None, str]] = [
    ("gone.jsonl", None, "does not exist"),
    ("empty.jsonl", b"", "is empty"),
    ("blank.jsonl", b"\n\n  \n", "is empty"),
    ("table.jsonl", b"PAR1....", "but a parquet file"),
    ("rows.jsonl", b"\x1f\x8b\x08", "but compressed with gzip"),
    ("more.jsonl", b"PK\x03\x04", "but a zip archive"),
    ("wide.jsonl", '{"prompt": "Q"}'.encode("utf-16"), "but UTF-16 text"),
    ("list.json", b'[{"prompt": "Q"}]', "is one JSON document"),
    ("list2.json", b"[\n{}\n]", "is one JSON document"),
    ("pretty.json", b'{\n  "prompt": "Q"\n}', "is one JSON document"),
    ("bad.parquet", b"PAR1 and nothing", "parquet file .* cannot be read"),
    ("empty.parquet", b"", "parquet file .* cannot be read"),
    ("gone.parquet", None, "does not exist"),
    ("gone.py", None, "no such file"),
    ("all_bad.jsonl", b'{"promt": "Q"}\n{"promt": "R"}', "all 2 were skipped"),
    ("no_answers.jsonl", b'{"prompt": "Q"}', "all 1 were skipped, most for: no answer"),
]


@pytest.mark.parametrize(("name", "data", "message"), BAD_FILES, ids=name_of)
def test_a_bad_file_is_one_clear_line(
    name: str, data: bytes | None, message: str, tmp_path: Path
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    config = RunConfig(
        stage=Stage.SFT, data=DataConfig(datasets=[DatasetConfig(name=str(tmp_path / name))])
    )
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        load_examples(config)
    assert "\n" not in str(caught.value)


BAD_SETTINGS: list[tuple[str, str]] = [
    ("data: {datasets: [scnes]}", "did you mean 'scenes'"),
    ("data: {datasets: [spatialvlm]}", "never released"),
    ("data: {datasets: [vivqa_x]}", "needs the option 'path'"),
    ("data: {datasets: [cauldron]}", "needs the option 'subset'"),
    ("data: {datasets: [jsonl]}", "needs the option 'path'"),
    ("data: {datasets: [files]}", "needs the option 'path'"),
    ("data: {datasets: [hub]}", "needs the option 'id'"),
    (
        "data: {datasets: [{name: scenes, options: {kind: [count]}}], max_samples: 1}",
        "did you mean 'kinds'",
    ),
    (
        "data: {datasets: [{name: scenes, options: {kinds: [counts]}}], max_samples: 1}",
        "scenes option kinds",
    ),
    ("data: {datasets: [{name: vsr, options: {variant: zero}}]}", "Choose: random, zeroshot"),
    ("data: {datasets: [{name: cv_bench, options: {part: 4D}}]}", "Choose: default, 2D, 3D"),
    ("data: {datasets: [{name: rlhf_v, options: {paht: x}}]}", "did you mean 'path'"),
    ("data: {datasets: [{name: rlhf_v, options: {path: /no/such}}]}", "does not exist"),
    ("data: {datasets: [{name: rlhf_v, options: {path: 3}}]}", "must be a text"),
    ("data: {datasets: [{name: hub, options: {id: a/b, stream: 1}}]}", "true or false"),
    ("data: {datasets: [{name: rlhf_v, options: {image_folder: /no}}]}", "is not a folder"),
    ("data: {datasets: [{name: rlhf_v, options: {image_keys: 3}}]}", "is a list of names"),
    ("data: {datasets: [{name: rlhf_v, split: 'train[:5'}]}", "cannot be read"),
    ("data: {datasets: [{name: rlhf_v, split: 'train[:x%]'}]}", "neither a row number nor"),
    ("data: {datasets: [{name: rlhf_v, split: 'train[:500%]'}]}", "beyond the split"),
    ("data: {max_samples: null}", "never ends"),
    ("data: {max_samples: 0}", "1 or more"),
    ("data: {max_samples: many}", "a whole number"),
    ("data: {max_samples_per_dataset: 0}", "1 or more"),
    ("data: {datasets: [{name: scenes, weight: 0}]}", "more than 0"),
    ("data: {datasets: [{name: scenes, weight: -1}]}", "more than 0"),
    ("data: {datasets: [{name: scenes, weight: heavy}]}", "a number"),
    ("data: {datasets: [{split: train}]}", "name is missing"),
    ("data: {eval_fraction: 1.5}", "less than 1"),
    ("data: {on_leak: ignore}", "'error', 'drop' or 'allow'"),
    ("data: {addresses: always}", "'fetch', 'cached' or 'refuse'"),
    ("data: {preprocessing: gone.py}", "data.preprocessing cannot be used"),
    ("data: {answer_key: gold}", "data.answer_key cannot be used"),
    ("data: {image_keys: gold}", "a list"),
    ("data: {shufle: true}", "did you mean 'data.shuffle'"),
    ("dataset: {dataset_format: csv}", "expected one of vqa, preference, grpo"),
    ("data: {train_data_paths: null}", "evaluation alone is scripts/evaluate.py"),
]


@pytest.mark.parametrize(("text", "message"), BAD_SETTINGS, ids=name_of)
def test_a_bad_setting_is_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"stage: sft\n{text}\n", encoding="utf-8")
    with pytest.raises(VlmtuneError, match=message) as caught:
        load_examples(config_file.load(path))
    assert "\n" not in str(caught.value)


def test_the_list_of_settings_is_as_long_as_promised() -> None:
    assert len(BAD_FILES) + len(BAD_SETTINGS) >= 50
