"""A pipeline's page: what it says about better, even and worse, and what it draws."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from vlmtune.evaluation.metrics import wilson
from vlmtune.reports import pipeline_files, pipeline_plots
from vlmtune.reports.pipeline_page import minutes, pipeline_page, pipeline_text
from vlmtune.reports.pipeline_plots import Mark, Track, moving_mean
from vlmtune.reports.pipeline_story import told, verdict
from vlmtune.reports.plots import Range

KINDS = ("count", "yes_no")
SVG = "{http://www.w3.org/2000/svg}"


def paired(won: int, lost: int, *, n: int = 100):
    from vlmtune.evaluation.metrics import Paired, mcnemar

    found = Paired(both=n - won - lost, only_a=lost, only_b=won, neither=0)
    return {
        "n": n, "only_a": lost, "only_b": won, "difference": found.difference,
        "mcnemar_p": mcnemar(found),
    }  # fmt: skip


def evaluation(correct: int, n: int = 100):
    """The first `correct` of n questions are right; kinds alternate."""
    rows = [
        {"id": str(i), "question": "q", "correct": i < correct, "groups": {"kind": KINDS[i % 2]}}
        for i in range(n)
    ]

    def tally(found):
        right = sum(row["correct"] for row in found)
        return {
            "n": len(found), "correct": right, "accuracy": right / len(found), "unreadable": 1,
            "wilson95": list(wilson(right, len(found))),
        }  # fmt: skip

    groups = {
        "kind": {kind: tally([row for row in rows if row["groups"]["kind"] == kind])
                 for kind in KINDS}
    }  # fmt: skip
    return {**tally(rows), "missing": 0, "truncated": 0, "groups": groups, "rows": rows}


@pytest.fixture
def make_folder(tmp_path):
    """A pipeline's folder with these numbers of right answers, base first."""

    def made(*correct: int, status: str = "done", hostile: str = "pico") -> Path:
        names = ["base", "sft", "dpo", "grpo"][: len(correct)]
        record = {
            "made_by": "pipeline", "pipeline": "mine.yaml", "backend": "pytorch", "status": status,
            "config": {"model": {"name": hostile}, "evaluation": {"style": "think"}},
            "versions": {"vlmtune": "1"}, "seconds": {"train sft": 90.0},
            "order": [{"name": name, "stage": name, "rows": 40, "updates": 3}
                      for name in ("sft", "dpo", "grpo")],
        }  # fmt: skip
        (tmp_path / "run.json").write_text(json.dumps(record))
        for name, right in zip(names, correct, strict=True):
            place = tmp_path / "evaluations" / name
            place.mkdir(parents=True)
            report = {"model": {"name": name}, "benchmarks": {"rows": evaluation(right)}}
            (place / "report.json").write_text(json.dumps(report))
        lines = [{"step": i, "loss": 1 / i} for i in (1, 2, 3)]
        (tmp_path / "sft").mkdir()
        text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo'
        (tmp_path / "sft" / "metrics.jsonl").write_text(text)
        done = {"status": "done", "start": {"from": "pico, as published"},
                "config": {"training": {"learning_rate": 0.001}},
                "result": {"steps": 3, "health": [{"name": "loss", "status": "warn",
                                                   "detail": "it rose"}]}}  # fmt: skip
        (tmp_path / "sft" / "run.json").write_text(json.dumps(done))
        return tmp_path

    return made


def body(page: str) -> str:
    return page.partition("<body>")[2]


@pytest.mark.parametrize(
    ("won", "lost", "found", "says"),
    [
        # Exact McNemar: 2 * (1 + 10) / 2**10 = 0.0215; 2 * (1 + 10 + 45 + 120) / 2**10 = 0.3438.
        (9, 1, "better", ("b is better than a by 8.0 points (of 100 questions 9 won and 1 lost; "
         "p = 0.0215)")),
        (1, 9, "worse", ("b is worse than a by 8.0 points (of 100 questions 1 won and 9 lost; "
         "p = 0.0215)")),
        (7, 3, "even", ("b is 4.0 points above a, no more than chance explains (of 100 questions "
         "7 won and 3 lost; p = 0.3438)")),
        (3, 7, "even", ("b is 4.0 points below a, no more than chance explains (of 100 questions "
         "3 won and 7 lost; p = 0.3438)")),
        (4, 4, "even", "b is right as often as a (of 100 questions 4 won and 4 lost; p = 1.0000)"),
        (60, 0, "better", ("b is better than a by 60.0 points (of 100 questions 60 won and 0 lost; "
         "p < 0.0001)")),
    ],
)  # fmt: skip
def test_a_difference_is_put_plainly(won, lost, found, says):
    one = paired(won, lost)
    assert verdict(one) == found
    assert told("b", one, before="a") == says


