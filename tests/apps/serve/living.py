"""A server that lives in a thread, with a tiny model, and clients for it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from sfumato.models.checkpoints import Checkpoint
from sfumato.models.scratch import new_encoder
from sfumato.noise.masked import MaskedProcess
from sfumato.text.vocabulary import learn_vocabulary
from sfumato_apps.serve.app import OPEN, Places, application
from sfumato_apps.serve.engine.engine import Engine
from sfumato_apps.serve.launch import SETTINGS, listening
from sfumato_apps.serve.limits import Limits
from sfumato_apps.serve.security import Rules, names_of
from sfumato_apps.serve.service import Service

TEXTS = ["the cat sat on the mat and the dog ran to the cat. Кот спит. {x}"] * 4
ROOM = 96
HEADERS = {"Content-Type": "application/json"}


def tiny() -> Checkpoint:
    """A network that knows nothing, and writes it fast."""
    words = learn_vocabulary(TEXTS, size=360)
    return Checkpoint(
        denoiser=new_encoder(words, width=16, layers=1, heads=2, max_length=ROOM).eval(),
        vocabulary=words,
        process=MaskedProcess(mask=words.mask),
        metadata={"lengths": [12, 16, 20], "answers": [8, 10, 12]},
    )


@dataclass(frozen=True, kw_only=True)
class Live:
    """A server that answers.

    Attributes:
        url: where.
        service: what is behind it.
        server: what listens.
    """

    url: str
    service: Service
    server: uvicorn.Server

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **more)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.client() as client:
            return client.post(path, content=content, headers={**HEADERS, **headers})

    def get(self, path: str, **headers: str) -> httpx.Response:
        with self.client() as client:
            return client.get(path, headers=headers)

    def events(self, path: str, body: dict[str, Any]) -> list[tuple[str, Any]]:
        """The events of a stream as (name, data), [DONE] included."""
        with self.client() as client:
            options = {"content": json.dumps({**body, "stream": True}), "headers": HEADERS}
            with client.stream("POST", path, **options) as answer:
                assert answer.status_code == 200, answer.read()
                assert answer.headers["content-type"].startswith("text/event-stream")
                return events_of("".join(answer.iter_text()))


def events_of(text: str) -> list[tuple[str, Any]]:
    """The events in what a stream has sent, as (name, data)."""
    found = []
    for block in filter(None, text.split("\n\n")):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        if "data" in lines:
            data = lines["data"]
            found.append((lines.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


@contextmanager
def serving(
    model: Checkpoint,
    folder: Path,
    *,
    token: str | None = None,
    limits: Limits | None = None,
    batch: int = 16,
    queue: int = 32,
    runs: Path | None = None,
    static: Path | None = None,
    seconds: float = 10.0,
) -> Iterator[Live]:
    """A live server on a port of its own."""
    limits = limits or Limits()
    engine = Engine(model, batch=batch, queue=queue)
    service = Service(engine=engine, model=model, name="tiny", limits=limits)
    rules = Rules(
        token=token,
        hosts=names_of("127.0.0.1", ["studio.example"]),
        any_address=False,
        open_paths=frozenset({OPEN}),
        body=limits.body,
        seconds=seconds,
    )
    app = application(service, rules, Places(data=folder / "data", runs=runs, static=static))
    bound = listening("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, **SETTINGS))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < until
            time.sleep(0.01)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        yield Live(url=url, service=service, server=server)
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()
