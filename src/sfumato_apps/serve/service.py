"""From a request to its texts: made ready on the engine's thread, checked, written, followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from sfumato.models.latent.storage import LatentCheckpoint
from sfumato_apps.policies import options_of
from sfumato_apps.serve.engine.engine import Engine
from sfumato_apps.serve.engine.job import Job, Look, Outcome
from sfumato_apps.serve.engine.mailbox import Mailbox, Update
from sfumato_apps.serve.limits import Limits
from sfumato_apps.serve.wire.asked import Asked, Opened
from sfumato_apps.serve.wire.errors import NotThereError
from sfumato_apps.serve.wire.requests import Writing

Answer = TypeVar("Answer")
Choice = tuple[Outcome, dict[str, Any]]
ALIAS = "sfumato"
_TICK = 1.0  # seconds between two looks at the queue


@dataclass(frozen=True, kw_only=True, eq=False)
class Service:
    """What the routes share.

    Attributes:
        engine: writes.
        model: what it writes with.
        name: of the model; `sfumato` is another.
        limits: of a request.
    """

    engine: Engine
    model: Opened
    name: str
    limits: Limits

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may call the model."""
        return tuple(dict.fromkeys((self.name, ALIAS)))

    @property
    def about(self) -> dict[str, Any]:
        """What kind of model it is, and which options of a request it has a use for."""
        taken = [one for one in Writing.model_fields if one in options_of(self.model)]
        latent = isinstance(self.model, LatentCheckpoint)
        return {"kind": "latent" if latent else "tokens", "takes": taken}

    def check_name(self, name: str | None) -> None:
        """Makes sure that a request means the model that is there.

        Raises:
            NotThereError: it does not.
        """
        if name is not None and name not in self.names:
            raise NotThereError(
                f"there is no model {name!r}: expected {' or '.join(self.names)}",
                code="model_not_found",
                param="model",
            )

    async def call(self, work: Callable[[], Answer], *, counted: bool = True) -> Answer:
        """Runs something on the engine's thread.

        Raises:
            SfumatoError: what the work raises, or a full queue.
        """
        return await asyncio.wrap_future(self.engine.call(work, counted=counted))

    async def begin(
        self,
        asked: Writing,
        compose: Callable[[], Asked],
        *,
        look: Look,
    ) -> Run:
        """Makes a request's rows and hands them to the engine.

        Raises:
            SfumatoError: the request asks for what cannot be, or for too much, or the queue is
                full.
        """
        self.check_name(asked.model)
        self.limits.check("n", asked.n)
        self.limits.check("steps", asked.steps)
        deadline = monotonic() + self.limits.seconds
        ready = await self.call(compose)
        room: int | None = getattr(self.model.denoiser, "max_length", None)
        self.limits.check_work(ready.work, room)
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        job = Job(
            work=ready.work,
            mailbox=Mailbox(_notifier(loop, wake)),
            look=look if ready.live else Look.NOTHING,
            stop=ready.stop if ready.live else (),
            head=ready.head,
            whole=ready.whole,
            keep=ready.choose is not None,
            deadline=deadline,
        )
        self.engine.submit(job)
        rows = {*range(len(ready.work.rows))}
        return Run(service=self, asked=ready, job=job, wake=wake, open=rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A request that is being written.

    Attributes:
        service: that it belongs to.
        asked: what it wants.
        job: its rows in the engine.
        wake: set when there are news.
        open: rows whose outcome is not there.
    """

    service: Service
    asked: Asked
    job: Job
    wake: asyncio.Event
    open: set[int]

    async def updates(self) -> AsyncIterator[dict[int, Update]]:
        """News as they come, none at each tick without any, until every row has its outcome.

        Raises:
            SfumatoError: why there are no more.
        """
        box = self.job.mailbox
        while self.open:
            try:
                await asyncio.wait_for(self.wake.wait(), _TICK)
            except TimeoutError:
                yield {}
                continue
            self.wake.clear()
            news = box.take()
            over = {index for index, one in news.items() if one.outcome is not None}
            self.open.difference_update(over)
            if news:
                yield news
            if box.error is not None and self.open:
                raise box.error

    async def chosen(self, found: Mapping[int, Outcome]) -> list[Choice]:
        """The choices from the outcomes of all rows, with what each adds to its text."""
        rows = [found[index] for index in sorted(found)]
        asked = self.asked

        def work() -> list[Choice]:
            choices = rows if asked.choose is None else asked.choose(rows)
            return [(one, dict(asked.describe(one))) for one in choices]

        return await self.service.call(work, counted=False)

    @property
    def position(self) -> int:
        """How many requests come before this one."""
        return self.service.engine.position(self.job)

    def close(self) -> None:
        """The reader has everything, or is gone: what is under way for it stops."""
        box = self.job.mailbox
        if self.open and box.error is None and not box.closed:
            self.service.engine.meters.cancelled += 1
        box.close()


def _notifier(loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> Callable[[], None]:
    def notify() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(wake.set)

    return notify
