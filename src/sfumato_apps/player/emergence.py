"""The same text at several moments of its run, one under the other, as one still picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile

from sfumato.errors import UsageError
from sfumato.evaluation.reporting.svg import text_of
from sfumato.sampling.trace import Trace
from sfumato_apps.player.replay import Ink, replay

_WIDTH, _LEFT, _RIGHT, _TOP = 840, 138, 40, 54
_SIZE, _LEADING, _GAP = 22, 33, 24
_LATIN, _OTHER = 0.48, 0.57  # em: a mean letter of a wide serif face, so that lines fit
_TINTS = 5
_STYLE = """
text{font:22px "Iowan Old Style","Palatino Linotype",Palatino,Georgia,"Noto Serif",\
"Liberation Serif",serif;white-space:pre}
.paper{fill:#f8f5ef;stroke:#e3dbcf}.line{stroke:#d5cbbd}.dot{fill:#24201c}
.label{font:13px system-ui,sans-serif;fill:#6b6259}.off{fill:none}.haze{fill:#857665}
.given{fill:#8a8075}
.t0{fill:#c04d16}.t1{fill:#9f4418}.t2{fill:#763919}.t3{fill:#4d2c1a}.t4{fill:#24201c}
@media(prefers-color-scheme:dark){
.paper{fill:#151311;stroke:#2c2723}.line{stroke:#4a423a}.dot{fill:#f1eade}
.label{fill:#a3998c}.haze{fill:#cbbca8}.given{fill:#8f8579}
.t0{fill:#f0874a}.t1{fill:#f3a06e}.t2{fill:#f3b893}.t3{fill:#f2d1b9}.t4{fill:#f1eade}}
"""


@dataclass(frozen=True, kw_only=True)
class _Word:
    """One slot in a line: what it holds at a moment and what it will hold at the end."""

    ink: Ink
    final: str
    locked: bool


def emergence_svg(trace: Trace, *, rows: int = 6) -> str:
    """A text emerging from haze: `rows` moments of one run, evenly spaced over its steps.

    A picture for a README: no script, light and dark by the reader's scheme. A text of up to
    about 150 characters looks best.

    Args:
        trace: what the sampler recorded.
        rows: how many moments, first and last included.

    Raises:
        UsageError: fewer than two rows, or a text without a letter.
    """
    frames = replay(trace)
    last = len(frames) - 1
    if rows < 2 or not trace.text.strip():
        raise UsageError(f"a picture needs at least two rows and a text, got {rows} rows")
    moments = sorted({round(last * row / (rows - 1)) for row in range(rows)})
    lines = _lines([ink.piece or "" for ink in frames[-1]])
    height = _LEADING * len(lines) + _GAP
    body = [
        _row(trace, frames, moment, lines, _TOP + height * index)
        for index, moment in enumerate(moments)
    ]
    foot = _TOP + height * len(moments)
    spine = f'<path class="line" d="M34.5 {_TOP - 7}V{foot - height - 7}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {foot - _GAP}" role="img">'
        f"<title>A text emerging from noise in {trace.passes} passes</title>"
        f"<desc>{text_of(trace.text)}</desc><style>{_STYLE}</style>"
        '<filter id="blur" x="-5%" y="-20%" width="110%" height="140%">'
        '<feGaussianBlur stdDeviation="5.4"/></filter>'
        f'<rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{foot - _GAP - 1}"'
        f' rx="10"/>{spine}{"".join(body)}</svg>'
    )


def _lines(pieces: list[str]) -> list[list[int]]:
    """Positions line by line, broken before a space where the next word would not fit."""
    lines: list[list[int]] = [[]]
    room, used = (_WIDTH - _LEFT - _RIGHT) / _SIZE, 0.0
    for position, piece in enumerate(pieces):
        rest = takewhile(lambda follower: not follower[:1].isspace(), pieces[position + 1 :])
        word = _width(piece) + sum(map(_width, rest))
        opens = "\n" in piece or (piece[:1].isspace() and used + word > room)
        if opens and lines[-1]:
            lines.append([])
            used = 0.0
        lines[-1].append(position)
        used += _width(piece)
    return lines


def _width(piece: str) -> float:
    """Room that a piece takes at most, em."""
    return math.fsum(_LATIN if letter.isascii() else _OTHER for letter in piece)


def _row(
    trace: Trace,
    frames: list[tuple[Ink, ...]],
    moment: int,
    lines: list[list[int]],
    top: int,
) -> str:
    """One moment: a blurred layer of haze, a sharp layer of words, a dot and its label."""
    label = str(trace.events[moment - 1].step if moment else 0)
    label += " passes" if label == str(trace.passes) else ""
    haze, sharp = [], []
    for index, line in enumerate(lines):
        words = [
            _Word(
                ink=frames[moment][position],
                final=frames[-1][position].piece or "",
                locked=trace.slots[position].locked,
            )
            for position in line
        ]
        at = f'x="{_LEFT}" y="{top + _LEADING * index}"'
        haze.append(f"<text {at}>{_spans(words, haze=True)}</text>")
        sharp.append(f"<text {at}>{_spans(words, haze=False)}</text>")
    return (
        f'<circle class="dot" cx="34.5" cy="{top - 7}" r="3"/>'
        f'<text class="label" x="48" y="{top - 2}">{label}</text>'
        f'<g class="haze" filter="url(#blur)" aria-hidden="true">{"".join(haze)}</g>'
        f"<g>{''.join(sharp)}</g>"
    )


def _spans(words: list[_Word], *, haze: bool) -> str:
    """All words of a line, those of the other layer transparent to hold their place."""
    spans: list[str] = []
    for word in words:
        piece = word.ink.piece
        shown = (word.final if piece is None else piece).replace("\n", " ")
        shown = shown if spans else shown.lstrip()
        if shown:
            spans.append(f'<tspan class="{_kind(word, haze)}">{text_of(shown)}</tspan>')
    return "".join(spans)


def _kind(word: _Word, haze: bool) -> str:
    if (word.ink.piece is None) != haze:
        return "off"
    if haze:
        return "haze"
    return "given" if word.locked else f"t{min(int(word.ink.sure**2 * _TINTS), _TINTS - 1)}"
