"""What happened to each row of a batch, as a sample with its trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeVar

from sfumato.sampling.frames import Frame, Specials, trajectory
from sfumato.sampling.running.pool import Turn
from sfumato.sampling.running.rows import on_cpu
from sfumato.sampling.trace import Commit, Event, Pieces, Sample, Slot, Trace

Entry = TypeVar("Entry", bound=Hashable)


def recorded(
    turns: Iterable[Turn[Entry]],
    read: Callable[[Entry, Sequence[int]], str],
    pieces: Pieces,
    specials: Specials,
) -> Iterator[tuple[Entry, Sample]]:
    """A sample for each row when it leaves its batch; frames are consumed and not kept.

    Args:
        turns: the steps of a batch.
        read: what a row stands for and its final ids to its text.
        pieces: ids to readable pieces, such as `Vocabulary.pieces`.
        specials: which ids mean mask, pad and eos.
    """
    opened: dict[Entry, tuple[tuple[Slot, ...], list[Event]]] = {}
    for turn in turns:
        before, after = on_cpu(turn.before), on_cpu(turn.after)
        for row, entry in enumerate(turn.entries):
            if entry not in opened:
                opened[entry] = slots(before, row, pieces, specials), []
            happened = event(before, after, row, pieces, specials)
            opened[entry][1].extend([] if happened is None else [happened])
        for row in turn.leaving:
            entry = turn.entries[row]
            found = trajectory(after, row)
            first, events = opened.pop(entry)
            trace = Trace(
                text=read(entry, found.ids),
                seed=int(after.seeds[row]),
                passes=found.passes,
                mask=specials.mask,
                slots=first,
                events=tuple(events),
            )
            sample = Sample(
                text=trace.text,
                seed=trace.seed,
                passes=trace.passes,
                trajectory=found,
                trace=trace,
            )
            yield entry, sample


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
    return tuple(
        Slot(id=token, piece=None if token == specials.mask else piece, locked=fixed)
        for token, piece, fixed in zip(ids, pieces(ids), locked, strict=True)
    )


def event(
    before: Frame, after: Frame, row: int, pieces: Pieces, specials: Specials
) -> Event | None:
    """What the step between two frames did to a row; None if nothing."""
    exists = before.canvas.attend[row]
    old, new = before.ids[row][exists], after.ids[row][exists]
    remasked = (old != new) & (new == specials.mask)
    rewritten = before.committed[row][exists] != after.committed[row][exists]
    changed = ((old != new) | rewritten) & (new != specials.mask)
    if not bool((changed | remasked).any()):
        return None
    ids = new[changed].tolist()
    places = changed.nonzero()[:, 0].tolist()
    sure = after.confidence[row][exists][changed].tolist()
    ends = specials.ends(new[changed]).tolist()
    return Event(
        step=int(after.step[row]),
        time=round(float(after.time[row]), 6),
        commits=tuple(
            Commit(position=place, id=token, piece="" if end else piece, confidence=_rounded(p))
            for place, token, piece, end, p in zip(
                places, ids, pieces(ids), ends, sure, strict=True
            )
        ),
        remasked=tuple(remasked.nonzero()[:, 0].tolist()),
    )


def _rounded(confidence: float) -> float:
    return 0.0 if math.isnan(confidence) else round(confidence, 6)
