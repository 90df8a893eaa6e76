"""What happened to each row of a batch, as a sample with its trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Generic, TypeVar

import torch

from sfumato.sampling.frames import Frame, Specials, trajectory
from sfumato.sampling.running.pool import Turn
from sfumato.sampling.running.rows import on_cpu
from sfumato.sampling.running.spelling import is_whole, spelled
from sfumato.sampling.trace import HALF, Commit, Event, Pieces, Sample, Slot, Trace

Entry = TypeVar("Entry", bound=Hashable)


@dataclass(frozen=True, kw_only=True, eq=False)
class Happening(Generic[Entry]):
    """What a turn did to one row.

    Attributes:
        entry: what the row stands for.
        opened: the row before its first step, in the turn that it comes in.
        event: what the step wrote and took back; None if nothing.
        sample: the finished text, in the turn that it leaves.
    """

    entry: Entry
    opened: tuple[Slot, ...] | None
    event: Event | None
    sample: Sample | None


class Recorder(Generic[Entry]):
    """Keeps what happened to the rows of a batch, turn by turn; frames are not kept.

    Args:
        read: what a row stands for and its final ids to its text.
        pieces: ids to readable pieces, such as `Vocabulary.pieces`.
        specials: which ids mean mask, pad and eos.
    """

    def __init__(
        self,
        read: Callable[[Entry, Sequence[int]], str],
        pieces: Pieces,
        specials: Specials,
    ) -> None:
        self._read = read
        self._pieces = pieces
        self._specials = specials
        self._open: dict[Entry, tuple[tuple[Slot, ...], list[Event]]] = {}

    def turn(self, turn: Turn[Entry]) -> list[Happening[Entry]]:
        """What a turn did to each row; rows that are gone are forgotten."""
        before, after = on_cpu(turn.before), on_cpu(turn.after)
        self._open = {entry: self._open[entry] for entry in turn.entries if entry in self._open}
        found = []
        for row, entry in enumerate(turn.entries):
            new = entry not in self._open
            if new:
                self._open[entry] = slots(before, row, self._pieces, self._specials), []
            first, events = self._open[entry]
            happened = event(before, after, row, self._pieces, self._specials)
            events.extend([] if happened is None else [happened])
            sample = self.sample(entry, after, row) if row in turn.leaving else None
            opened = first if new else None
            found.append(Happening(entry=entry, opened=opened, event=happened, sample=sample))
        return found

    def only(self, entries: Iterable[Entry]) -> Recorder[Entry]:
        """Another recorder that goes on with some of the rows."""
        other = Recorder(self._read, self._pieces, self._specials)
        kept = {entry: self._open[entry] for entry in entries}
        other._open = {entry: (first, [*events]) for entry, (first, events) in kept.items()}
        return other

    def sample(self, entry: Entry, after: Frame, row: int) -> Sample:
        """What remains of a row that leaves, done or not."""
        after = on_cpu(after)
        found = trajectory(after, row)
        first, events = self._open[entry]
        trace = Trace(
            text=self._read(entry, found.ids),
            seed=int(after.seeds[row]),
            passes=found.passes,
            mask=self._specials.mask,
            slots=first,
            events=tuple(events),
        )
        return Sample(
            text=trace.text,
            seed=trace.seed,
            passes=trace.passes,
            trajectory=found,
            trace=trace,
        )


def recorded(
    turns: Iterable[Turn[Entry]],
    read: Callable[[Entry, Sequence[int]], str],
    pieces: Pieces,
    specials: Specials,
) -> Iterator[tuple[Entry, Sample]]:
    """A sample for each row when it leaves its batch; arguments as for `Recorder`."""
    recorder = Recorder(read, pieces, specials)
    for turn in turns:
        for happening in recorder.turn(turn):
            if happening.sample is not None:
                yield happening.entry, happening.sample


def record(
    frames: Iterable[Frame],
    reads: Sequence[Callable[[Sequence[int]], str]],
    pieces: Pieces,
    specials: Specials,
) -> list[Sample]:
    """One sample a row of a finished run of one batch.

    Args:
        frames: the run, its untouched frame first.
        reads: for each row, its final ids to its text.
        pieces: ids to readable pieces.
        specials: which ids mean mask, pad and eos.
    """
    rows = range(len(reads))
    turns = (
        Turn(entries=rows, before=one, after=other, leaving=rows if bool(other.done.all()) else ())
        for one, other in pairwise(_twice_first(frames))
    )
    found = recorded(turns, lambda row, ids: reads[row](ids), pieces, specials)
    return [sample for _, sample in found]


def _twice_first(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, so that a run without a step is a pair as well."""
    run = iter(frames)
    first = next(run)
    return chain([first, first], run)


