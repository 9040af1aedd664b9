"""The reward bench's page in a real browser: no error, pictures decode, nothing is fetched."""

import json
import re
import runpy
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest

from vlmtune import cli_audit

OTHER = runpy.run_path(str(Path(__file__).with_name("test_browser.py")))
WATCH, browse = OTHER["WATCH"], OTHER["browse"]
pytestmark = pytest.mark.skipif(OTHER["BROWSER"] is None, reason="no Chromium on this machine")

# A reward that pays for naming the answer anywhere: it can be gamed in many ways.
CARELESS = """
def careless(completions, solution, **columns):
    return [float(str(gold) in text) for text, gold in zip(completions, solution)]
"""
LOOK = """
(async () => {
  const shown = () => [...document.querySelectorAll(".attack")].filter((line) => !line.hidden);
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode()));
  const seen = {
    pictures: [...new Set([...document.images].map((image) => image.naturalWidth))],
    count: document.images.length, unseen: document.querySelectorAll(".unseen").length,
    all: shown().length, stolen: window.stolen ?? null,
    exhibits: document.querySelectorAll(".exhibit").length,
    fetched: performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:")),
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
  for (const status of ["fail", "pass"]) {
    document.querySelector(`.chip[data-status="${status}"]`).click();
    seen[status] = shown().length;
    seen[`${status}_only`] = shown().every((line) => line.dataset.status === status);
    seen[`${status}_cards`] = [...document.querySelectorAll(".family")]
      .filter((card) => !card.hidden && !card.querySelector(".attack:not([hidden])")).length;
  }
  document.querySelector('.chip[data-status=""]').click(); seen.again = shown().length;
  const before = getComputedStyle(document.body).backgroundColor;
  document.getElementById("theme").click();
  seen.themes = [before, getComputedStyle(document.body).backgroundColor];
  for (const details of document.querySelectorAll("details")) details.open = true;
  seen.problems = window.problems;
  const out = document.createElement("pre"); out.id = "seen";
  out.textContent = JSON.stringify(seen); document.body.append(out);
})();
"""


def test_rows_that_are_left_out_are_told(page, capsys) -> None:
    rows = page.parents[1] / "rows.jsonl"
    lines = [json.loads(line) | {"image": "gone.png"} for line in rows.read_text().splitlines()[:1]]
    (page.parents[1] / "more.jsonl").write_text(rows.read_text() + json.dumps(lines[0]) + "\n")
    cli_audit.main(
        ["--reward", "format", "--dataset", str(page.parents[1] / "more.jsonl"), "--timed_answers",
         "0", "--output_dir", str(page.parents[1] / "other")]
    )  # fmt: skip
    assert "5 of 6 rows kept; skipped:" in " ".join(capsys.readouterr().out.split())
    report = json.loads((page.parents[1] / "other" / "report.json").read_text())
    assert sum(next(iter(report["skipped"].values())).values()) == 1


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """An audit of a careless reward over five questions, one picture of which is broken."""
    folder = tmp_path_factory.mktemp("audit_page")
    picture = PIL.Image.new("RGB", (120, 80), "#ddd8cc")
    PIL.ImageDraw.Draw(picture).ellipse((20, 10, 80, 70), fill="#c03030")
    picture.save(folder / "one.png")
    picture.resize((240, 160)).save(folder / "two.jpg")
    (folder / "broken.png").write_bytes(b"no picture at all")
    said = "</pre><script>window.stolen=1</script>"
    rows = [
        {"kind": "count", "prompt": f"How many circles {said}?", "answer": "1", "image": "one.png"},
        {"kind": "count", "prompt": "How many red circles?", "answer": "3", "image": "two.jpg"},
        {"kind": "yes_no", "prompt": "Any reptiles?", "answer": "no", "image": "one.png"},
        {"kind": "yes_no", "prompt": "Any circles?", "answer": "yes", "image": "two.jpg"},
        {"kind": "relation", "prompt": "Where is the cup relative to the plate?",
         "answer": "left of", "image": "broken.png"},
    ]  # fmt: skip
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (folder / "careless.py").write_text(CARELESS)
    code = cli_audit.main(
        ["--reward", str(folder / "careless.py"), "--dataset", str(folder / "rows.jsonl"),
         "--timed_answers", "0", "--output_dir", str(folder / "out")]
    )  # fmt: skip
    assert code == 1
    return folder / "out" / "report.html"


def look(page: Path, *, width: int = 1280) -> dict:
    """Open a page, act on it, and return what was seen."""
    watched = page.with_name("watched.html")
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"script-src &#39;[^;\"]*&#39;", "script-src &#39;unsafe-inline&#39;", text)
    text = text.replace("<head>", f"<head><script>{WATCH}</script>", 1)
    watched.write_text(text.replace("</body>", f"<script>{LOOK}</script></body>"))
    return OTHER["seen_of"](watched, width=width)


def test_the_page_works_in_a_browser_without_errors(page) -> None:
    seen = look(page)
    assert seen["problems"] == []
    assert seen["fetched"] == []
    assert seen["stolen"] is None
    assert seen["exhibits"] > 5
    assert seen["themes"][0] != seen["themes"][1]
    assert seen["wider"] <= 0


def test_the_worst_answers_stand_beside_their_pictures(page) -> None:
    seen = look(page)
    assert seen["count"] >= seen["exhibits"]
    assert sorted(seen["pictures"]) == [120, 240]
    text = page.read_text(encoding="utf-8")
    assert text.count("broken.png: no picture") == seen["unseen"] > 0
    assert json.loads(page.with_name("report.json").read_text())["rewards"][0]["attacks"]


def test_attacks_are_filtered_by_their_outcome(page) -> None:
    seen = look(page)
    assert seen["all"] == seen["again"] > seen["fail"] > 0
    assert seen["fail_only"] and seen["pass_only"]
    assert seen["fail_cards"] == seen["pass_cards"] == 0


def test_the_page_fits_a_telephone(page) -> None:
    assert look(page, width=500)["wider"] <= 0


def test_the_page_as_it_is_writes_nothing_to_the_console(page) -> None:
    done = browse(page, "--dump-dom", "--virtual-time-budget=4000")
    assert 'src="data:image' in done.stdout
    assert "CONSOLE" not in done.stderr
