"""What every route that writes does: an answer, or one of three streams.

stream                       parts of the text that will not change any more
stream + diffusing           the whole text at every step, in place of what came before
stream + diffusing: events   every step, as the lines of a trace
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from fastapi import Request
from starlette.responses import Response

from sfumato.errors import SfumatoError
from sfumato.sampling.trace import Record, ending, header
from sfumato_apps.serve.engine.job import Look, Outcome
from sfumato_apps.serve.engine.mailbox import Update
from sfumato_apps.serve.service import Choice, Run, Service
from sfumato_apps.serve.wire.asked import Asked
from sfumato_apps.serve.wire.errors import refusal_of
from sfumato_apps.serve.wire.replies import reply as send
from sfumato_apps.serve.wire.requests import Diffusing, Writing
from sfumato_apps.serve.wire.shapes import Json, Shape, usage_of
from sfumato_apps.serve.wire.streams import DONE, EventStream, comment, line, until_gone

_LOOKS: dict[Diffusing, Look] = {
    False: Look.COMMITTED,
    True: Look.DRAFTS,
    "events": Look.STEPS,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Reply:
    """How the texts of a request go out.

    Attributes:
        run: writes them.
        shape: of the answer.
        look: what a stream shows.
        usage: whether a stream ends with what it took.
    """

    run: Run
    shape: Shape
    look: Look
    usage: bool = False
    _said: dict[int, str] = field(default_factory=dict)

    async def whole(self) -> Json:
        """The answer at once.

        Raises:
            SfumatoError: why there is none.
        """
        found: dict[int, Outcome] = {}
        async for news in self.run.updates():
            found |= {i: one.outcome for i, one in news.items() if one.outcome is not None}
        choices = await self.run.chosen(found)
        return self.shape.answer(self._choices(choices), _usage(choices))

    async def stream(self) -> AsyncIterator[bytes]:
        """The events of a stream; an error is the last but one of them."""
        found: dict[int, Outcome] = {}
        try:
            async for news in self.run.updates():
                if not news:
                    yield self._waiting()
                for index, one in news.items():
                    yield b"".join(self._shown(index, one))
                    found |= {} if one.outcome is None else {index: one.outcome}
            choices = await self.run.chosen(found)
        except SfumatoError as error:
            name = "error" if self.look is Look.STEPS else None
            yield line(refusal_of(error).record(), event=name) + DONE
            return
        yield b"".join(self._ends(choices))

    def _waiting(self) -> bytes:
        position = self.run.position
        return comment(f"queued {position}" if position else "working")

    def _shown(self, index: int, news: Update) -> Iterator[bytes]:
        """What news of a row look like; nothing if its rows are not the choices."""
        if not self.run.asked.live:
            return
        match self.look:
            case Look.STEPS:
                for record in _lines(news):
                    yield line({"index": index, **record}, event="denoise")
            case Look.DRAFTS if news.text is not None and news.outcome is None:
                yield line(self.shape.snapshot(index, news.text, news.progress or 0.0))
            case Look.COMMITTED:
                text = news.text if news.outcome is None else news.outcome.text
                yield self._more(index, text or "")

    def _more(self, index: int, text: str) -> bytes:
        """What a text has beyond what was said of it; nothing if that is nothing."""
        old = self._said.get(index, "")
        if len(text) <= len(old) or not text.startswith(old):
            return b""
        first = index not in self._said
        self._said[index] = text
        return line(self.shape.part(index, text[len(old) :], first=first))

    def _ends(self, choices: Sequence[Choice]) -> Iterator[bytes]:
        """The end of each choice and of the stream."""
        if self.look is Look.STEPS:
            for index, (outcome, _) in enumerate([] if self.run.asked.live else choices):
                for record in _replayed(outcome):
                    yield line({"index": index, **record}, event="denoise")
            done = {"choices": self._choices(choices), "usage": _usage(choices)}
            yield line(done, event="done")
            yield DONE
            return
        for index, (outcome, more) in enumerate(choices):
            if self.look is Look.DRAFTS:
                yield line(self.shape.snapshot(index, outcome.text, 1.0))
            else:
                yield self._more(index, outcome.text)
            yield line(self.shape.close(index, outcome, more))
        if self.usage:
            yield line(self.shape.totals(_usage(choices)))
        yield DONE

    def _choices(self, choices: Sequence[Choice]) -> list[Json]:
        return [self.shape.choice(index, *one) for index, one in enumerate(choices)]


def _usage(choices: Sequence[Choice]) -> Json:
    return usage_of([outcome for outcome, _ in choices])


async def respond(
    service: Service,
    asked: Writing,
    compose: Callable[[], Asked],
    request: Request,
    *,
    shape: Shape,
    length: int | None,
) -> Response:
    """Answers a request that writes.

    Args:
        service: writes.
        asked: the fields of the request.
        compose: makes its rows, on the engine's thread.
        request: whose client may go away.
        shape: of the answer.
        length: tokens that it asks for, as far as it says.

    Raises:
        SfumatoError: before anything is sent, whatever is wrong with it.
    """
    service.limits.check("length", length)
    look = _LOOKS[asked.diffusing] if asked.stream else Look.NOTHING
    run = await service.begin(asked, compose, look=look)
    usage = asked.stream_options is not None and asked.stream_options.include_usage
    reply = Reply(run=run, shape=shape, look=look, usage=usage)
    if asked.stream:
        return EventStream(reply.stream(), close=run.close)
    return await _unless_gone(reply, request)


async def _unless_gone(reply: Reply, request: Request) -> Response:
    """The answer; nothing is written for a client that has gone."""
    answer = asyncio.create_task(reply.whole())
    gone = asyncio.create_task(until_gone(request.receive))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            return Response(status_code=499)
        return send(answer.result())
    finally:
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)
        reply.run.close()


def _lines(news: Update) -> Iterator[Record]:
    """The lines of a trace that news are."""
    if news.header is not None:
        yield news.header
    if news.event is not None:
        yield news.event.to_record()
    if news.outcome is not None:
        yield ending(news.outcome.head + news.outcome.text, news.outcome.passes)


def _replayed(outcome: Outcome) -> Iterator[Record]:
    """The whole trace of a choice that was made at the end; nothing if it was not kept."""
    if outcome.sample is None:
        return
    trace = outcome.sample.trace
    yield header(trace.seed, trace.mask, trace.slots)
    for event in trace.events:
        yield event.to_record()
    yield ending(trace.text, trace.passes)
