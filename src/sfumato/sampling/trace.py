"""The compact record of a run: what each step wrote and took back, one JSON line a step.

    {"format": "sfumato-trace/1", "text": "…", "seed": 0, "passes": 9, "mask": 4, "tokens":
        [{"id": 2, "piece": "[CLS]", "locked": true}, {"id": 4, "piece": null, "locked": false}]}
    {"step": 1, "time": 0.98, "set": [[7, 311, " cat", 0.93]], "remask": []}

A piece is null for a slot that is not written yet, and empty for a slot that became nothing or
ended the text. `set` lists position, id, piece and the probability that the token had when it was
written (0 where noise put it); `remask` lists positions that were taken back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sfumato.errors import DataError
from sfumato.sampling.frames import Trajectory

FORMAT = "sfumato-trace/1"
Pieces = Callable[[Sequence[int]], list[str]]


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A position before the first step; `piece` is None where nothing is written."""

    id: int
    piece: str | None
    locked: bool


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A token that a step wrote; an empty `piece` is a slot that became nothing."""

    position: int
    id: int
    piece: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a step did to one row.

    Attributes:
        step: number of the step, from 1.
        time: t after it.
        commits: tokens that it wrote.
        remasked: positions that it took back.
    """

    step: int
    time: float
    commits: tuple[Commit, ...]
    remasked: tuple[int, ...]

    def to_json(self) -> str:
        """One line, for files and streams."""
        commits = [[one.position, one.id, one.piece, one.confidence] for one in self.commits]
        line = {"step": self.step, "time": self.time, "set": commits, "remask": self.remasked}
        return json.dumps(line, ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One row's run.

    Attributes:
        text: the final text.
        seed: the row's seed.
        passes: evaluations of the network.
        mask: id of what is not written.
        slots: the row before the first step.
        events: the steps that changed it.

    Example:
        >>> slot = Slot(id=4, piece=None, locked=False)
        >>> trace = Trace(text="", seed=0, passes=1, mask=4, slots=(slot,), events=())
        >>> read_jsonl(trace.to_jsonl()) == trace
        True
    """

    text: str
    seed: int
    passes: int
    mask: int
    slots: tuple[Slot, ...]
    events: tuple[Event, ...]

    def states(self) -> Iterator[tuple[int, ...]]:
        """The ids before the first step and after each event."""
        ids = [slot.id for slot in self.slots]
        yield tuple(ids)
        for event in self.events:
            for position in event.remasked:
                ids[position] = self.mask
            for commit in event.commits:
                ids[commit.position] = commit.id
            yield tuple(ids)

    def to_jsonl(self) -> str:
        """The header and the events, one JSON object a line."""
        header = {
            "format": FORMAT,
            "text": self.text,
            "seed": self.seed,
            "passes": self.passes,
            "mask": self.mask,
            "tokens": [vars(slot) for slot in self.slots],
        }
        lines = [json.dumps(header, ensure_ascii=False), *(one.to_json() for one in self.events)]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A text that was written.

    Attributes:
        text: the text; what was locked in it is there as it was typed.
        seed: writes it again.
        passes: evaluations of the network.
        trajectory: ids, with the step and the confidence of each.
        trace: every step, for players and files.
        score: what a ranking scorer gave the text.
    """

    text: str
    seed: int
    passes: int
    trajectory: Trajectory
    trace: Trace
    score: float | None = None


def read_jsonl(text: str) -> Trace:
    """A trace from its JSON lines.

    Raises:
        DataError: the lines are not a trace of this format; names the line.
    """
    records = [_record(number, line) for number, line in enumerate(text.split("\n"), 1) if line]
    if not records or records[0].get("format") != FORMAT:
        raise DataError(f'line 1: expected a header with "format": "{FORMAT}"')
    header, *steps = records
    try:
        trace = Trace(
            text=header["text"],
            seed=header["seed"],
            passes=header["passes"],
            mask=header["mask"],
            slots=tuple(
                Slot(id=one["id"], piece=one["piece"], locked=one["locked"])
                for one in header["tokens"]
            ),
            events=tuple(_event(record) for record in steps),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a trace of format {FORMAT}: {error!r}") from None
    outside = [p for one in trace.events for p in _positions(one) if p >= len(trace.slots)]
    if outside:
        raise DataError(f"a step changes position {outside[0]} of {len(trace.slots)}")
    return trace


def _event(record: dict[str, Any]) -> Event:
    return Event(
        step=record["step"],
        time=record["time"],
        commits=tuple(
            Commit(position=place, id=token, piece=piece, confidence=confidence)
            for place, token, piece, confidence in record["set"]
        ),
        remasked=tuple(record["remask"]),
    )


def _positions(event: Event) -> list[int]:
    return [commit.position for commit in event.commits] + list(event.remasked)


def _record(number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"line {number}:{error.colno}: {error.msg}") from None
    if not isinstance(record, dict):
        raise DataError(f"line {number}: expected a JSON object, got {type(record).__name__}")
    return record
