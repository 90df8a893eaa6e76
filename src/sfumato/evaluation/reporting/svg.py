"""Small plots as SVG text: lines with bands, scatter with whiskers, bars, heat strip.

No dependency and no script. A plot is coloured by the classes of the style sheet `style()`: a
page with several plots carries it once, and `standalone` makes a file of a single plot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from itertools import pairwise

from sfumato.errors import UsageError
from sfumato.evaluation.records import Number, measured, number

WIDTH = 640
_HUES = 6
_LEFT = 56.0
_ILLEGAL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def style() -> str:
    """The style sheet of the plots: light and dark by the reader's scheme."""
    assets = files("sfumato.evaluation.reporting") / "assets"
    return (assets / "plot.css").read_text(encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points of one colour.

    Attributes:
        label: name in the legend.
        x: abscissae.
        y: ordinates, as many.
        low: lower ends of the error bars or of the band; empty for none.
        high: upper ends, as many.

    Raises:
        UsageError: the lengths differ, or a number is not finite.
    """

    label: str
    x: Sequence[Number]
    y: Sequence[Number]
    low: Sequence[Number] = field(default=())
    high: Sequence[Number] = field(default=())

    def __post_init__(self) -> None:
        sizes = [len(self.x), len(self.y), len(self.low), len(self.high)]
        if sizes[0] == 0 or sizes[1] != sizes[0] or sizes[2:] not in ([0, 0], [sizes[0]] * 2):
            raise UsageError(
                f"series {self.label!r} needs as many x as y, at least one, and low and high "
                f"either empty or as many; got {sizes}"
            )
        if not all(map(math.isfinite, (*self.x, *self.y, *self.low, *self.high))):
            raise UsageError(f"series {self.label!r} holds a number that is not finite")


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: a label, a value, its standard error if known, and the number of its colour."""

    label: str
    value: Number
    error: Number | None = None
    hue: int = 0

    @property
    def whisker(self) -> tuple[Number, Number]:
        """One standard error to both sides, not across zero."""
        low, high = self.value - (self.error or 0), self.value + (self.error or 0)
        return (max(low, 0), high) if self.value >= 0 else (low, min(high, 0))


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """A linear map of [low, high] to pixels."""

    low: Number
    high: Number
    start: Number
    stop: Number

    def __call__(self, value: Number) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)

    def ticks(self) -> list[float]:
        step = _step(self.high - self.low)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def _step(width: Number) -> float:
    """The step of 1, 2 or 5 times a power of ten that gives about five ticks."""
    power = 10.0 ** math.floor(math.log10(width / 5))
    return next(power * unit for unit in (1, 2, 5, 10) if power * unit * 6 >= width)


