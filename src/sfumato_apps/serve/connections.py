"""Connections of clients that are slow, or do nothing: how long one waits, how much is kept."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sfumato.errors import ResourceError
from sfumato_apps.serve.app import END
from sfumato_apps.serve.wire.errors import refusal

DRAIN = 10  # seconds that answers may go on when the server stops
_HEAD_WITHIN = 10.0  # seconds
_READ_WITHIN = 60.0  # seconds
_REST_WITHIN = 2.0  # seconds
_UNREAD = 2**16  # bytes, for each reader, that the kernel is asked to keep; it keeps twice as many


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits ten seconds for the head of a request, and no longer.

    So long it lets answers go on, too, when the server stops; then they end with an error. A client
    that reads next to nothing of them for a minute is let go, and its text stops.
    """

    _waits: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401
        """A client is there."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Something came: the rest of a head must follow, or the head is there."""
        if self._refused:
            return
        super().data_received(data)
        idle = self.conn.their_state is h11.IDLE
        if idle and self._waits is None and self.cycle is not None:
            self._wait()
        elif not idle and self._waits is not None:
            self._waits.cancel()
            self._waits = None

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP, and drops what follows of it.

        Closed at once, the kernel would answer the rest with a reset, by which clients lose the
        answer.
        """
        wrong = refusal(400, msg)
        body = wrong.body()
        about = {"content-type": "application/json", "content-length": f"{len(body)}"}
        headers = [*about.items(), ("connection", "close")]
        response = h11.Response(status_code=wrong.status, headers=headers, reason=b"Bad Request")
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(_REST_WITHIN, self.transport.close)

    def shutdown(self) -> None:
        """The server stops."""
        super().shutdown()
        if not self.transport.is_closing():
            self.loop.call_later(DRAIN, self.app_state[END])

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        for timer in (self._waits, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """What was sent last does not fit into what the kernel keeps."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All of it was taken."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def _watch(self, left: int) -> None:
        self._unread = self.loop.call_later(_READ_WITHIN, self._let_go, left)

    def _let_go(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._watch(left)
        else:
            self.transport.abort()

    def _wait(self) -> None:
        self._waits = self.loop.call_later(_HEAD_WITHIN, self._hang_up)

    def _hang_up(self) -> None:
        self._waits = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket at the address.

    The kernel would keep megabytes for a reader that does not read; one that is slow would look at
    steps of long ago. With little room there, the latest step replaces those that were not read.

    Raises:
        ResourceError: another program has it, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD)  # accepted sockets inherit it
    try:
        bound.bind((host.strip("[]"), port))
    except OSError as error:
        bound.close()
        raise ResourceError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port"
        ) from None
    bound.set_inheritable(True)
    return bound
