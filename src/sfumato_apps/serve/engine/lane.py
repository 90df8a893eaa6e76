"""One batch of rows that are written by one policy.

Rows of several requests stand side by side. Where a step fails, the requests are parted, each into
a lane of its own that goes on from the last good step, so that one takes no other with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from sfumato.errors import ResourceError
from sfumato.sampling.frames import Frame
from sfumato.sampling.running.pool import Turn
from sfumato.sampling.running.recording import Happening, Recorder
from sfumato.sampling.running.rows import join, take
from sfumato.sampling.tasks import Writer
from sfumato.sampling.tasks.jobs import How, begin, pool_for
from sfumato_apps.serve.engine.job import Entry, Job, cut_at, outcome_of
from sfumato_apps.serve.engine.mailbox import Update
from sfumato_apps.serve.engine.meters import Meters
from sfumato_apps.serve.engine.view import View


class Lane:
    """A batch and its readers.

    Args:
        model: what writes.
        job: the lane is for rows that are written as this one's.
        size: rows side by side.
        meters: count what is done.
        take_next: up to so many rows that wait for this lane.
    """

    def __init__(
        self,
        model: Writer,
        job: Job,
        *,
        size: int,
        meters: Meters,
        take_next: Callable[[Lane, int], list[Entry]],
    ) -> None:
        self._model, self._size, self._meters, self._take_next = model, size, meters, take_next
        self._how = How(policy=job.work.policy, batch_size=size, require=job.work.require)
        pool = pool_for(model, self._how)
        self._specials = pool.specials
        self._owner = job if pool.together else None
        self._view = View(model, job.work.policy)
        self._here: list[Entry] = []
        self._frame: Frame | None = None
        self._new: list[Entry] = []
        self._done: set[Entry] = set()
        self._resuming = False
        self._recorder: Recorder[Entry] = Recorder(
            lambda entry, ids: entry.row.read(ids), model.vocabulary.pieces, pool.specials
        )
        self._turns = pool.turns(self._next, self._begin, self._gone)

    def fits(self, job: Job) -> bool:
        """Whether a job's rows may join; those of some policies stay among themselves."""
        if self._owner is not None:
            return self._owner is job
        same = self._how.policy == job.work.policy
        return same and [*self._how.require] == [*job.work.require]

    @property
    def jobs(self) -> list[Job]:
        """The requests whose rows are here and that are not over."""
        found = dict.fromkeys(entry.job for entry in (*self._here, *self._new))
        return [job for job in found if not job.mailbox.closed]

    def advance(self) -> bool:
        """Makes a step and tells the readers; False when nothing is left to do.

        Raises:
            SfumatoError: the step failed, as it does for logits that are not numbers.
            RuntimeError: the same, by torch.
        """
        turn = next(self._turns, None)
        if turn is None:
            return False
        self._meters.steps += 1
        self._meters.passes += int((turn.after.passes - turn.before.passes).sum())
        for row, happening in enumerate(self._recorder.turn(turn)):
            self._tell(turn, row, happening)
        stay = [row for row in range(len(turn.entries)) if row not in {*turn.leaving}]
        self._here, self._new = [turn.entries[row] for row in stay], []
        self._done &= {*self._here}
        self._frame = turn.after
        if turn.leaving:
            self._frame = take(turn.after, stay) if stay else None
        return True

    def parted(self) -> list[Lane]:
        """A lane for each request, from before the step that failed."""
        return [self._of(job) for job in self.jobs]

    def _of(self, job: Job) -> Lane:
        lane = Lane(
            self._model, job, size=self._size, meters=self._meters, take_next=self._take_next
        )
        rows = [i for i, entry in enumerate(self._here) if entry.job is job]
        lane._owner = job
        lane._here = [self._here[row] for row in rows]
        lane._frame = take(self._frame, rows) if rows and self._frame is not None else None
        lane._new = [entry for entry in self._new if entry.job is job]
        lane._view, lane._recorder = self._view, self._recorder.only(lane._here)
        lane._resuming = True
        return lane

    def _next(self, count: int) -> list[Entry]:
        if self._resuming:
            self._resuming = False
            return [*self._here, *self._new]
        self._new = self._take_next(self, count)
        return self._new

    def _begin(self, entries: Sequence[Entry]) -> Frame:
        fresh = [entry.row for entry in entries if entry not in self._here]
        old = self._frame if len(fresh) < len(entries) else None
        if old is not None and not fresh:
            return old
        first = begin(self._model, fresh, self._how)
        return first if old is None else join(old, first, pad=self._specials.pad)

    def _gone(self, entry: Entry) -> bool:
        return entry.job.mailbox.closed or entry in self._done

    def _tell(self, turn: Turn[Entry], row: int, happening: Happening[Entry]) -> None:
        """News of a row: what its reader looks at, and the outcome when it is over."""
        entry, job = happening.entry, happening.entry.job
        if self._gone(entry):
            return
        update = self._view.update(happening, turn.after, row)
        if update is not None:
            job.mailbox.post(entry.index, update)
        sample = happening.sample
        if sample is None and job.stop and happening.event is not None:
            text = self._view.committed(entry, turn.after, row)
            if cut_at(text, job.stop)[1]:
                sample = self._recorder.sample(entry, turn.after, row)
        if sample is not None:
            outcome = outcome_of(
                sample, self._specials, head=job.head, stop=job.stop, keep=job.keep
            )
            self._done.add(entry)
            self._view.forget(entry)
            self._meters.tokens += outcome.written
            job.mailbox.post(entry.index, Update(outcome=outcome))
        elif monotonic() > job.deadline:
            self._meters.failed += 1
            job.mailbox.fail(ResourceError("the time limit of a request is over: ask for less"))
