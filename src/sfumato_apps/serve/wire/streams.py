"""Server-sent events: lines for a reader that may be slow, or gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

DONE = b"data: [DONE]\n\n"


def line(data: Mapping[str, Any], *, event: str | None = None) -> bytes:
    """One event; its data are one line of JSON, without half characters."""
    name = "" if event is None else f"event: {event}\n"
    return f"{name}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def comment(text: str) -> bytes:
    """A line that clients skip."""
    return f": {text}\n\n".encode()


class EventStream(Response):
    """Sends events as they come, until they end or the client is gone.

    Args:
        events: what to send.
        close: called when it is over, whatever the end was.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], *, close: Callable[[], None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._close = events, close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        tasks = {asyncio.create_task(self._write(send)), asyncio.create_task(until_gone(receive))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._close()

    async def _write(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_gone(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
