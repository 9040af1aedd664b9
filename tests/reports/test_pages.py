"""How all pages are filled: escaped, closed to the network, and never without a value."""

import base64
import hashlib
import re

import jinja2
import pytest

from vlmtune.reports import pages

# A page that shows one list, and the little that it needs besides.
TEMPLATE, STYLE = "samples.html.j2", "report.css"


def filled(**changed) -> str:
    values = {"title": "after 50 updates", "sentence": "2 of 4", "gallery": []} | changed
    return pages.fill(TEMPLATE, styles=(STYLE,), **values)


def test_what_a_model_wrote_is_shown_and_never_run():
    page = filled(sentence="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_a_lone_surrogate_becomes_a_question_mark():
    assert "half ? of it" in filled(sentence="half \ud800 of it")


def test_a_value_that_is_not_given_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="sentence"):
        pages.fill(TEMPLATE, styles=(STYLE,), title="", gallery=[])


def test_the_policy_names_the_style_that_stands_in_the_page():
    page = filled()
    style = re.search(r"<style>(.*?)</style>", page, flags=re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert digest in pages.policy(style, "")
    assert pages.policy(style, "").startswith("default-src 'none'; img-src data:;")
