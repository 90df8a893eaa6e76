"""What stood in each slot of a run at each moment."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sfumato.sampling.trace import Trace

_CONTROL = re.compile(r"\[\w+\]|<[^<>\s]+>")


@dataclass(frozen=True, kw_only=True)
class Ink:
    """One slot at one moment.

    Attributes:
        piece: its text; None for haze, "" for a slot that shows nothing.
        sure: the model's confidence in it, 0 … 1.
    """

    piece: str | None
    sure: float


def opening(trace: Trace) -> tuple[Ink, ...]:
    """The slots before the first step; names of control tokens around the text are left out.

    A token that is there but may still change (a draft, or noise) counts as unsure.
    """
    return tuple(
        Ink(piece=readable(slot.shown, trace.text), sure=float(slot.locked)) for slot in trace.slots
    )


def replay(trace: Trace) -> list[tuple[Ink, ...]]:
    """The slots before the first step and after each event."""
    now = list(opening(trace))
    found = [tuple(now)]
    for event in trace.events:
        for position in event.remasked:
            now[position] = Ink(piece=None, sure=0.0)
        for commit in event.commits:
            now[commit.position] = Ink(piece=commit.shown, sure=commit.confidence)
        found.append(tuple(now))
    return found


def readable(piece: str | None, text: str) -> str | None:
    """`[CLS]` and `<|user|>` are names, not text, unless the text spells them out."""
    named = piece is not None and _CONTROL.fullmatch(piece.strip()) and piece.strip() not in text
    return "" if named else piece
