"""A trace as the player and the picture read it.

header  {"format": "sfumato-trace/1", "text", "tokens": [{"piece", "locked"} …],
         "passes", "seed", "title"?}                     piece null: a masked slot
event   {"step", "time", "set": [[position, id, piece, confidence] …], "remask": [position …]}
                                                         piece "": the slot became nothing
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from sfumato.errors import DataError

FORMAT = "sfumato-trace/1"


@runtime_checkable
class Trace(Protocol):
    """What a sampler recorded of a run."""

    def to_jsonl(self) -> str:
        """The header and the events, one JSON object a line."""
        ...


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One position at one moment.

    Attributes:
        piece: its text; None for haze, "" for a slot that became nothing.
        sure: the model's confidence in it, 0 … 1.
    """

    piece: str | None
    sure: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """What one step changed."""

    step: int
    written: tuple[tuple[int, Slot], ...]
    remasked: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One run.

    Attributes:
        title: its name, "" if it has none.
        text: the final text.
        start: the canvas before the first step.
        locked: which positions were given.
        events: the steps, in order.
        passes: forward passes of the whole run.
        seed: its seed.
    """

    title: str
    text: str
    start: tuple[Slot, ...]
    locked: tuple[bool, ...]
    events: tuple[Event, ...]
    passes: int
    seed: int

    def frames(self) -> list[tuple[Slot, ...]]:
        """The canvas before the first step and after each."""
        found, now = [self.start], list(self.start)
        for event in self.events:
            for position in event.remasked:
                now[position] = Slot(piece=None)
            for position, slot in event.written:
                now[position] = slot
            found.append(tuple(now))
        return found


def read(trace: Trace) -> Reading:
    """Reads a trace.

    Raises:
        DataError: it is not a trace of this format, or an event names a position that the
            canvas does not have.
    """
    records = [json.loads(line) for line in trace.to_jsonl().split("\n") if line.strip()]
    header = records[0] if records else {}
    if header.get("format") != FORMAT:
        raise DataError(f"expected a trace of format {FORMAT!r}, got {header.get('format')!r}")
    tokens = header["tokens"]
    events = tuple(_event(record, len(tokens)) for record in records[1:])
    return Reading(
        title=str(header.get("title") or ""),
        text=str(header["text"]),
        start=tuple(Slot(piece=token["piece"]) for token in tokens),
        locked=tuple(bool(token["locked"]) for token in tokens),
        events=events,
        passes=int(header["passes"]),
        seed=int(header["seed"]),
    )


def _event(record: dict[str, Any], width: int) -> Event:
    written: Sequence[Any] = record["set"]
    positions = [*(item[0] for item in written), *record["remask"]]
    if not all(0 <= position < width for position in positions):
        raise DataError(
            f"step {record['step']} of a trace changes positions {positions}, but its canvas has "
            f"{width}"
        )
    return Event(
        step=int(record["step"]),
        written=tuple(
            (int(position), Slot(piece=str(piece), sure=min(max(float(sure), 0.0), 1.0)))
            for position, _, piece, sure in written
        ),
        remasked=tuple(int(position) for position in record["remask"]),
    )
