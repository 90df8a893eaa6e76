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
from pathlib import Path
from typing import Any

import pytest
from tests.apps.serve.living import Live, serving, tiny
from tests.apps.serve.test_refusals import WRITING, check

from sfumato_apps.serve import launch

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


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def open_stream(live: Live, **more: Any) -> socket.socket:
    """A request whose answer nobody has read."""
    host, port = live.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=WAIT)
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
        connection = open_stream(live, **stream)
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


def test_a_reader_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    """Its text is written to the end meanwhile; what it then reads leads to the same text."""
    with serving(tiny(), tmp_path) as live:
        meters = live.service.engine.meters
        with open_stream(live, stream=True, diffusing="events", n=2) as stalled:
            until(lambda: meters.tokens > 0 and live.service.engine.running == 0)
            assert live.post(WRITING, {"prompt": "a", "max_tokens": 2}).status_code == 200
            rest = b""
            while b"[DONE]" not in rest:
                rest += stalled.recv(65536)
        assert b"event: done" in rest
        assert meters.cancelled == 0


def test_a_full_queue_is_429_and_those_in_it_are_told_their_place(tmp_path: Path) -> None:
    with paced(tmp_path, batch=1, queue=2) as (pace, live):
        first = open_stream(live, stream=True)
        until(lambda: pace.begun == 1)
        pace.go(1)  # calls that make requests ready run between steps
        waiting = []
        for count in (1, 2):
            waiting.append(open_stream(live, stream=True, seed=count))
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
    monkeypatch.setattr(launch, "_DRAIN", 0.2)
    asked: list[dict[str, Any]] = [
        {"stream": True},
        {"stream": True, "diffusing": True},
        {"stream": True, "diffusing": "events"},
        {"stream": True, "seed": 9},
        {},
    ]
    with paced(tmp_path, batch=3) as (pace, live):
        connections = []
        for count, more in enumerate(asked, 1):
            connections.append(open_stream(live, **more))
            until(lambda n=count: live.service.engine.meters.requests >= n)
            pace.go(1)
        live.server.should_exit = True
        until(lambda: not live.service.engine.alive)
        pace.go()
        answers = [b"".join(iter(lambda c=one: c.recv(65536), b"")).decode() for one in connections]
        for connection, text, more in zip(connections, answers, asked, strict=True):
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