def test_a_stage_that_is_worse_is_named_and_marked_on_the_page_and_in_the_text(make_folder):
    folder = make_folder(50, 70, 60, 80)
    report = pipeline_files.write(folder)
    worse = "dpo is worse than sft by 10.0 points (of 100 questions 0 won and 10 lost; p = 0.0020)"
    page = (folder / "report.html").read_text()
    assert f'<li class="worse"><b>{worse}.</b></li>' in page
    assert f"- {worse}." in (folder / "report.md").read_text()
    assert pipeline_files.lines(report, "dpo")[1] == worse
    assert (
        page.count('class="dot worse"')
        == 1
        == (folder / "curve.svg").read_text().count('class="dot worse"')
    )
    assert "grpo is better than base by 30.0 points" in page


def test_the_table_has_a_line_for_each_model_and_a_column_for_each_kind(make_folder):
    text = pipeline_text(pipeline_files.write(make_folder(50, 70)))
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0].count("|") == 10
    assert lines[2] == "| base | 100 | 50.0 | 40.4 to 59.6 | 50.0 | 50.0 | 1 |  |  |"
    assert lines[3].endswith("| 70.0 | 70.0 | 1 | +20.0 | < 0.0001 |")
    assert "| sft | 40 | 3 | 0.001 | 1.5 min | loss 1 to 0.333 |" in lines
    assert "| grpo | 40 | waiting |  | – |  |" in lines


def test_the_page_needs_nothing_outside_and_fits_its_own_policy(make_folder):
    folder = make_folder(50, 70, 60, hostile='<img src=x onerror="stolen=1">')
    pipeline_files.write(folder)
    page = (folder / "report.html").read_text()
    assert not re.search(r"(?:src|href)=.?(?:https?:)?//", page)
    assert "style=" not in body(page) and "<script" not in page and "<img" not in page
    assert "&lt;img src=x" in page


def test_a_page_can_be_written_before_any_stage_is_trained(make_folder):
    folder = make_folder(50, status="running")
    report = pipeline_files.write(folder)
    page = body((folder / "report.html").read_text())
    assert "Not finished: running" in page and "No stage is finished yet" in page
    assert report["models"][0]["paired"] is None
    ET.parse(folder / "curve.svg")


def test_health_is_repeated_and_a_line_that_a_kill_cut_is_left_out(make_folder):
    folder = make_folder(50, 70)
    report = pipeline_files.write(folder)
    assert report["stages"][0]["curves"] == {"loss": [[1, 1.0], [2, 0.5], [3, 1 / 3]]}
    assert '<li class="warn"><i>!</i><b>loss</b> it rose</li>' in pipeline_page(report)


def test_the_figure_stands_alone_in_light_and_dark(make_folder):
    folder = make_folder(50, 70, 60, 80)
    pipeline_files.write(folder)
    root = ET.parse(folder / "curve.svg").getroot()
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"base", "sft", "dpo", "grpo", "80.0", "sft: loss"} <= set(texts)
    style = next(root.iter(f"{SVG}style")).text or ""
    assert "prefers-color-scheme: dark" in style
    used = {name for element in root.iter() for name in element.get("class", "").split()}
    assert [name for name in used if f".{name}" not in style] == []


def test_a_moving_mean_keeps_a_straight_line():
    points = [(step, 2.0 * step) for step in range(1, 65)]
    assert all(value == pytest.approx(2 * step) for step, value in moving_mean(points))
    assert moving_mean([(1, 5.0), (2, 7.0)]) == [(1, 5.0), (2, 7.0)]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (0.58, 0.86, [0.5, 0.6, 0.7, 0.8, 0.9]),
        (-3.0, 5.0, [-4, -2, 0, 2, 4, 6]),
        (0.0, 0.0, [-0.5, -0.25, 0.0, 0.25, 0.5]),
    ],
)
def test_axes_have_round_numbers(low, high, ticks):
    assert pipeline_plots._ticks(low, high) == pytest.approx(ticks)


def test_a_constant_curve_and_a_single_update_can_be_drawn():
    for points in (((1, 0.0), (2, 0.0)), ((0, 3.0), (0, 3.0))):
        panel = pipeline_plots.course(Track(title="loss", points=points))
        ET.fromstring(f"<svg>{panel}</svg>")
    mark = Mark(name="a", range=Range(value=1.0, low=1.0, high=1.0))
    ET.fromstring(f"<svg>{pipeline_plots.ladder([mark], title='x')}</svg>")


@pytest.mark.parametrize(("seconds", "says"), [(None, "–"), (8.4, "8 s"), (90, "1.5 min")])
def test_durations_are_short(seconds, says):
    assert minutes(seconds) == says
