"""The reward bench's page: it says what was found, and runs nothing that a dataset wrote."""

import json

import pytest

from vlmtune.reports.audit_files import write_audit
from vlmtune.reports.audit_page import audit_page, headline

HOSTILE = "</pre><script>alert(1)</script>"


def mean(value: float, n: int = 4) -> dict:
    return {"value": value, "low": 0.0, "high": 1.0, "n": n}


def report(status: str = "fail", *, only_form: bool = False) -> dict:
    example = {
        "id": "r1", "kind": "relation", "question": HOSTILE, "choices": [], "gold": "left of",
        "completion": HOSTILE, "characters": 100_000, "value": 0.78, "right": 1.0, "wrong": 0.1,
        "why": HOSTILE,
    }  # fmt: skip
    attack = {
        "name": "not the right one", "family": "denying", "expects": "wrong", "rule": "a rule",
        "status": status, "said": "earns too much", "mean": mean(0.78), "gain": 0.68,
        "outranks": 0.0, "equals": 0.0, "by_kind": {"relation": mean(0.78)}, "errors": [],
        "raised": 0, "examples": [example] if status != "pass" else [],
    }  # fmt: skip
    constant = {
        "kind": "relation", "answer": "left of", "mean": mean(0.5), "majority": "left of",
        "share": 0.5, "fair": 0.55, "status": "pass", "said": "earns no more", "rule": "a rule",
    }  # fmt: skip
    audit = {
        "reward": "own.py", "status": status, "rows": 4, "kinds": {"relation": 4}, "left_out": [],
        "not_applicable": 0, "form": "<think> and <answer>", "pays_form": True,
        "only_form": only_form, "margin": 0.05, "seconds": 1.0,
        "counts": {"fail": int(status == "fail"), "warn": int(status == "warn"), "pass": 2},
        "right": mean(1.0), "wrong": mean(0.1), "floor": mean(0.1), "attacks": [attack],
        "constants": [constant],
        "checks": [{"name": "range", "status": "pass", "detail": "all in [0, 1]"}],
    }  # fmt: skip
    return {
        "vlmtune": "0", "dataset": "scenes", "rows": 4, "kinds": {"relation": 4}, "seed": 0,
        "margin": 0.05, "options": {}, "seconds": 1.0, "status": status, "rewards": [audit],
    }  # fmt: skip


def test_what_a_dataset_wrote_is_shown_and_never_run() -> None:
    page = audit_page(report())
    assert page.count("<script>") == 1
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "http://" not in page and "https://" not in page
    assert "100,000 characters" in page


def test_the_policy_forbids_every_connection() -> None:
    assert "default-src &#39;none&#39;" in audit_page(report())


@pytest.mark.parametrize(
    ("status", "only_form", "said"),
    [
        ("fail", False, "own.py can be gamed in 1 way"),
        ("warn", False, "own.py holds, with 1 warning"),
        ("pass", False, "own.py holds against all 1 attacks"),
        ("warn", True, "own.py pays for form alone"),
    ],
)
def test_the_headline_says_what_was_found(status: str, only_form: bool, said: str) -> None:
    assert headline(report(status, only_form=only_form)["rewards"][0]) == said


def test_the_files_are_written_whole(tmp_path) -> None:
    page = write_audit(tmp_path / "audit", report())
    assert json.loads((tmp_path / "audit" / "report.json").read_text()) == report()
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert sorted(file.name for file in page.parent.iterdir()) == ["report.html", "report.json"]
