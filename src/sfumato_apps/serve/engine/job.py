"""Rows to write for a reader, and what came of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from sfumato.sampling.frames import Specials
from sfumato.sampling.tasks import Infill, Sample
from sfumato.sampling.tasks.jobs import Row, Work

if TYPE_CHECKING:
    from sfumato_apps.serve.engine.mailbox import Mailbox


class Look(Enum):
    """What a reader sees before the end."""

    NOTHING = auto()
    COMMITTED = auto()
    """The left part of the text that will not change any more."""
    DRAFTS = auto()
    """The whole text at every step."""
    STEPS = auto()
    """Every step, as a trace has them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A request that writes.

    Attributes:
        work: its rows, one a choice.
        mailbox: where news of them go.
        look: what the reader sees before the end.
        stop: strings that end a text; what follows is not written.
        head: characters at the beginning of a text that were given: not searched, not shown.
        whole: what was given stands among what is written, and is shown with it.
        keep: outcomes hold their samples, from which choices are made; they take much memory.
        deadline: when it is given up, on the monotonic clock, seconds.
    """

    work: Work
    mailbox: Mailbox
    look: Look = Look.NOTHING
    stop: tuple[str, ...] = ()
    head: int = 0
    whole: bool = False
    keep: bool = False
    deadline: float = math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One row of a job on its way through a batch."""

    job: Job
    index: int
    row: Row


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What came of a row.

    Attributes:
        text: what was written after the `head`, up to a stop.
        head: what was given before it.
        seed: writes it again.
        passes: evaluations of the network.
        ids: tokens that were written.
        confidence: of each, when it was written.
        ended: it ended by itself or by a stop; otherwise every slot was used.
        given: tokens on the canvas that were not to be written.
        steps: that were made.
        remasked: positions that were taken back, counted each time.
        sample: as the task returns it, if it was to be kept.
    """

    text: str
    head: str
    seed: int
    passes: int
    ids: tuple[int, ...]
    confidence: tuple[float, ...]
    ended: bool
    given: int
    steps: int
    remasked: int
    sample: Sample | Infill | None = None

    @property
    def written(self) -> int:
        """Tokens that are text of its own."""
        return len(self.ids)


def outcome_of(
    sample: Sample | Infill,
    specials: Specials,
    *,
    head: int = 0,
    stop: tuple[str, ...] = (),
    keep: bool = False,
) -> Outcome:
    """What a finished row, or one that met a stop, amounts to.

    Args:
        sample: what was written.
        specials: ids with a meaning of their own.
        head: characters at the beginning that were given.
        stop: strings that end the text.
        keep: hold the sample.
    """
    text, stopped = cut_at(sample.text[head:], stop)
    trace, run = sample.trace, sample.trajectory
    own = [place for place, slot in enumerate(trace.slots) if not slot.locked]
    nothing = (specials.mask, specials.pad, specials.eos)
    written = [place for place in own if run.ids[place] not in nothing]
    return Outcome(
        text=text,
        head=sample.text[:head],
        seed=sample.seed,
        passes=sample.passes,
        ids=tuple(run.ids[place] for place in written),
        confidence=tuple(run.confidence[place] for place in written),
        ended=stopped or len(written) < len(own) or not own,
        given=len(run.ids) - len(own),
        steps=trace.events[-1].step if trace.events else 0,
        remasked=sum(len(event.remasked) for event in trace.events),
        sample=sample if keep else None,
    )


def cut_at(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The text before the first of some strings, and whether one of them was there.

    Example:
        >>> cut_at("a cat. A dog.", (".",)), cut_at("a cat", (".",))
        (('a cat', True), ('a cat', False))
    """
    places = [text.find(stop) for stop in stops if stop in text]
    return (text[: min(places)], True) if places else (text, False)
