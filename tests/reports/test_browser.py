"""The page in a real browser: no error, every picture decodes, nothing is fetched, filters work."""

import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import pytest
from rich.console import Console

from vlmtune.config import RunConfig
from vlmtune.training import rehearsal

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# Runs before and after the page's own script, in a copy whose policy allows just that.
WATCH = """
window.problems = [];
window.onerror = (text) => problems.push(`error: ${text}`);
document.addEventListener("securitypolicyviolation",
  (event) => problems.push(`blocked: ${event.violatedDirective} ${event.blockedURI}`));
"""
LOOK = """
(async () => {
  const cards = () => [...document.querySelectorAll(".prompt")].filter((card) => !card.hidden);
  const ids = () => cards().map((card) => card.id);
  const type = (text) => { const box = document.getElementById("find"); box.value = text;
    box.dispatchEvent(new Event("input")); };
  await Promise.all([...document.images].map((image) => image.decode()));
  const seen = {
    pictures: [...document.images].map((image) => image.naturalWidth),
    all: ids(), stolen: window.stolen ?? null,
    fetched: performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:")),
    wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
  document.querySelector('.chip[data-kind="yes_no"]').click(); seen.yes_no = ids();
  document.querySelector('.chip[data-kind=""]').click();
  type("REPTILES"); seen.found = ids(); type("no such words"); seen.none = ids();
  seen.says = document.getElementById("none").hidden; type("");
  const sort = document.getElementById("sort"); sort.value = "best";
  sort.dispatchEvent(new Event("change"));
  seen.best = cards().map((card) => Number(card.dataset.reward));
  const before = getComputedStyle(document.body).backgroundColor;
  document.getElementById("theme").click();
  seen.themes = [before, getComputedStyle(document.body).backgroundColor];
  seen.problems = window.problems;
  const out = document.createElement("pre"); out.id = "seen";
  out.textContent = JSON.stringify(seen); document.body.append(out);
})();
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    """One page per stage, over two drawings and three questions."""
    folder = tmp_path_factory.mktemp("pages")
    for name, colour in (("one.png", "#c03030"), ("two.jpg", "#3050c0")):
        picture = PIL.Image.new("RGB", (120, 80), "#ddd8cc")
        PIL.ImageDraw.Draw(picture).ellipse((20, 10, 80, 70), fill=colour)
        picture.save(folder / name)
    rows = [
        {"kind": "count", "prompt": "How many circles?", "answer": "1", "image": "one.png"},
        {"kind": "yes_no", "prompt": "Any reptiles <script>window.stolen=1</script>?",
         "answer": "no", "image": "one.png"},
        {"kind": "count", "prompt": "How many blue circles?", "answer": "1", "image": "two.jpg"},
    ]  # fmt: skip
    lines = [json.dumps({**row, "rejected": "<b onclick=window.stolen=1>x"}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    for stage in ("sft", "dpo", "grpo"):
        config = RunConfig.model_validate(
            {
                "stage": stage,
                "backend": "scripted",
                "output_dir": str(folder / stage),
                "data": {"datasets": [{"name": str(folder / "rows.jsonl")}]},
            }
        )
        rehearsal.run(config, console=Console(file=io.StringIO()))
    return folder


def look(page: Path, *, width: int = 1280) -> dict:
    """Open a page, act on it, and return what was seen."""
    watched = page.with_name("watched.html")
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"script-src &#39;[^;\"]*&#39;", "script-src &#39;unsafe-inline&#39;", text)
    text = text.replace("<head>", f"<head><script>{WATCH}</script>", 1)
    watched.write_text(text.replace("</body>", f"<script>{LOOK}</script></body>"))
    return seen_of(watched, width=width)


def seen_of(page: Path, *, width: int) -> dict:
    """Let a page say what it saw.

    Its clock does not wait for pictures that are being decoded: on a busy machine it may stand at
    the end before they are there, and then the page gets a longer one.
    """
    for clock in (8_000, 80_000, 800_000):
        done = browse(
            page, "--dump-dom", f"--virtual-time-budget={clock}", f"--window-size={width},900"
        )
        found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
        if found:
            return json.loads(html.unescape(found[1]))
    raise AssertionError(done.stderr[-2000:])


def browse(page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    profile = page.with_name("profile")
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--enable-logging=stderr", f"--user-data-dir={profile}", *flags,
        page.as_uri(),
    ]  # fmt: skip
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    finally:
        shutil.rmtree(profile, ignore_errors=True)


@pytest.mark.parametrize("stage", ["sft", "dpo", "grpo"])
def test_a_page_works_in_a_browser_without_errors(pages, stage) -> None:
    seen = look(pages / stage / "report.html")
    assert seen["problems"] == []
    assert seen["fetched"] == []
    assert seen["stolen"] is None
    assert seen["pictures"] == [120, 120, 120]
    assert seen["all"] == ["prompt-1", "prompt-2", "prompt-3"]
    assert seen["yes_no"] == seen["found"] == ["prompt-2"]
    assert (seen["none"], seen["says"]) == ([], False)
    assert seen["best"] == sorted(seen["best"], reverse=True)
    assert seen["themes"][0] != seen["themes"][1]
    assert seen["wider"] <= 0


def test_a_page_fits_a_telephone(pages) -> None:
    # Headless Chromium is never narrower than 500 pixels; the narrow layout starts at 820.
    assert look(pages / "grpo" / "report.html", width=500)["wider"] <= 0


def test_the_page_as_it_is_writes_nothing_to_the_console(pages) -> None:
    done = browse(pages / "grpo" / "report.html", "--dump-dom", "--virtual-time-budget=4000")
    assert 'src="data:image' in done.stdout
    assert "CONSOLE" not in done.stderr