def slots(frame: Frame, row: int, pieces: Pieces, specials: Specials) -> tuple[Slot, ...]:
    """A row before its first step; positions of batch padding are left out."""
    exists = frame.canvas.attend[row]
    ids = frame.ids[row][exists].tolist()
    locked = (~frame.canvas.editable[row][exists]).tolist()
    found = pieces(ids)
    if not is_whole(found):
        found = _shown(frame, row, pieces, specials)
    return tuple(
        Slot(
            id=token,
            piece=None if token == specials.mask else "" if fixed and piece == HALF else piece,
            locked=fixed,
        )
        for token, piece, fixed in zip(ids, found, locked, strict=True)
    )


def event(
    before: Frame, after: Frame, row: int, pieces: Pieces, specials: Specials
) -> Event | None:
    """What the step between two frames did to a row; None if nothing.

    A letter that is several tokens may come to stand at another of them: that one is written again.
    """
    exists = before.canvas.attend[row]
    old, new = before.ids[row][exists], after.ids[row][exists]
    remasked = (old != new) & (new == specials.mask)
    rewritten = before.committed[row][exists] != after.committed[row][exists]
    changed = ((old != new) | rewritten) & (new != specials.mask)
    if not bool((changed | remasked).any()):
        return None
    ids, ends = new[changed].tolist(), specials.ends(new[changed]).tolist()
    shown = ["" if end else piece for piece, end in zip(pieces(ids), ends, strict=True)]
    gone = old[changed | remasked]
    if any(ends) or bool(specials.ends(gone).any()) or not is_whole(pieces([*gone.tolist(), *ids])):
        earlier, later = (_shown(one, row, pieces, specials) for one in (before, after))
        moved = [a != b for a, b in zip(earlier, later, strict=True)]
        changed |= torch.tensor(moved) & (new != specials.mask)
        shown = [later[place] for place in changed.nonzero()[:, 0].tolist()]
    return Event(
        step=int(after.step[row]),
        time=round(float(after.time[row]), 6),
        commits=tuple(
            Commit(position=place, id=token, piece=piece, confidence=_rounded(p))
            for place, token, piece, p in zip(
                changed.nonzero()[:, 0].tolist(),
                new[changed].tolist(),
                shown,
                after.confidence[row][exists][changed].tolist(),
                strict=True,
            )
        ),
        remasked=tuple(remasked.nonzero()[:, 0].tolist()),
    )


def _shown(frame: Frame, row: int, pieces: Pieces, specials: Specials) -> list[str]:
    """The pieces of a row, each letter at the token that came last; given ones came first."""
    exists = frame.canvas.attend[row]
    ids, fixed = frame.ids[row][exists], ~frame.canvas.editable[row][exists]
    written = frame.committed[row][exists].masked_fill(fixed, -2).tolist()
    nothing = specials.ends(ids) & ~fixed
    found = zip(pieces(ids.tolist()), nothing.tolist(), strict=True)
    return spelled(["" if end else piece for piece, end in found], written)


def _rounded(confidence: float) -> float:
    return 0.0 if math.isnan(confidence) else round(confidence, 6)
