"""Who may ask: tokens, hosts, origins, and readers and writers that take their time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.apps.serve.living import Live, serving, tiny
from tests.apps.serve.test_readers import until
from tests.apps.serve.test_refusals import WRITING, check

from sfumato.errors import DataError, UsageError
from sfumato_apps.serve import connections, launch
from sfumato_apps.serve.launch import ServePlan, name_of, token_of
from sfumato_apps.serve.limits import Limits
from sfumato_apps.serve.security import is_loopback

TOKEN = "correct horse"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tiny(), tmp_path_factory.mktemp("guarded"), token=TOKEN, seconds=0.5) as live:
        yield live


def operations(live: Live) -> list[tuple[str, str]]:
    schema = live.get("/openapi.json", Authorization=f"Bearer {TOKEN}").json()
    return [
        (method.upper(), path.replace("{name}", "tiny"))
        for path, methods in schema["paths"].items()
        for method in methods
    ]


def test_every_route_needs_the_token_but_health(guarded: Live) -> None:
    found = operations(guarded)
    assert len(found) >= 17
    with guarded.client() as client:
        for method, path in [*found, ("GET", "/openapi.json"), ("GET", "/nothing"), ("GET", "/")]:
            for given in (None, TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer wrong", "Bearer é"):
                headers = {"Content-Type": "application/json"}
                headers |= {} if given is None else {"Authorization": given}
                answer = client.request(method, path, headers=_encoded(headers), content=b"{}")
                if path == "/healthz":
                    assert answer.status_code == 200
                else:
                    check(answer, 401, "invalid_api_key")
                    assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/v1/models", Authorization=f"bearer {TOKEN}").status_code == 200


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:1234", True),
        ("[::1]:80", True),
        ("studio.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("10.0.0.1", False),
        ("[", False),
        ("", False),
    ],
)
def test_only_known_hosts_are_answered(live: Live, host: str, allowed: bool) -> None:
    """A name that an attacker rebinds to this address is none of ours."""
    answer = live.get("/v1/models", Host=host)
    if allowed:
        assert answer.status_code == 200
    else:
        check(answer, 403, "forbidden")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://localhost:1", "file://"]
)
def test_pages_of_other_origins_may_not_post(live: Live, origin: str) -> None:
    check(live.post(WRITING, {"prompt": "a"}, Origin=origin), 403, "forbidden")
    own = live.post(WRITING, {"prompt": "a", "max_tokens": 2}, Origin=live.url)
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_every_answer_carries_the_headers(guarded: Live) -> None:
    for path in ("/healthz", "/v1/models", "/nothing"):
        headers = guarded.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "set-cookie" not in headers
        assert "server" not in headers


def raw(live: Live) -> socket.socket:
    host, port = live.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_what_is_no_http_gets_an_answer_that_arrives(
    guarded: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although more of it comes when it is refused; it is not waited for long."""
    monkeypatch.setattr(connections, "_REST_WITHIN", 0.5)
    with raw(guarded) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: local host\r\nA B: c\r\n\r\n" + bytes(2**20))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b" 400 " in answer.split(b"\r\n")[0]
        error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
        assert error["message"] == "Invalid HTTP request received."
        until(lambda: not guarded.server.server_state.connections)


def test_a_body_that_does_not_come_is_not_waited_for(guarded: Live) -> None:
    with raw(guarded) as connection:
        head = (
            f"POST {WRITING} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        start = time.monotonic()
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert time.monotonic() - start < 10
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "request_timeout"


def test_a_head_that_does_not_end_is_not_waited_for(
    guarded: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor for a first request, nor for one that follows another."""
    monkeypatch.setattr(connections, "_HEAD_WITHIN", 0.3)
    for first in ("", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with raw(guarded) as connection:
            connection.sendall(first.encode())
            if first:
                assert b"200 OK" in connection.recv(65536)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHo")
            start = time.monotonic()
            rest = b"".join(iter(lambda: connection.recv(65536), b""))
            assert time.monotonic() - start < 4
            assert b"200 OK" not in rest
    with raw(guarded) as connection:  # a whole head in time is answered
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in b"".join(iter(lambda: connection.recv(65536), b""))


def plan(host: str = "127.0.0.1", token_file: Path | None = None) -> ServePlan:
    return ServePlan(
        model=None,
        host=host,
        port=0,
        allow_host=(),
        token_file=token_file,
        batch=1,
        queue=1,
        workers=1,
        data=Path("data"),
        runs=None,
        limits=Limits(),
    )


def test_an_address_that_others_reach_needs_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(launch.ENVIRONMENT, raising=False)
    assert token_of(plan()) is None
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org"):
        with pytest.raises(UsageError, match="reached by others"):
            token_of(plan(host))
    file = tmp_path / "token"
    file.write_text("  from a file\n")
    assert token_of(plan("0.0.0.0", file)) == "from a file"
    file.write_text("\n")
    with pytest.raises(DataError, match="empty"):
        token_of(plan("0.0.0.0", file))
    with pytest.raises(DataError, match="--token-file"):
        token_of(plan(token_file=tmp_path / "none"))
    monkeypatch.setenv(launch.ENVIRONMENT, "from outside")
    assert token_of(plan("0.0.0.0")) == "from outside"


def test_addresses_and_names() -> None:
    assert [is_loopback(one) for one in ("127.8.0.1", "::1", "8.8.8.8")] == [True, True, False]
    assert name_of("/a/b/модель 1") == "-------1"
    assert name_of("x" * 99) == "x" * 64


def test_nothing_that_was_said_is_logged(
    guarded: Live, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither text nor token, for requests that succeed, fail, or cannot be parsed."""
    secret = "unheard of words"
    bodies = [{"prompt": secret, "max_tokens": 4}, {"prompt": [secret]}, {"prompt": secret * 900}]
    for body in bodies:
        guarded.post(WRITING, body, Authorization=f"Bearer {TOKEN}")
    guarded.get(f"/v1/{secret}%0aforged", Authorization=f"Bearer {TOKEN}")
    shown = capfd.readouterr()
    said = shown.out + shown.err + caplog.text
    assert secret not in said
    assert TOKEN not in said
    assert "forged" not in said
