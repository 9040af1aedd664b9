import re
from xml.etree import ElementTree as ET

import pytest

from vlmtune.reports import plots
from vlmtune.reports.plots import Curve, Range, Row

HALF = Range(value=0.5, low=0.25, high=0.75)
DRAWINGS = {
    "histogram": plots.histogram([0.0, 0.1, 1.0], title="t", unit="u", low=0, high=1, shaded=True),
    "one value": plots.histogram([3.0, 3.0], title="t", unit="u"),
    "counts": plots.histogram([3, 9, 130], title="t", unit="u", whole=True),
    "bars": plots.bars([("accuracy", 0.25)], title="t"),
    "no bars": plots.bars([], title="t"),
    "intervals": plots.intervals([Row(label="count", note="4 x 8", range=HALF)], title="t"),
    "curves": plots.curves(
        [
            Curve(label="T 1", main=True, points=((2, HALF), (8, HALF)), measured=(8, HALF)),
            Curve(label="T 2", main=False, points=(), measured=(8, HALF)),
        ],
        title="t",
        unit="u",
    ),
    "diverging": plots.diverging([("a", 1.0), ("b", -2.0), ("c", 0.0)], title="t"),
    "no margins": plots.diverging([], title="t"),
    "stacked": plots.stacked([("image", 3.0, "masked"), ("text", 1.0, "muted")], title="t"),
    "nothing stacked": plots.stacked([("image", 0.0, "masked")], title="t"),
    "meter": plots.meter(HALF),
    "advantage": plots.advantage(-0.5, largest=2.0),
    "flat advantage": plots.advantage(0.0, largest=0.0),
}


def elements(drawing, tag: str, style: str = "") -> list[dict[str, str]]:
    root = ET.fromstring(drawing)
    return [e.attrib for e in root.iter(tag) if style in e.get("class", "").split() or not style]


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_plot_is_well_formed_with_finite_numbers(name) -> None:
    ET.fromstring(DRAWINGS[name])
    assert not re.search(r"nan|inf", str(DRAWINGS[name]))


def test_bars_of_a_histogram_are_as_high_as_their_counts() -> None:
    drawing = plots.histogram([0.1] * 4 + [0.9], title="t", unit="u", low=0, high=1, bins=2)
    first, second = elements(drawing, "rect", "bar")
    assert float(first["height"]) == pytest.approx(4 * float(second["height"]))
    # 420 wide, 36 and 12 of margin: two bins of 186, less one unit on both sides.
    assert (first["x"], first["width"]) == ("37.0", "184.0")


def test_values_on_the_right_end_belong_to_the_last_bar() -> None:
    drawing = plots.histogram([1.0], title="t", unit="u", low=0, high=1, bins=20, shaded=True)
    assert elements(drawing, "rect", "t4")[0]["x"] == "390.4"


def test_axes_of_counts_end_on_whole_numbers() -> None:
    labels = re.findall(
        r">([\d.,]+)</text>", plots.histogram([13], title="t", unit="u", whole=True)
    )
    assert {"0", "4", "8", "12", "16"} <= set(labels)


def test_a_bar_is_as_long_as_its_share() -> None:
    track, bar = elements(plots.bars([("a", 0.25)], title="t"), "rect")
    assert float(bar["width"]) == pytest.approx(0.25 * float(track["width"]))


def test_advantages_grow_from_the_middle() -> None:
    left = elements(plots.advantage(-1.0, largest=2.0), "rect", "negative")[0]
    right = elements(plots.advantage(2.0, largest=2.0), "rect", "positive")[0]
    assert (left["x"], left["width"]) == ("28.0", "22.0")
    assert (right["x"], right["width"]) == ("50.0", "44.0")


def test_labels_are_escaped() -> None:
    drawing = plots.bars([("<script>", 0.5)], title='"><script>')
    assert "<script>" not in drawing
    ET.fromstring(drawing)


def test_what_rounds_to_zero_is_not_minus_zero() -> None:
    assert [plots.signed(value) for value in (-0.001, 0.0, 0.126, -1.0)] == [
        "+0.00", "+0.00", "+0.13", "-1.00",
    ]  # fmt: skip
