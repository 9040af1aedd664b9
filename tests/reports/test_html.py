import base64
import hashlib
import json
import re

from vlmtune.reports.html import render, write_report
from vlmtune.reports.thumbnails import Thumbnail

PICTURE = Thumbnail(uri="data:image/png;base64,AAAA", width=4, height=3, original=(40, 30))


def test_hostile_text_is_escaped_wherever_it_stands(
    make_run, make_sample, make_completion, hostile
) -> None:
    sample = make_sample(
        example_id=hostile, prompt=hostile, answer=hostile, kind=hostile, images=[hostile],
        messages=[{"role": hostile, "text": hostile}] * 3,
        completions=[make_completion(hostile, why=hostile, parts={hostile: 1.0})],
    )  # fmt: skip
    run = make_run(
        notes=[hostile],
        model={"name": hostile, "parameters": 1, "architecture": "", "path": ""},
        checks=[{"name": hostile, "status": "fail", "detail": hostile}],
        status="fail",
        versions={hostile: hostile},
    )
    run["data"]["sources"][0] |= {
        "name": hostile,
        "reasons": {hostile: 1},
        "first_skipped": [{"row": hostile, "reason": hostile}],
    }
    run["details"]["kinds"][0]["kind"] = hostile
    page = render(run, [sample], pictures={})
    assert "window.stolen" in page
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert page.count("<script") == page.count("</script>") == 1


def test_the_policy_names_the_pages_own_blocks_and_nothing_else(make_run, make_sample) -> None:
    page = render(make_run(), [make_sample()], pictures={})
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    policy = policy.replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    # The policy would block inline styles and handlers, so there must be none.
    assert not re.search(r"<[^>]+ (style|on\w+)=", page)


def test_nothing_points_outside_the_page(make_run, make_sample) -> None:
    page = render(make_run(), [make_sample()], pictures={"a.png": PICTURE})
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)


def test_a_picture_of_several_prompts_is_in_the_page_once(make_run, make_sample) -> None:
    samples = [make_sample(index) for index in range(5)]
    page = render(make_run(), samples, pictures={"a.png": PICTURE})
    assert page.count(PICTURE.uri) == 1
    assert page.count('data-same="picture-0"') == 4


def test_a_picture_without_a_copy_is_shown_by_its_name(make_run, make_sample) -> None:
    page = render(make_run(), [make_sample()], pictures={})
    assert "<img" not in page
    assert 'class="missing">a.png<' in page


def test_verdicts_say_whether_to_go_on(make_run, make_sample) -> None:
    def headline(*statuses: str, **more) -> str:
        checks = [{"name": "x", "status": status, "detail": "y"} for status in statuses]
        order = ("fail", "warn", "pass")
        worst = next(status for status in order if status in statuses)
        page = render(make_run(checks=checks, status=worst, **more), [make_sample()], pictures={})
        return re.search("<h1>(.*?)</h1>", page)[1]

    assert headline("pass") == "Ready to train"
    assert headline("warn", "warn", "pass") == "Ready, with 2 warnings"
    assert headline("fail", "warn") == "Not ready: 1 check failed"
    assert headline("pass", backend="scripted") == "Everything fits together"


def test_broken_unicode_still_gives_a_page(tmp_path, make_run, make_sample) -> None:
    (tmp_path / "run.json").write_text(json.dumps(make_run()))
    (tmp_path / "samples.jsonl").write_text(json.dumps(make_sample(texts=["half \ud83d pair"])))
    page = write_report(tmp_path, pictures={})
    assert "half ? pair" in page.read_bytes().decode("utf-8")


def test_a_large_run_says_what_it_does_not_show(make_run, make_sample) -> None:
    page = render(make_run(), [make_sample(index) for index in range(152)], pictures={})
    assert page.count("<article") == 150
    assert "2 more prompts are in samples.jsonl" in page
