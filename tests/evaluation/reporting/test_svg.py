from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UsageError
from sfumato.evaluation.reporting import svg

NUMBERS = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)
NAMESPACE = "{http://www.w3.org/2000/svg}"


def parsed(plot: str) -> ElementTree.Element:
    return ElementTree.fromstring(plot)


def shapes(plot: str, tag: str, kind: str = "") -> list[ElementTree.Element]:
    return [e for e in parsed(plot).iter(NAMESPACE + tag) if kind in e.get("class", "")]


def series(label: str = "a") -> svg.Series:
    return svg.Series(
        label=label, x=[0.0, 1.0, 2.0], y=[1.0, 3.0, 2.0], low=[0.5, 2.5, 1.5], high=[1.5, 3.5, 2.5]
    )


def test_lines_go_through_their_points_inside_their_band() -> None:
    plot = svg.lines([series(), series("b")], title="t", x_label="x", y_label="y")
    for line, band in zip(shapes(plot, "polyline"), shapes(plot, "polygon"), strict=True):
        points = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
        edge = [tuple(map(float, pair.split(","))) for pair in band.get("points", "").split()]
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        assert points[1][1] < points[2][1] < points[0][1]  # downwards is larger in SVG
        for (x, y), high, low in zip(points, edge[:3], reversed(edge[3:]), strict=True):
            assert x == high[0] == low[0]
            assert high[1] < y < low[1]


def test_scatter_draws_a_point_and_a_whisker_each() -> None:
    plot = svg.scatter([series()], title="t", x_label="x", y_label="y")
    points, whiskers = shapes(plot, "circle", "point"), shapes(plot, "path", "whisker")
    assert len(points) == len(whiskers) == 3
    for point, whisker in zip(points, whiskers, strict=True):
        x, low, high = map(float, re.findall(r"[-\d.]+", whisker.get("d", "")))
        assert x == float(point.get("cx", ""))
        assert high < float(point.get("cy", "")) < low


def test_bars_are_as_long_as_their_values() -> None:
    items = [svg.Bar(label="a", value=2.0, error=0.5), svg.Bar(label="b", value=1.0)]
    plot = svg.bars(items, title="t")
    long, short = (float(bar.get("width", "")) for bar in shapes(plot, "rect"))
    assert long == pytest.approx(2 * short, abs=0.02)
    texts = [e.text for e in shapes(plot, "text")]
    assert texts == ["t", "a", "2.00 ± 0.50", "b", "1"]


def test_a_negative_bar_ends_at_zero() -> None:
    plot = svg.bars([svg.Bar(label="a", value=-1.0), svg.Bar(label="b", value=1.0)], title="t")
    left, right = shapes(plot, "rect")
    assert float(left.get("x", "")) + float(left.get("width", "")) == pytest.approx(
        float(right.get("x", "")), abs=0.02
    )


def test_heat_is_darkest_at_the_largest_value() -> None:
    plot = svg.heat_strip([0.0, 1.0, 0.25], title="t", ends=("start", "end"))
    shades = [float(cell.get("opacity", "")) for cell in shapes(plot, "rect")]
    assert (max(shades), min(shades)) == (1.0, 0.06)
    assert shades.index(1.0) == 1
    flat = svg.heat_strip([0, 0], title="t", ends=("", ""))
    assert len(shapes(flat, "rect")) == 2


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.lists(NUMBERS, min_size=1, max_size=5))
def test_any_numbers_fit_into_the_picture(x: list[float], y: list[float]) -> None:
    size = min(len(x), len(y))
    one = svg.Series(label="a", x=x[:size], y=y[:size])
    plot = svg.scatter([one], title="t", x_label="x", y_label="y")
    height = float(parsed(plot).get("viewBox", "").split()[3])
    for point in shapes(plot, "circle", "point"):
        assert 0 <= float(point.get("cx", "")) <= svg.WIDTH
        assert 0 <= float(point.get("cy", "")) <= height
    assert 3 <= len(shapes(plot, "path", "rule")) <= 9


@given(st.text())
def test_any_text_is_well_formed(raw: str) -> None:
    one = svg.Series(label=raw, x=[0.0], y=[0.0])
    plot = svg.standalone(svg.lines([one], title=raw, x_label=raw, y_label=raw))
    title = parsed(plot).find(f"{NAMESPACE}title")
    assert title is not None
    assert parsed(plot).find(f"{NAMESPACE}style") is not None
    assert "<script" not in plot
    assert svg.text_of("</title><script>") == "&lt;/title&gt;&lt;script&gt;"


def test_broken_series_are_refused() -> None:
    with pytest.raises(UsageError, match="as many x as y"):
        svg.Series(label="a", x=[0.0], y=[])
    with pytest.raises(UsageError, match="either empty or as many"):
        svg.Series(label="a", x=[0.0], y=[0.0], low=[0.0])
    with pytest.raises(UsageError, match="not finite"):
        svg.Series(label="a", x=[0.0], y=[float("nan")])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: svg.lines([], title="t", x_label="x", y_label="y"),
        lambda: svg.bars([], title="t"),
        lambda: svg.heat_strip([], title="t", ends=("", "")),
        lambda: svg.heat_strip([-1.0], title="t", ends=("", "")),
    ],
)
def test_nothing_to_draw_is_an_error(draw: object) -> None:
    with pytest.raises(UsageError, match="at least one"):
        draw()  # type: ignore[operator]


def test_marks_differ_where_colours_return() -> None:
    """Of fourteen series six are circles, six squares and two diamonds, in plot and legend."""
    series = [svg.Series(label=f"s{i}", x=[i], y=[i]) for i in range(14)]
    plot = svg.scatter(series, title="T", x_label="x", y_label="y")
    assert plot.count("<circle") == 12
    assert plot.count("<rect") == 16
    assert plot.count("rotate(45") == 4
