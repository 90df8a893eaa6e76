"""Who may ask, and how much they may send: checked before a body is parsed.

    request ─▶ host ─▶ origin ─▶ token ─▶ size, time ─▶ application
               403      403       401      413, 408

Every route needs the token but those that are named open: deny by default.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sfumato_apps.serve.wire.errors import Refusal, refusal

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "img-src 'self' blob: data:; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Who may ask.

    Attributes:
        token: that every route needs but the open ones; None where anyone on this machine may.
        hosts: names that the server answers to, beside those of this machine.
        any_address: it answers to addresses as well, because it listens on all of them.
        open_paths: need no token.
        body: bytes that a request may have.
        seconds: in which its body must have come.
    """

    token: str | None
    hosts: frozenset[str]
    any_address: bool
    open_paths: frozenset[str]
    body: int
    seconds: float = 10.0

    def opened(self, paths: Iterable[str]) -> Rules:
        """The same rules with more paths that need no token."""
        return replace(self, open_paths=self.open_paths | frozenset(paths))

    def refused(self, scope: Scope) -> Refusal | None:
        """What is wrong with a request, before its body is read."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._known(host):
            return refusal(403, "this server does not answer to the name in the Host header")
        origin = headers.get("origin")
        unsafe = scope["method"] not in _SAFE
        if unsafe and origin is not None and urlsplit(origin).netloc != host:
            return refusal(403, "a page of another origin may not ask this server")
        if scope["path"] not in self.open_paths and not self._knows(headers):
            return refusal(
                401,
                "expected the server's token, as Authorization: Bearer …",
                headers={"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal() or int(length) > self.body:
            return self.too_large()
        return None

    def too_large(self) -> Refusal:
        """What is said of a body that is."""
        return refusal(413, f"expected a body of at most {self.body} bytes")

    def _known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name in self.hosts or name in LOOPBACK:
            return True
        return self.any_address and _is_address(name or "")

    def _knows(self, headers: Headers) -> bool:
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return same and scheme.lower() == "bearer"


class Guard:
    """The rules around an application.

    Args:
        app: what is guarded.
        rules: who may ask.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        wrong = self._rules.refused(scope)
        body = b""
        if wrong is None and scope["method"] not in _SAFE:
            try:
                body = await asyncio.wait_for(_body(receive, self._rules.body), self._rules.seconds)
            except TimeoutError:
                wrong = refusal(408, "the body did not come in time")
            except OverflowError:
                wrong = self._rules.too_large()
        if wrong is not None:
            await refuse(wrong, send, close=True)
            return
        await self._app(scope, _replayed(body, receive), send)


async def refuse(wrong: Refusal, send: Send, *, close: bool = False) -> None:
    """Sends a refusal."""
    body = wrong.body()
    headers = {"Content-Type": "application/json", **(wrong.headers or {})}
    headers["Content-Length"] = str(len(body))
    if close:
        headers["Connection"] = "close"
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": wrong.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive, most: int) -> bytes:
    """All of a body.

    Raises:
        OverflowError: it has more bytes.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise OverflowError
        if not message.get("more_body", False):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; then whatever comes."""
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sent


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def names_of(host: str, more: Iterable[str]) -> frozenset[str]:
    """What a server that is bound to `host` answers to."""
    return frozenset({host.strip("[]").lower(), *(name.lower() for name in more)})
