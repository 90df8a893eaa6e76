"""The thread that owns the model: lanes in turn, a step each, and calls between their steps.

submit ─▶ waiting (bounded) ─▶ lanes: a ▒▒▒ b ▒▒ c ▒▒▒▒ ─▶ mailboxes
call   ─▶ calls   (bounded) ─▶ between two steps         ─▶ futures
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from sfumato.errors import ModelError, ResourceError, SfumatoError
from sfumato.sampling.tasks import Writer
from sfumato_apps.serve.engine.job import Entry, Job
from sfumato_apps.serve.engine.lane import Lane
from sfumato_apps.serve.engine.meters import Meters

Answer = TypeVar("Answer")
LANES = 4
_RESTARTS = 5
_MOMENT = 0.05  # seconds
# What a step raises when it fails; anything else is a mistake of ours and ends the thread.
_FAILURES = (SfumatoError, RuntimeError, ValueError, AssertionError, MemoryError)


class BusyError(ResourceError):
    """The queue is full: come back later."""


class EndingError(ResourceError):
    """The server is told to stop, and what is under way has had its time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """Work on the engine's thread that writes nothing."""

    work: Callable[[], Any]
    future: Future[Any]


class _Waiting:
    """A job of which rows wait; `next` is the first of them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.next = 0

    def take(self, count: int) -> list[Entry]:
        rows = self.job.work.rows
        stop = min(len(rows), self.next + count)
        entries = [Entry(job=self.job, index=i, row=rows[i]) for i in range(self.next, stop)]
        self.next = stop
        return entries

    @property
    def over(self) -> bool:
        return self.job.mailbox.closed or self.next >= len(self.job.work.rows)


class Engine:
    """Writes for many readers at once.

    Args:
        model: what writes; nothing but the engine's thread may use it.
        batch: rows side by side in a lane.
        queue: requests that may wait.
    """

    def __init__(self, model: Writer, *, batch: int = 16, queue: int = 32) -> None:
        self.model, self.batch, self.queue = model, batch, queue
        self.meters = Meters()
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._calls: deque[_Call] = deque()
        self._lanes: list[Lane] = []
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether requests are worked on."""
        return self._thread is not None and self._thread.is_alive() and not self._stopping

    @property
    def waiting(self) -> int:
        """Requests that nothing has been done for."""
        with self._changed:
            return len(self._calls) + sum(one.next == 0 for one in self._waiting)

    @property
    def running(self) -> int:
        """Requests whose rows are in a batch."""
        return len({job for lane in [*self._lanes] for job in lane.jobs})

    def position(self, job: Job) -> int:
        """How many requests come before a job; 0 if it is being worked on."""
        with self._changed:
            first = [one.job for one in self._waiting if one.next == 0 and not one.over]
            return first.index(job) + 1 if job in first else 0

    def start(self) -> None:
        """Begins to work."""
        self._thread = threading.Thread(target=self._run, name="sfumato-engine", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Asks it to end after the step under way; what is not written is an error by then."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def stop(self) -> None:
        """Ends, and waits until it has."""
        self.end()
        if self._thread is not None:
            self._thread.join()

    def submit(self, job: Job) -> None:
        """Takes a job in.

        Raises:
            BusyError: too many wait.
            ResourceError: the engine has stopped.
        """
        with self._changed:
            self._admit()
            self._waiting.append(_Waiting(job))
            self._changed.notify()

    def call(self, work: Callable[[], Answer], *, counted: bool = True) -> Future[Answer]:
        """Runs something that needs the model or its vocabulary, between two steps.

        Args:
            work: what to run.
            counted: it is a request by itself, and not the end of one that was taken in.

        Raises:
            BusyError: too many wait.
            ResourceError: the engine has stopped.
        """
        future: Future[Answer] = Future()
        with self._changed:
            self._check_alive()
            if counted:
                self._admit()
                self.meters.requests += 1
            self._calls.append(_Call(work=work, future=future))
            self._changed.notify()
        return future

    def _check_alive(self) -> None:
        if not self.alive:
            raise ResourceError("the engine has stopped: nothing can be written")

    def _admit(self) -> None:
        self._check_alive()
        self._waiting = [one for one in self._waiting if not one.over]
        if len(self._calls) + sum(one.next == 0 for one in self._waiting) >= self.queue:
            self.meters.refused += 1
            raise BusyError(f"{self.queue} requests are waiting: try again in a moment")

    def _run(self) -> None:
        try:
            while self._ready():
                self._answer()
                for lane in [*self._lanes]:
                    self._step(lane)
                self._open()
        finally:
            self._end()

    def _ready(self) -> bool:
        """Waits for something to do; False when it is time to stop."""
        with self._changed:
            while not (self._stopping or self._lanes or self._calls or self._waiting):
                self._changed.wait()
            return not self._stopping

    def _answer(self) -> None:
        """Calls that wait, for a moment: the rows that are being written wait meanwhile."""
        until = monotonic() + _MOMENT
        while self._calls and monotonic() < until:
            call = self._calls.popleft()
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                call.future.set_result(call.work())
            except _FAILURES as error:
                call.future.set_exception(as_ours(error))

    def _step(self, lane: Lane) -> None:
        try:
            if lane.advance():
                return
        except _FAILURES as error:
            self._failed(lane, as_ours(error))
        self._lanes.remove(lane)

    def _failed(self, lane: Lane, error: SfumatoError) -> None:
        """A request that is alone takes the error; several are parted and go on."""
        jobs = lane.jobs
        if len(jobs) > 1:
            self._lanes += lane.parted()
            return
        for job in jobs:
            self.meters.failed += 1
            job.mailbox.fail(error)

    def _open(self) -> None:
        """A lane for the request that waits longest and fits into none, if there is room."""
        with self._changed:
            late = [one for one in self._waiting if monotonic() > one.job.deadline]
            for one in late:
                one.job.mailbox.fail(ResourceError("the request waited longer than it may take"))
            self._waiting = [one for one in self._waiting if not one.over]
            for one in self._waiting:
                if len(self._lanes) >= LANES:
                    return
                if not any(lane.fits(one.job) for lane in self._lanes):
                    lane = Lane(
                        self.model,
                        one.job,
                        size=self.batch,
                        meters=self.meters,
                        take_next=self._take,
                    )
                    self._lanes.append(lane)

    def _take(self, lane: Lane, count: int) -> list[Entry]:
        """Rows for a lane, the oldest first; an older request without a lane holds others back."""
        found: list[Entry] = []
        with self._changed:
            self._waiting = [one for one in self._waiting if not one.over]
            for one in self._waiting:
                if lane.fits(one.job):
                    found += one.take(count - len(found))
                elif not any(other.fits(one.job) for other in self._lanes):
                    break
                if len(found) >= count:
                    break
        return found

    def _end(self) -> None:
        """Nobody is left without an answer; a thread that ended by mistake is followed by one."""
        error = ResourceError("the engine stopped before the text was written")
        with self._changed:
            if self._stopping:
                error = EndingError("the server is shutting down before the text is written")
            jobs = {one.job for one in self._waiting}
            jobs |= {job for lane in self._lanes for job in lane.jobs}
            calls = [*self._calls]
            self._waiting, self._lanes = [], []
            self._calls.clear()
            again = not self._stopping and self.meters.restarts < _RESTARTS
            self._stopping = not again
        for job in jobs:
            job.mailbox.fail(error)
        for call in calls:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
        if again:
            self.meters.restarts += 1
            self.start()


def as_ours(error: BaseException) -> SfumatoError:
    """The error as one that says what happened; not what was written."""
    if isinstance(error, SfumatoError):
        return error
    return ModelError(f"the model failed: {type(error).__name__}")
