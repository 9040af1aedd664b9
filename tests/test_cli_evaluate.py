"""scripts/evaluate.py as users type it: three modes, files left behind, and every wrong flag."""

import json
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vlmtune.cli_evaluate import main, parse
from vlmtune.errors import ConfigError
from vlmtune.types import JSON

CHECKOUT = Path(__file__).parents[1]


def evaluate(*words: object) -> int:
    return main([str(word) for word in words])


def cv_row(index: int, completion: str | None) -> dict[str, JSON]:
    return {
        "idx": index,
        "type": "2D",
        "task": ("Count", "Relation", "Depth")[index % 3],
        "question": "How many <b>dogs</b>?",
        "choices": ["3", "2", "1", "0"],
        "answer": "(C)",
        "prompt": "How many ...",
        "filename": f"{index}.png",
        "source": ("ADE20K", "COCO", "Omni3D")[index % 3],
        "completion": completion,
    }


def saved_answers(folder: Path, *completions: str | None) -> Path:
    file = folder / "answers.jsonl"
    rows = [cv_row(index, completion) for index, completion in enumerate(completions)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


class Page(HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_model_is_asked_and_four_files_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = evaluate(
        "--model_path", "x", "--backend", "scripted", "--style", "think", "--max-samples", 8,
        "--benchmarks", "scenes-vsr", "scenes-cv-bench", "--output_dir", out,
    )  # fmt: skip
    assert code == 0
    names = {path.name for path in out.iterdir()}
    assert names == {
        "report.json", "report.md", "report.html", "eval_results.json", "scenes_vsr",
        "scenes_cv_bench",
    }  # fmt: skip
    report = json.loads((out / "report.json").read_text())
    for name in ("scenes-vsr", "scenes-cv-bench"):
        one = report["benchmarks"][name]
        keys = {"n", "accuracy", "official", "micro", "unreadable", "missing", "wilson95", "groups"}
        assert keys <= set(one)
        assert one["n"] == 8 and len(one["rows"]) == 8 and one["micro"] == one["accuracy"]
        seed_004 = json.loads((out / "eval_results.json").read_text())[name]
        assert seed_004["benchmark"] == name and seed_004["total_samples"] == 8
        assert seed_004["correct"] == sum(one["is_correct"] for one in seed_004["predictions"])
    official = report["benchmarks"]["scenes-cv-bench"]["official"]
    assert {"sources", "acc_2d", "acc_3d", "cv_bench"} <= set(official)
    printed = capsys.readouterr().out
    assert "Evaluating x on 2 benchmarks, backend scripted" in printed.splitlines()[0]
    assert f"Written to {out}" in printed
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert page.tags.count("script") == 1


def test_saved_answers_are_graded_without_a_model(tmp_path: Path) -> None:
    completions = ["C", "(C) 1", "The answer is: C", "**C**", "B", "c.", None]
    file = saved_answers(tmp_path, *completions)
    out = tmp_path / "out"
    assert evaluate("--predictions", file, "--benchmarks", "CV-Bench", "--output_dir", out) == 0
    one = json.loads((out / "report.json").read_text())["benchmarks"]["CV-Bench"]
    # ADE20K: rows 0 C, 3 **C**; COCO: rows 1 C, 4 B; Omni3D: rows 2 ':', 5 c.
    assert one["official"]["sources"] == {"ADE20K": 0.5, "COCO": 0.5, "Omni3D": 0.5}
    assert one["official"]["cv_bench"] == 0.5 and one["n"] == 6 and one["missing"] == 1
    verdicts = [row["official"] for row in one["rows"]]
    assert [verdict["letter"] for verdict in verdicts] == ["c", "c", ":", "*", "b", "c"]
    assert [verdict["correct"] for verdict in verdicts] == [True, True, False, False, False, True]
    assert one["robust"]["micro"] == 5 / 6


def test_a_page_shows_what_a_model_wrote_and_runs_none_of_it(tmp_path: Path) -> None:
    nasty = "</pre><script>alert(1)</script><img src=http://x.example/a.png>\ud800\x00"
    file = saved_answers(tmp_path, nasty, "A", "B")
    out = tmp_path / "out"
    assert evaluate("--predictions", file, "--benchmarks", "CV-Bench", "--output_dir", out) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 1 and "http://x.example" not in page.sources
    assert "&lt;script&gt;alert(1)" in text and "&lt;b&gt;dogs" in text
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# Evaluation of saved")


def test_two_evaluations_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, answers in (("a", "CACACA"), ("b", "CCCCCA")):
        (tmp_path / name).mkdir()
        file = saved_answers(tmp_path / name, *answers)
        out = tmp_path / name / "out"
        assert evaluate("--predictions", file, "--benchmarks", "cv-bench", "--output_dir", out) == 0
    out = tmp_path / "compared"
    sides = (tmp_path / "a" / "out", tmp_path / "b" / "out" / "report.json")
    assert evaluate("--compare", *sides, "--output_dir", out) == 0
    found = json.loads((out / "compare.json").read_text())["benchmarks"]["CV-Bench"]
    assert found["only_b"] == 2 and found["only_a"] == 0 and found["mcnemar_p"] == 0.5
    assert "| all | 6 | 50.0 | 83.3 | +33.3 |" in capsys.readouterr().out
    page = Page((out / "compare.html").read_text(encoding="utf-8"))
    assert page.sources == ["data:,"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--model_path is missing"),
        (["--model_pth", "x"], "did you mean '--model_path'"),
        (["--model_path", "x", "--adapter_path", "y", "--backend", "scripted", "--benchmarks",
          "scenes-vsr"], "--adapter_path y does not exist"),
        (["--model_path", "x", "--use_4bit"], "--model_path 3b-4bit"),
        (["--model_path", "x", "--max_samples", "0"], "at least 1"),
        (["--model_path", "x", "--max_samples", "many"], "invalid int"),
        (["--model_path", "x", "--seed", "-1"], "0 or more"),
        (["--model_path", "x", "--style", "loud"], "invalid choice"),
        (["--model_path", "x", "--benchmarks", "VRS"], "did you mean 'vsr'"),
        (["--model_path", "x", "--backend", "cuda"], "backend 'cuda' not found"),
        (["--model_path", "x", "--data", "f.jsonl"], "name that one with --benchmarks"),
        (["--predictions", "f.jsonl"], "name that one with --benchmarks"),
        (["--predictions", "f", "--max_samples", "3"], "means nothing together with --predictions"),
        (["--compare", "a", "b", "--benchmarks", "VSR"], "means nothing together with --compare"),
        (["--compare", "a"], "expected 2 arguments"),
        (["--compare", "a", "b"], "there is no report.json"),
        (["--predictions", "gone.jsonl", "--benchmarks", "VSR"], "cannot be read"),
        (["--model_path", "x", "--backend", "scripted", "--benchmarks", "scenes-vsr", "--protocol",
          "generate"], "scenes-vsr has no protocol 'generate'"),
        (["--model_path", "x", "--backend", "scripted", "--benchmarks", "ViVQA-X"],
         "give its file with --data"),
        (["--model_path", "x", "--backend", "scripted", "--benchmarks", "scenes-vsr", "--data",
          "x.jsonl"], "is drawn, not read"),
        (["--model_path", "x", "--output_dir", "taken"], "which no evaluation wrote"),
        (["--model_path", "x", "--output_dir", "file"], "is a file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    assert evaluate(*words) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1 and "Traceback" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


def test_help_opens_with_a_command_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; from vlmtune.cli_evaluate import main; main(['--help']);"
        "print(*sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT / "src",
    )
    seconds = time.perf_counter() - started
    assert done.stdout.startswith("python scripts/evaluate.py --model_path pico")
    loaded = set(done.stderr.split())
    assert not loaded & {"numpy", "PIL", "jinja2", "rich", "pydantic", "mlx", "torch", "datasets"}
    # Half a second on an idle machine; a busy one is given more.
    assert seconds < 5


def test_a_config_says_what_flags_would_and_flags_win() -> None:
    file = CHECKOUT / "configs" / "evaluate_config.yaml"
    words = ["--config", str(file), "--max_samples", "5", "--set", "evaluation.style=think"]
    given = parse(words).given
    assert given == {
        "model_path": "pico",
        "benchmarks": ["scenes-vsr", "scenes-cv-bench"],
        "max_samples": 5,
        "style": "think",
        "max_tokens": 128,
        "batch": 32,
        "output_dir": Path("eval_results"),
    }


def test_a_config_with_stages_says_what_stands_beside_them() -> None:
    file = CHECKOUT / "configs" / "pico_pipeline.yaml"
    request = parse(["--config", str(file), "--set", "stages.sft.training.learning_rate=1e-3"])
    assert request.given["model_path"] == "pico"
    assert request.given["max_samples"] == 1000
    assert request.held_out is not None
    assert [one.split for one in request.held_out.evaluation.datasets] == ["test"]


def test_a_config_means_nothing_to_saved_answers() -> None:
    with pytest.raises(ConfigError, match="--config means nothing together with --predictions"):
        parse(["--config", "x.yaml", "--predictions", "y.jsonl"])
