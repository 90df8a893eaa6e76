"""Readers that go away, that are slow, and that are too many."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any

import pytest
from tests.apps.serve.living import Live, events_of, serving, tiny
from tests.apps.serve.test_refusals import WRITING, check

from sfumato_apps.serve import connections

WAIT = 20.0
ENDING = "server_shutting_down"


class Pace:
    """Lets a model make a step when it is told to."""

    def __init__(self) -> None:
        self.model = tiny()
        self.steps = threading.Semaphore(0)
        self.begun = 0
        self.model.denoiser.register_forward_pre_hook(self._wait)

    def _wait(self, *_: Any) -> None:
        self.begun += 1
        assert self.steps.acquire(timeout=WAIT)

    def go(self, steps: int = 100_000) -> None:
        self.steps.release(steps)


@contextmanager
def paced(folder: Path, **options: int) -> Iterator[tuple[Pace, Live]]:
    pace = Pace()
    with serving(pace.model, folder, **options) as live:
        try:
            yield pace, live
        finally:
            pace.go()


def until(true: Callable[[], bool], seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def open_stream(url: str, **more: Any) -> socket.socket:
    """A request whose answer nobody has read."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the least that there is
    # Parts of loopback's size would not fit into it: after a while the kernel would wait minutes.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
    connection.settimeout(WAIT)
    connection.connect((host, int(port)))
    body = json.dumps({"prompt": "the cat", "max_tokens": 20, "steps": 20, "block": 0, **more})
    head = f"POST {WRITING} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


@pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": True, "diffusing": "events"}])
def test_a_client_that_goes_away_stops_its_text_within_a_step(
    tmp_path: Path, stream: dict[str, Any]
) -> None:
    with paced(tmp_path) as (pace, live):
        meters = live.service.engine.meters
        connection = open_stream(live.url, **stream)
        pace.go(3)
        until(lambda: pace.begun == 4)
        connection.close()
        until(lambda: meters.cancelled == 1)
        pace.go()
        until(lambda: live.service.engine.running == 0)
        until(lambda: meters.steps == 4)
        assert pace.begun == 4
        answer = live.post(WRITING, {"prompt": "a", "max_tokens": 2})
        assert answer.status_code == 200
        assert "sfumato_cancelled_total 1.0" in live.get("/metrics").text


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps the least for a reader that it can."""
    monkeypatch.setattr(connections, "_UNREAD", 1)


def read(connection: socket.socket, pause: float = 0.0) -> str:
    """The rest of an answer, some bytes at a time."""
    answer = HTTPResponse(connection)
    answer.begin()
    found = b""
    while part := answer.read(300):
        found += part
        time.sleep(pause)
    if answer.length:
        raise IncompleteRead(found, answer.length)
    return found.decode()


def ends(events: list[tuple[str, Any]]) -> tuple[dict[int, str], dict[tuple[int, int], int]]:
    """What a stream leads to: the text of every choice, and the id at each of its positions."""
    found = [data for _, data in events if data != "[DONE]"]
    choices = [one for data in found for one in data.get("choices", ())]
    ids = {(data["index"], one[0]): one[1] for data in found for one in data.get("set", ())}
    return {one["index"]: one["text"] for one in choices if one["text"]}, ids


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("mode", [True, "events"])
def test_a_reader_that_does_not_read_holds_nobody_up(tmp_path: Path, mode: bool | str) -> None:
    """Its text is written to the end meanwhile; what it then reads leads to the same text."""
    asked = {"n": 8, "max_tokens": 60, "steps": 60, "block": 0, "diffusing": mode}
    with serving(tiny(), tmp_path) as live:
        meters = live.service.engine.meters
        at_once = live.events(WRITING, {"prompt": "the cat", **asked})
        begun = meters.steps
        with open_stream(live.url, stream=True, **asked) as stalled:
            until(lambda: meters.steps == 2 * begun and live.service.engine.running == 0, 60)
            assert live.post(WRITING, {"prompt": "a", "max_tokens": 2}).status_code == 200
            late = events_of(read(stalled))
    assert meters.cancelled == 0
    assert len(late) < len(at_once) / 2
    assert len(ends(late)[0]) == 8
    assert ends(late) == ends(at_once)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("more", [{"logprobs": 1}, {"stream": True, "diffusing": True}])
def test_a_reader_that_reads_nothing_for_long_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """One that reads slowly is not."""
    monkeypatch.setattr(connections, "_READ_WITHIN", 1.5)
    long = {"n": 8, "max_tokens": 60, "steps": 60, **more}
    with serving(tiny(), tmp_path) as live:
        with open_stream(live.url, **long) as stalled:
            until(lambda: len(live.server.server_state.connections) == 1)
            until(lambda: not live.server.server_state.connections, 60)
            with pytest.raises((IncompleteRead, ConnectionError)):
                read(stalled)
        start = time.monotonic()
        with open_stream(live.url, **long) as slow:
            text = read(slow, 0.05)
    assert time.monotonic() - start > 2.5
    assert text.endswith(("[DONE]\n\n", "}"))


def test_a_full_queue_is_429_and_those_in_it_are_told_their_place(tmp_path: Path) -> None:
    with paced(tmp_path, batch=1, queue=2) as (pace, live):
        first = open_stream(live.url, stream=True)
        until(lambda: pace.begun == 1)
        pace.go(1)  # calls that make requests ready run between steps
        waiting = []
        for count in (1, 2):
            waiting.append(open_stream(live.url, stream=True, seed=count))
            until(lambda n=count: live.service.engine.waiting >= n)
            pace.go(1)
        until(lambda: "queued 1" in waiting[0].recv(65536, socket.MSG_PEEK).decode())
        answer = live.post(WRITING, {"prompt": "a"})
        assert "2 requests are waiting" in check(answer, 429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        check(live.post("/v1/score", {"text": "a"}), 429, "queue_full")
        assert "sfumato_refused_total 2.0" in live.get("/metrics").text
        pace.go()
        for connection in (first, *waiting):
            text = b""
            while b"[DONE]" not in text:
                text += connection.recv(65536)
            connection.close()
        assert live.post(WRITING, {"prompt": "a", "max_tokens": 2}).status_code == 200


def test_who_is_not_done_when_the_server_ends_gets_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stream that is open, the one that waits and the answer that is none: no silence."""
    monkeypatch.setattr(connections, "DRAIN", 0.2)
    asked: list[dict[str, Any]] = [
        {"stream": True},
        {"stream": True, "diffusing": True},
        {"stream": True, "diffusing": "events"},
        {"stream": True, "seed": 9},
        {},
    ]
    with paced(tmp_path, batch=3) as (pace, live):
        opened = []
        for count, more in enumerate(asked, 1):
            opened.append(open_stream(live.url, **more))
            until(lambda n=count: live.service.engine.meters.requests >= n)
            pace.go(1)
        live.server.should_exit = True
        until(lambda: not live.service.engine.alive)
        pace.go()
        answers = [b"".join(iter(lambda c=one: c.recv(65536), b"")).decode() for one in opened]
        for connection, text, more in zip(opened, answers, asked, strict=True):
            connection.close()
            if not more:
                assert text.startswith("HTTP/1.1 503")
                assert json.loads(text.partition("\r\n\r\n")[2])["error"]["code"] == ENDING
                continue
            *_, (name, data), done = re.findall(r"(?:event: (\w+)\n)?data: (.*)\n", text)
            assert done == ("", "[DONE]")
            assert name == ("error" if more.get("diffusing") == "events" else "")
            error = json.loads(data)["error"]
            assert (error["code"], error["type"]) == (ENDING, "server_error")
            assert "shutting down" in error["message"]


def test_requests_side_by_side_share_batches_and_get_their_own_texts(tmp_path: Path) -> None:
    """Fewer steps than one after the other, and the same texts as alone."""
    bodies = [
        {"prompt": "the cat", "max_tokens": 8, "seed": seed, "n": 2} for seed in range(0, 12, 2)
    ]
    with serving(tiny(), tmp_path) as live:
        meters = live.service.engine.meters
        alone = [live.post(WRITING, body).json() for body in bodies]
        before, meters.steps = meters.steps, 0
        with ThreadPoolExecutor(len(bodies)) as clients:
            found = [
                one.json() for one in clients.map(lambda body: live.post(WRITING, body), bodies)
            ]
        for one, other in zip(alone, found, strict=True):
            assert [c["text"] for c in one["choices"]] == [c["text"] for c in other["choices"]]
        assert meters.steps < before
