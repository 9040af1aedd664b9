"""Both engines compute a little of the assignment here; the page in docs is from a whole one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vlmtune.parity import page, side
from vlmtune.parity.assignment import DPO_LOSSES, SAMPLE, Size, tiny
from vlmtune.parity.lines import FARTHEST, LOGPS, Line, compare, curves, rounding
from vlmtune.parity.write import compute, main

DOCS = Path(__file__).parents[2] / "docs"
ACTS = "most tokens clipped in an update of GRPO"
"""What two updates are too few for."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory) -> list[side.Findings]:
    folder = tmp_path_factory.mktemp("parity")
    found = []
    for engine in ("pytorch", "mlx"):
        compute(engine, folder, size=SAMPLE)
        with np.load(folder / f"{engine}.npz") as file:
            found.append({name: file[name] for name in file.files})
    assert tiny(folder).is_dir()
    return found


@pytest.fixture(scope="module")
def lines(findings) -> list[Line]:
    return compare(*findings)


def results() -> dict:
    return json.loads((DOCS / "parity.json").read_text(encoding="utf-8"))


def test_both_engines_compute_the_same(lines) -> None:
    assert [line for line in lines if not line.holds and line.what != ACTS] == []


def test_what_a_sample_compares_stands_on_the_page(lines) -> None:
    on_page = {line["what"] for line in results()["lines"]}
    assert {line.what for line in lines} <= on_page


def test_a_difference_is_found_wherever_it_is(findings) -> None:
    one, other = findings
    for name, value in other.items():
        if not name.startswith(("ids/", "greedy", "pico/logps", "dpo/ipo", "updates/dpo/adapter")):
            continue
        changed = other | {name: value + np.asarray(1).astype(value.dtype)}
        assert any(not line.holds and line.what != ACTS for line in compare(one, changed)), name


def test_float32_alone_accounts_for_what_the_engines_differ_by(findings) -> None:
    far = rounding(*findings, names=("PyTorch", "MLX"))
    assert 0 < far["PyTorch"] < LOGPS
    assert 0 < far["MLX"] < FARTHEST
    apart = max(
        np.abs(value - findings[1][name]).max()
        for name, value in findings[0].items()
        if name.startswith("pico/logps/")
    )
    assert apart <= far["PyTorch"] + far["MLX"]


def test_many_drawn_tokens_a_little_apart_do_not_pass(findings) -> None:
    one, other = findings
    changed = other | {
        name: value + np.where(value, 1.5 * LOGPS, 0)
        for name, value in one.items()
        if name.startswith("pico/logps/")
    }
    (line,) = [line for line in compare(one, changed) if not line.holds and line.what != ACTS]
    assert line.what.startswith("log-probabilities of pico's drawn answers")
    assert line.measured == line.count.removesuffix(" tokens")


def test_findings_of_unlike_assignments_are_not_compared(findings) -> None:
    one, other = findings
    fewer = {name: value for name, value in other.items() if name != "rewards"}
    with pytest.raises(ValueError, match="rewards"):
        compare(one, fewer)


def test_the_page_is_what_the_results_say() -> None:
    found = results()
    assert (DOCS / "parity.md").read_text(encoding="utf-8") == page.text(found)
    assert (DOCS / "parity.svg").read_text(encoding="utf-8") == page.picture(found)


def test_every_comparison_on_the_page_holds_and_is_of_the_whole_assignment() -> None:
    lines = [Line(**line) for line in results()["lines"]]
    assert [line for line in lines if not line.holds] == []
    compared = {line.what: line.count for line in lines}
    whole = Size()
    assert (
        compared["token ids of prompts and answers"] == f"{whole.rows} rows of each of 11 layouts"
    )
    assert compared["greedy answers of pico"] == f"{whole.greedy} questions"
    for loss, level, beta in whole.grpo:
        assert f"loss: GRPO {loss}, {level}{', KL' if beta else ''}" in compared
    for loss in DPO_LOSSES:
        assert f"its gradient: DPO {loss}" in compared
    for stage in ("SFT", "DPO", "GRPO"):
        assert compared[f"adapter after {stage}: cosine"] == f"{whole.updates} updates"


def test_a_comparison_that_does_not_hold_is_said_on_the_page(findings, lines) -> None:
    changed = [replace(line, holds=line.what != "pixels") for line in lines]
    names = ("PyTorch", "MLX")
    found = page.results(changed, curves(*findings, names=names), rounding(*findings, names=names))
    assert f"{len(lines)} comparisons, all but 1 hold" in page.text(found)
    assert "| **no** |" in page.text(found)


def test_mlx_alone_says_what_it_needs(tmp_path, capsys) -> None:
    assert main(["--side", "mlx", "--folder", str(tmp_path)], docs=tmp_path) == 2
    assert "run --side pytorch first" in capsys.readouterr().err


def test_findings_that_are_missing_are_named(tmp_path, capsys) -> None:
    assert main(["--compare", "--folder", str(tmp_path)], docs=tmp_path) == 2
    assert "pytorch.npz is missing" in capsys.readouterr().err
