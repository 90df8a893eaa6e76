"""Texts on a terminal while they are written: haze, and words the warmer, the less sure."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.text import Text

from sfumato.sampling.frames import Frame
from sfumato.sampling.running.recording import slots
from sfumato.sampling.tasks.jobs import Watch, Writer, specials_of
from sfumato_apps.player.replay import Ink, readable

_MOMENT = 0.05  # seconds that a moment is seen at least
_HAZE = "░"
_UNSURE, _SURE = (240, 135, 74), (150, 150, 150)


@contextmanager
def watching(model: Writer, *, wanted: bool) -> Iterator[Watch | None]:
    """Shows every frame on the terminal behind stderr, in place of the one before.

    Nothing is shown, and None given, where it is not wanted or stderr is no terminal.

    Args:
        model: whose tokens the frames hold.
        wanted: whether to show anything.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as screen:

        def watch(frame: Frame) -> None:
            began = time.monotonic()
            rows = (moment(*inks_of(frame, row, model)) for row in range(len(frame.ids)))
            screen.update(Group(*rows), refresh=True)
            time.sleep(max(0.0, _MOMENT - (time.monotonic() - began)))

        yield watch


def inks_of(frame: Frame, row: int, model: Writer) -> tuple[list[Ink], list[bool]]:
    """What each slot of a row holds, and which of them are locked."""
    specials = specials_of(model.vocabulary)
    found = slots(frame, row, model.vocabulary.pieces, specials)
    sure = frame.confidence[row][frame.canvas.attend[row]].nan_to_num(0.0).tolist()
    inks = [
        Ink(
            piece="" if slot.id in (specials.pad, specials.eos) else readable(slot.shown, ""),
            sure=1.0 if slot.locked else confidence,
        )
        for slot, confidence in zip(found, sure, strict=True)
    ]
    return inks, [slot.locked for slot in found]


def moment(inks: Sequence[Ink], locked: Sequence[bool]) -> Text:
    """One moment of a text, for a terminal.

    Args:
        inks: what each slot holds.
        locked: which of them were given.
    """
    shown = Text()
    for ink, given in zip(inks, locked, strict=True):
        if ink.piece is None:
            shown.append(_HAZE, style="dim")
        elif given:
            shown.append(ink.piece, style="dim")
        else:
            shown.append(ink.piece, style=_warm(ink.sure))
    return shown


def _warm(sure: float) -> Style | str:
    """The terminal's own colour for what the model was sure of, and warmer below."""
    share = sure * sure
    if share > 0.9:
        return ""
    mixed = (round(a + (b - a) * share) for a, b in zip(_UNSURE, _SURE, strict=True))
    return Style.parse("#" + "".join(f"{value:02x}" for value in mixed))