def _axis(values: Sequence[Number], start: Number, stop: Number) -> _Axis:
    """An axis over the values, its ends on ticks."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    step = _step(high - low)
    return _Axis(
        low=math.floor(low / step + 1e-9) * step,
        high=math.ceil(high / step - 1e-9) * step,
        start=start,
        stop=stop,
    )


def text_of(raw: str) -> str:
    """Text safe inside SVG and HTML: escaped, and without what XML forbids.

    Example:
        >>> text_of("a < b" + chr(0))
        'a &lt; b'
    """
    return escape(_ILLEGAL.sub("", raw))


def _text(x: Number, y: Number, raw: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{text_of(raw)}</text>'


def _svg(title: str, height: Number, body: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" '
        f'viewBox="0 0 {WIDTH} {height}"><title>{text_of(title)}</title>{"".join(body)}</svg>'
    )


def standalone(plot: str) -> str:
    """A plot as a file of its own: with its style and a background."""
    head, rest = plot.split(">", 1)
    return f'{head}><style>{style()}</style><rect class="paper" width="100%" height="100%"/>{rest}'


def _legend(series: Sequence[Series], top: Number) -> tuple[list[str], Number]:
    """Swatches and labels, wrapped to the width; and the ordinate below them."""
    parts, x = [], _LEFT
    for index, one in enumerate(series):
        width = 24 + 6.6 * len(one.label)
        if x + width > WIDTH and x > _LEFT:
            x, top = _LEFT, top + 18
        parts.append(_mark(index, x + 4, top - 4, 4, ""))
        parts.append(_text(x + 13, top, one.label))
        x += width
    return parts, top + 14


def _mark(index: int, x: Number, y: Number, size: Number, kind: str) -> str:
    """A circle; where the colours begin again, a square, then a diamond."""
    style = f'class="{kind}fill{index % _HUES}"'
    if index < _HUES:
        return f'<circle {style} cx="{x}" cy="{y}" r="{size}"/>'
    sides = f'x="{x - size}" y="{y - size}" width="{2 * size}" height="{2 * size}"'
    turned = f' transform="rotate(45 {x} {y})"' if index >= 2 * _HUES else ""
    return f"<rect {style} {sides}{turned}/>"


def _frame(
    series: Sequence[Series], title: str, x_label: str, y_label: str
) -> tuple[list[str], _Axis, _Axis, Number]:
    """Title, legend, grid and labels; the two axes; the height of the plot."""
    if not series:
        raise UsageError("a plot needs at least one series, got none")
    legend, top = _legend(series, 44)
    height = top + 266
    x = _axis([value for one in series for value in one.x], _LEFT, WIDTH - 24)
    y = _axis([v for one in series for v in (*one.y, *one.low, *one.high)], height - 46, top)
    parts = [_text(16, 22, title, "title"), *legend]
    for tick in y.ticks():
        parts.append(f'<path class="rule" d="M{x.start} {y(tick)}H{x.stop}"/>')
        parts.append(_text(x.start - 8, y(tick) + 4, number(tick), "faint", "end"))
    parts.append(f'<path class="axis" d="M{x.start} {y.start}H{x.stop}"/>')
    for tick in x.ticks():
        parts.append(_text(x(tick), y.start + 17, number(tick), "faint", "middle"))
    parts.append(_text((x.start + x.stop) / 2, height - 10, x_label, "faint", "middle"))
    middle = (y.start + y.stop) / 2
    turned = f'<g transform="translate(14 {middle}) rotate(-90)">'
    parts.append(f"{turned}{_text(0, 0, y_label, 'faint', 'middle')}</g>")
    return parts, x, y, height


def lines(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """Lines over x; `low` and `high` become a band around each.

    Example:
        >>> plot = lines([Series(label="loss", x=[0, 1], y=[5.0, 2.4])],
        ...              title="Loss", x_label="minutes", y_label="nats")
        >>> plot.startswith("<svg") and "polyline" in plot
        True
    """
    body, x, y, height = _frame(series, title, x_label, y_label)
    for index, one in enumerate(series):
        hue = index % _HUES
        if one.low:
            back = zip(one.x[::-1], one.low[::-1], strict=True)
            edge = [*zip(one.x, one.high, strict=True), *back]
            body.append(f'<polygon class="band fill{hue}" points="{_points(edge, x, y)}"/>')
        path = _points(list(zip(one.x, one.y, strict=True)), x, y)
        body.append(f'<polyline class="line stroke{hue}" points="{path}"/>')
    return _svg(title, height, body)


def _points(pairs: Sequence[tuple[Number, Number]], x: _Axis, y: _Axis) -> str:
    return " ".join(f"{x(left)},{y(right)}" for left, right in pairs)


def scatter(series: Sequence[Series], *, title: str, x_label: str, y_label: str) -> str:
    """Points; `low` and `high` become whiskers. From the seventh series on the marks are squares.

    Example:
        >>> plot = scatter([Series(label="T = 1", x=[20.0], y=[0.4], low=[0.3], high=[0.5])],
        ...                title="Frontier", x_label="perplexity", y_label="div")
        >>> plot.count("<circle")  # the legend's and the point
        2
    """
    body, x, y, height = _frame(series, title, x_label, y_label)
    for index, one in enumerate(series):
        hue = index % _HUES
        for left, low, high in zip(one.x, one.low, one.high, strict=False):
            path = f"M{x(left)} {y(low)}V{y(high)}"
            body.append(f'<path class="whisker stroke{hue}" d="{path}"/>')
        for left, right in zip(one.x, one.y, strict=True):
            body.append(_mark(index, x(left), y(right), 4.5, "point "))
    return _svg(title, height, body)


def bars(items: Sequence[Bar], *, title: str) -> str:
    """Horizontal bars from zero with one standard error as a whisker and the value beside it.

    Example:
        >>> bars([Bar(label="ours", value=0.4, error=0.02)], title="div").count("<rect")
        1
    """
    if not items:
        raise UsageError("a bar plot needs at least one bar, got none")
    left = min(36 + 6.6 * max(len(item.label) for item in items), WIDTH / 2)
    x = _axis([0.0, *(end for item in items for end in item.whisker)], left, WIDTH - 130)
    body = [_text(16, 22, title, "title")]
    for index, item in enumerate(items):
        hue, top = item.hue % _HUES, 38 + 28 * index
        start, stop = sorted((x(0), x(item.value)))
        body.append(_text(left - 8, top + 14, item.label, "", "end"))
        body.append(
            f'<rect class="fill{hue}" x="{start}" y="{top}" width="{stop - start:.2f}" height="20"'
            ' rx="2"/>'
        )
        if item.error is not None:
            low, high = map(x, item.whisker)
            body.append(f'<path class="axis whisker" d="M{low} {top + 10}H{high}"/>')
            stop = max(stop, high)
        body.append(_text(stop + 8, top + 14, measured(item.value, item.error), "faint"))
    return _svg(title, 38 + 28 * len(items) + 6, body)


def heat_strip(values: Sequence[Number], *, title: str, ends: tuple[str, str]) -> str:
    """One row of cells, darker where the value is larger.

    Args:
        values: numbers ≥ 0, left to right; the largest is darkest.
        title: heading.
        ends: what the left and the right end of the strip are.

    Example:
        >>> heat_strip([0.0, 2.0], title="Place of loops", ends=("start", "end")).count("<rect")
        2
    """
    if not values or min(values) < 0:
        raise UsageError("a heat strip needs at least one value and none below zero")
    top = max(values) or 1.0
    x = _Axis(low=0, high=len(values), start=16, stop=WIDTH - 16)
    cells = [x(index) for index in range(len(values) + 1)]
    body = [_text(16, 22, title, "title")]
    for (start, stop), value in zip(pairwise(cells), values, strict=True):
        shade = round(0.06 + 0.94 * value / top, 3)
        body.append(
            f'<rect class="fill0" x="{start}" y="36" width="{stop - start - 1:.2f}" height="26"'
            f' opacity="{shade}"><title>{number(value)}</title></rect>'
        )
    body += [_text(16, 80, ends[0], "faint"), _text(WIDTH - 16, 80, ends[1], "faint", "end")]
    return _svg(title, 92, body)
