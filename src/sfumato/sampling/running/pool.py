"""The batch that is kept full: a row that is done leaves, and the next one takes its place.

    step   1  2  3  4  5  6  7
    row a  ▒  ▒  ▒  e  e  f  f      a is done after 3 steps, e begins in step 4
    row b  ▒  ▒  ▒  ▒  ▒  ▒  b      each row counts steps of its own
    row c  ▒  c  d  d  d  g  g

A row's tokens depend on its canvas and its seed, not on when it comes and who is beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sfumato.sampling.frames import Frame, Specials
from sfumato.sampling.loop import Network, Policy, prepared, step
from sfumato.sampling.running.rows import join, take

Entry = TypeVar("Entry")


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn(Generic[Entry]):
    """A step of the batch.

    Attributes:
        entries: what each row stands for.
        before: the frame that the step starts from.
        after: the frame that it leads to, the same one where nothing was to be written.
        leaving: rows that leave the batch after it.
    """

    entries: Sequence[Entry]
    before: Frame
    after: Frame
    leaving: Sequence[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Generic[Network]):
    """How a batch is worked on.

    Attributes:
        denoiser: the network.
        policy: how rows are written.
        specials: ids with a meaning of their own.
        size: rows side by side.
        together: rows come and leave together, as those of a search, of a latent model and of a
            frozen context must.
    """

    denoiser: Network
    policy: Policy[Network]
    specials: Specials
    size: int
    together: bool = False

    def turns(
        self,
        take_next: Callable[[int], list[Entry]],
        begin: Callable[[Sequence[Entry]], Frame],
        gone: Callable[[Entry], bool] = lambda _: False,
    ) -> Iterator[Turn[Entry]]:
        """The steps, until nothing is left to do.

        Args:
            take_next: up to so many entries; none while rows are in the batch means none now, and
                none for an empty batch that there are no others.
            begin: the frame of entries before their first step, or any later one.
            gone: whether nobody waits for an entry any more: it leaves before the next step.
                Rows that come and leave together go when all of them are gone.
        """
        entries: list[Entry] = []
        frame: Frame | None = None
        limit, denoiser = 0, self.denoiser
        while True:
            left = [row for row, entry in enumerate(entries) if gone(entry)]
            if frame is not None and left and (not self.together or len(left) == len(entries)):
                entries, frame = _staying(entries, frame, left)
            free = 0 if self.together and entries else self.size - len(entries)
            if new := take_next(free) if free else []:
                first = begin(new)
                limit = max(limit, self.policy.limit(first))
                denoiser = prepared(self.denoiser, self.policy) if frame is None else denoiser
                frame = first if frame is None else join(frame, first, pad=self.specials.pad)
                entries = [*entries, *new]
            if frame is None:
                return
            turn = self._turn(entries, frame, denoiser)
            assert int(turn.after.step.max()) <= limit, f"a policy must end within {limit} steps"
            yield turn
            entries, frame = _staying(turn.entries, turn.after, turn.leaving)

    def _turn(self, entries: Sequence[Entry], frame: Frame, denoiser: Network) -> Turn[Entry]:
        idle = bool(frame.done.all())
        after = frame if idle else step(denoiser, frame, self.policy, self.specials)
        done = after.done.tolist()
        unwritten = after.pending & after.done[:, None]
        assert not bool(unwritten.any()), "a row that is done leaves no position unwritten"
        leaving = [row for row, over in enumerate(done) if over]
        if self.together and not all(done):
            leaving = []
        return Turn(entries=entries, before=frame, after=after, leaving=leaving)


def _staying(
    entries: Sequence[Entry], frame: Frame, leaving: Sequence[int]
) -> tuple[list[Entry], Frame | None]:
    """Who goes on, and the frame they go on from."""
    if not leaving:
        return [*entries], frame
    rows = [row for row in range(len(entries)) if row not in {*leaving}]
    return [entries[row] for row in rows], take(frame, rows) if rows else None
