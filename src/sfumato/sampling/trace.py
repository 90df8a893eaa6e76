"""The compact record of a run: what each step wrote and took back, one JSON line a step.

    {"format": "sfumato-trace/2", "seed": 0, "mask": 4, "tokens":
        [{"id": 2, "piece": "[CLS]", "locked": true}, {"id": 4, "piece": null, "locked": false}]}
    {"step": 1, "time": 0.98, "set": [[7, 311, " cat", 0.93]], "remask": []}
    {"text": "…", "passes": 9}

A header that is known before the first step, the steps that changed something, the end: a file
and a live stream are the same lines, and two steps merge into one.

A piece is null for a slot that is not written yet, and empty for a slot that became nothing or
ended the text. A letter that is several tokens is in the piece of the one that was written last;
the others are "�" (U+FFFD), and so is a letter that is not complete: players show nothing for it.
`set` lists position, id, piece and the probability that the token had when it was written (0 where
noise put it), again where a letter came to stand at another token; `remask` lists positions that
were taken back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from sfumato.errors import DataError
from sfumato.sampling.frames import Trajectory

FORMAT = "sfumato-trace/2"
HALF = "\ufffd"
Pieces = Callable[[Sequence[int]], list[str]]
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)  # a text has thousands
class Slot:
    """A position before the first step; `piece` is None where nothing is written."""

    id: int
    piece: str | None
    locked: bool

    @property
    def shown(self) -> str | None:
        """The piece as a reader sees it: nothing for a part of a letter."""
        return "" if self.piece == HALF and not self.locked else self.piece

    def to_record(self) -> Record:
        """What the header says of it."""
        return {"id": self.id, "piece": self.piece, "locked": self.locked}


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """A token that a step wrote; an empty `piece` is a slot that became nothing."""

    position: int
    id: int
    piece: str
    confidence: float

    @property
    def shown(self) -> str:
        """The piece as a reader sees it: nothing for a part of a letter."""
        return "" if self.piece == HALF else self.piece


@dataclass(frozen=True, kw_only=True, slots=True)
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

    def to_record(self) -> Record:
        """The line of this step."""
        commits = [[one.position, one.id, one.piece, one.confidence] for one in self.commits]
        return {
            "step": self.step,
            "time": self.time,
            "set": commits,
            "remask": [*self.remasked],
        }


def merge(one: Event, other: Event) -> Event:
    """Two steps as one that leads to the same tokens; `other` is the later one.

    What is written later wins; a position that is taken back later is not written.

    Example:
        >>> first = Commit(position=0, id=7, piece="a", confidence=0.5)
        >>> step = Event(step=1, time=0.5, commits=(first,), remasked=(2,))
        >>> both = merge(step, Event(step=2, time=0.25, commits=(), remasked=(0,)))
        >>> both.step, both.commits, both.remasked
        (2, (), (0, 2))
    """
    commits = {commit.position: commit for commit in one.commits}
    for position in other.remasked:
        commits.pop(position, None)
    commits |= {commit.position: commit for commit in other.commits}
    remasked = {*one.remasked, *other.remasked} - commits.keys()
    return Event(
        step=other.step,
        time=other.time,
        commits=tuple(commits[position] for position in sorted(commits)),
        remasked=tuple(sorted(remasked)),
    )


def header(seed: int, mask: int, slots: Sequence[Slot]) -> Record:
    """The first line, before the first step."""
    return {
        "format": FORMAT,
        "seed": seed,
        "mask": mask,
        "tokens": [one.to_record() for one in slots],
    }


def ending(text: str, passes: int) -> Record:
    """The last line."""
    return {"text": text, "passes": passes}


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

    def _repr_html_(self) -> str:
        """What notebooks show: the text, what was written the warmer, the less sure.

        Given pieces that the text does not spell, such as `[CLS]`, are left out.
        """
        given = [(slot.piece or "") if slot.locked else "" for slot in self.slots]
        shown = [(piece if piece.strip() in self.text else "", 1.0) for piece in given]
        for event in self.events:
            for commit in event.commits:
                shown[commit.position] = commit.shown, commit.confidence
        return "".join(
            f'<span style="color:color-mix(in oklab,#c04d16,currentcolor {sure**2:.0%})">'
            f"{escape(piece)}</span>"
            for piece, sure in shown
        )

    def to_jsonl(self) -> str:
        """The header, the events and the end, one JSON object a line."""
        records = [
            header(self.seed, self.mask, self.slots),
            *(event.to_record() for event in self.events),
            ending(self.text, self.passes),
        ]
        return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records)


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
        DataError: the lines are not a trace of this format, or its end is missing; names the line.
    """
    records = [_record(number, line) for number, line in enumerate(text.split("\n"), 1) if line]
    if not records or records[0].get("format") != FORMAT:
        raise DataError(f'line 1: expected a header with "format": "{FORMAT}"')
    first, *steps = records
    if not steps or "text" not in steps[-1]:
        raise DataError(
            f'the trace has no end: expected a last line with "text" and "passes" after line '
            f"{len(records)}"
        )
    last = steps.pop()
    try:
        trace = Trace(
            text=last["text"],
            seed=first["seed"],
            passes=last["passes"],
            mask=first["mask"],
            slots=tuple(
                Slot(id=one["id"], piece=one["piece"], locked=one["locked"])
                for one in first["tokens"]
            ),
            events=tuple(_event(record) for record in steps),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a trace of format {FORMAT}: {error!r}") from None
    size = len(trace.slots)
    outside = [p for one in trace.events for p in _positions(one) if not 0 <= p < size]
    if outside:
        raise DataError(f"a step changes position {outside[0]} of {size}")
    return trace


def _event(record: Record) -> Event:
    return Event(
        step=record["step"],
        time=float(record["time"]),  # other writers of JSON spell 1.0 as 1
        commits=tuple(
            Commit(position=place, id=token, piece=piece, confidence=float(sure))
            for place, token, piece, sure in record["set"]
        ),
        remasked=tuple(record["remask"]),
    )


def _positions(event: Event) -> list[int]:
    return [commit.position for commit in event.commits] + list(event.remasked)


def _record(number: int, line: str) -> Record:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"line {number}:{error.colno}: {error.msg}") from None
    if not isinstance(record, dict):
        raise DataError(f"line {number}: expected a JSON object, got {type(record).__name__}")
    return record
