"""Asking a model: batches, resuming after a real kill, missing pictures, likelihoods."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from vlmtune import discovery
from vlmtune.backends.scripted import load_generator
from vlmtune.errors import ConfigError, DataError
from vlmtune.evaluation import run, saved
from vlmtune.evaluation.run import Prepared
from vlmtune.evaluation.saved import Answer, Settings
from vlmtune.evaluation.score import score
from vlmtune.protocols import Benchmark
from vlmtune.types import RowSource

VSR: Benchmark = discovery.load("benchmark", "VSR").BENCHMARK
CHECKOUT = Path(__file__).parents[2]
Writer = Callable[[int], Path]


def prepared(
    file: Path,
    *,
    protocol: str | None = None,
    style: str = "direct",
    max_samples: int | None = None,
    seed: int = 0,
) -> Prepared:
    source = RowSource(path=file, seed=seed)
    return run.prepare(VSR, source, protocol=protocol, style=style, max_samples=max_samples)


def settings_of(one: Prepared) -> Settings:
    return run.settings_of(
        one, load_generator("any"), model="any", backend="scripted", max_tokens=64
    )


def collected(one: Prepared, folder: Path, *, batch: int = 2) -> tuple[list[Answer], list[int]]:
    told: list[int] = []
    answers = run.collect(
        one,
        load_generator("any"),
        settings_of(one),
        folder=folder,
        batch=batch,
        progress=told.append,
    )
    return answers, told


def test_every_row_is_answered_once_and_kept_with_its_own_columns(
    vsr_file: Writer, tmp_path: Path
) -> None:
    one = prepared(vsr_file(19))
    answers, told = collected(one, tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").open()]
    assert [line["caption"] for line in lines] == [row.columns["caption"] for row in one.rows]
    assert all(set(line) - {"finish"} == {*one.rows[0].columns, "completion"} for line in lines)
    assert [answer.completion for answer in answers] == [line["completion"] for line in lines]
    assert told[0] == 0 and sum(told) == 19


def test_a_finished_run_asks_nothing_again(vsr_file: Writer, tmp_path: Path) -> None:
    one = prepared(vsr_file(9))
    first, _ = collected(one, tmp_path / "out")
    path = tmp_path / "out" / "predictions.jsonl"
    written = path.read_bytes(), path.stat().st_mtime_ns
    second, told = collected(one, tmp_path / "out", batch=64)
    assert first == second and told == [9]
    assert (path.read_bytes(), path.stat().st_mtime_ns) == written


def test_a_half_written_last_line_is_dropped_and_asked_again(
    vsr_file: Writer, tmp_path: Path
) -> None:
    one = prepared(vsr_file(9))
    whole, _ = collected(one, tmp_path / "out")
    path = tmp_path / "out" / "predictions.jsonl"
    text = path.read_bytes()
    path.write_bytes(text[:-25])
    again, told = collected(one, tmp_path / "out")
    assert again == whole and told[0] == 8 and path.read_bytes() == text


def test_other_settings_are_refused_with_what_differs(vsr_file: Writer, tmp_path: Path) -> None:
    one = prepared(vsr_file(9))
    collected(one, tmp_path / "out")
    other = prepared(vsr_file(9), style="think", protocol="generate-true-false")
    with pytest.raises(ConfigError) as caught:
        collected(other, tmp_path / "out")
    assert "style was 'direct', now 'think'" in str(caught.value)
    assert "protocol was 'generate-yes-no', now 'generate-true-false'" in str(caught.value)
    with pytest.raises(ConfigError, match="rows was 9, now 10, the benchmark's rows are not"):
        collected(prepared(vsr_file(10)), tmp_path / "out")


def test_trained_weights_under_the_same_name_are_other_settings(
    tmp_path: Path, vsr_file: Writer
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(bytes(3_000_000))
    before = saved.weights_digest(str(model))
    (model / "model.safetensors").write_bytes(b"\x01" * 3_000_000)
    assert saved.weights_digest(str(model)) != before
    settings = replace(settings_of(prepared(vsr_file(3))), weights=before)
    saved.resume(tmp_path / "out", settings, [])
    with pytest.raises(ConfigError, match="the model's weights are not the same"):
        saved.resume(tmp_path / "out", replace(settings, weights="other"), [])


def test_a_folder_with_something_else_in_it_is_left_alone(vsr_file: Writer, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="files of something else"):
        collected(prepared(vsr_file(3)), tmp_path / "out")


def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(
    vsr_file: Writer, tmp_path: Path
) -> None:
    file = vsr_file(400)
    command = [sys.executable, str(CHECKOUT / "scripts" / "evaluate.py"), "--model_path", "x"]
    command += ["--backend", "scripted", "--benchmarks", "VSR", "--data", str(file)]
    command += ["--batch", "1", "--output_dir"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    path = killed / "vsr" / "predictions.jsonl"
    process = subprocess.Popen(
        [*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (path.is_file() and path.read_bytes().count(b"\n") >= 8):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = path.read_bytes()
    assert 8 <= kept.count(b"\n") < 400
    # A kill in the middle of a write would leave a piece of a line.
    path.write_bytes(kept + b'{"image": "1.png", "capt')
    for folder in (killed, whole):
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(kept)
    assert path.read_bytes() == (whole / "vsr" / "predictions.jsonl").read_bytes()
    reports = [json.loads((folder / "report.json").read_text()) for folder in (killed, whole)]
    assert reports[0]["benchmarks"] == reports[1]["benchmarks"]
    assert reports[0]["generated"] == 400 - kept.count(b"\n") and reports[1]["generated"] == 400


def test_rows_without_a_picture_are_listed_and_counted_and_in_no_share(
    vsr_file: Writer, tmp_path: Path
) -> None:
    file = vsr_file(8)
    rows = [json.loads(line) for line in file.open()]
    rows[1]["image"] = "gone.png"
    rows[4]["image"] = "broken.png"
    rows[6]["image"] = None
    (file.parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = prepared(file)
    answers, told = collected(one, tmp_path / "out")
    assert sum(told) == 8
    report = score(VSR, answers, style="direct", protocol=one.protocol).report
    assert report["missing"] == 3 and report["n"] == 5
    assert [row["id"] for row in report["missing_rows"]] == ["1", "4", "6"]
    whys = [row["why"] for row in report["missing_rows"]]
    assert "not found" in whys[0] and "damaged" in whys[1] and "names no picture" in whys[2]
    assert len(report["rows"]) == 5 and report["accuracy"] == report["correct"] / 5
    # What was saved says the same when it is graded again.
    again = saved.read_predictions(tmp_path / "out" / "predictions.jsonl", VSR)
    assert score(VSR, again, style="direct", protocol=one.protocol).report == report


def test_without_any_picture_nothing_is_asked(vsr_file: Writer) -> None:
    file = vsr_file(3)
    (file.parent / "1.png").unlink()
    with pytest.raises(DataError, match=r"none of 3 pictures is there .*--image_folder"):
        prepared(file)


def test_pictures_are_found_in_cocos_own_folders(vsr_file: Writer, tmp_path: Path) -> None:
    file = vsr_file(3)
    coco = tmp_path / "coco" / "val2017"
    coco.mkdir(parents=True)
    (file.parent / "1.png").rename(coco / "1.png")
    source = RowSource(path=file, image_folder=tmp_path / "coco")
    one = run.prepare(VSR, source, protocol=None, style="direct", max_samples=None)
    assert one.rows[0].image is not None and one.rows[0].image.open().size == (32, 24)


def test_likelihoods_are_those_of_the_model_without_its_end_token(
    vsr_file: Writer, tmp_path: Path
) -> None:
    one = prepared(vsr_file(5), protocol="likelihood")
    answers, _ = collected(one, tmp_path / "out")
    for answer in answers:
        logprobs = answer.saved["logprobs"]
        assert set(logprobs) == {"True", "False"}
        assert all(value < 0 and math.isfinite(value) for value in logprobs.values())
        assert answer.completion == max(("True", "False"), key=logprobs.__getitem__)
    report = score(VSR, answers, style="direct", protocol="likelihood").report
    assert report["unreadable"] == 0 and report["auc_roc"] is not None


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order(vsr_file: Writer) -> None:
    file = vsr_file(50)
    first = prepared(file, max_samples=10)
    ids = [int(row.id) for row in first.rows]
    assert ids == sorted(set(ids)) and len(ids) == 10 and first.total == 50
    assert prepared(file, max_samples=10) == first
    assert prepared(file, max_samples=10, seed=1) != first
    assert len(prepared(file, max_samples=100).rows) == 50


def test_what_does_not_go_together_is_refused(vsr_file: Writer) -> None:
    file = vsr_file(3)
    with pytest.raises(ConfigError, match="VSR has no protocol 'likelyhood'; it has generate-yes"):
        prepared(file, protocol="likelyhood")
    with pytest.raises(ConfigError, match="use it with --style direct"):
        prepared(file, protocol="likelihood", style="think")
    with pytest.raises(ConfigError, match="--style loud is unknown"):
        prepared(file, style="loud")
