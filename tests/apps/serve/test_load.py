"""Load on a small machine: every request gets an answer, and memory stays where it was."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.apps.serve.living import events_of, serving, tiny
from tests.apps.serve.programs import WAIT, program, value
from tests.apps.serve.test_readers import open_stream, read, until
from tests.apps.serve.test_refusals import WRITING

from sfumato.models.checkpoints import save

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CLIENTS = 64
STALLED = 50
REQUESTS = 2000
# Until oneDNN, below torch, has filled its cache of kernels by shape, which holds 1,024 of them.
WARM = 2000


def asked(url: str, count: int, clients: int, **more: Any) -> Counter[int]:
    """`count` requests by so many clients at a time, by status; a 429 says when to come back."""

    async def ask() -> Counter[int]:
        statuses: Counter[int] = Counter()
        numbers = iter(range(count))
        limits = httpx.Limits(max_connections=clients)
        options = {"base_url": url, "timeout": 500, "trust_env": False, "limits": limits}
        async with httpx.AsyncClient(**options) as client:

            async def one() -> None:
                for seed in numbers:
                    body = {"prompt": "the cat", "max_tokens": 8, "steps": 4, "seed": seed, **more}
                    answer = await client.post(WRITING, json=body)
                    statuses[answer.status_code] += 1
                    if answer.status_code == 429:
                        assert int(answer.headers["retry-after"]) >= 1

            await asyncio.gather(*(one() for _ in range(clients)))
        return statuses

    return asyncio.run(ask())


def test_64_clients_get_an_answer_or_are_told_to_come_back(tmp_path: Path) -> None:
    model = tiny()
    model.denoiser.register_forward_pre_hook(lambda *_: time.sleep(0.01))
    with serving(model, tmp_path, batch=4, queue=32) as live:
        statuses = asked(live.url, 4 * CLIENTS, CLIENTS)
        assert live.service.engine.meters.failed == 0
        print(json.dumps(statuses))
    assert set(statuses) == {200, 429}
    assert statuses.total() == 4 * CLIENTS


def resident(url: str) -> float:
    """Bytes of the server in memory, as it says itself."""
    return value(url, "process_resident_memory_bytes")


def test_2000_requests_leave_memory_where_it_was(tmp_path: Path) -> None:
    """Of the program that serves the shipped model."""
    with program("--data", str(tmp_path / "data")) as (_, url):
        asked(url, WARM, 8)
        before = resident(url)
        statuses = asked(url, REQUESTS, 8)
        after = resident(url)
    print(before, after)
    assert statuses == {200: REQUESTS}
    assert after < 1.05 * before


def test_50_readers_that_stall_leave_memory_flat(tmp_path: Path) -> None:
    """All of their texts are written; what they have not read is one update a text."""
    save(tiny(), tmp_path / "model")
    places = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "data")]
    with program(*places, "--queue", str(STALLED), "--batch", "64") as (_, url):
        long = {"n": 16, "max_tokens": 64, "steps": 64, "block": 0}
        assert asked(url, STALLED, STALLED, **long) == {200: STALLED}  # by who reads
        before, written = resident(url), value(url, "sfumato_tokens_total")
        looks = [{**long, "stream": True, "diffusing": mode} for mode in (True, "events")]
        stalled = [open_stream(url, **looks[i % 2], seed=i) for i in range(STALLED)]
        until(lambda: value(url, "sfumato_requests_total") == 2 * STALLED, 300)
        until(lambda: value(url, "sfumato_queue") + value(url, "sfumato_running") == 0, 300)
        after = resident(url)
        assert value(url, "sfumato_tokens_total") == 2 * written
        assert value(url, "sfumato_cancelled_total") == 0
        for connection in stalled[-2:]:
            assert len(events_of(read(connection))) < 16 * 64  # the others took each other's place
        for connection in stalled:
            connection.close()
        assert httpx.get(f"{url}/readyz", trust_env=False, timeout=WAIT).status_code == 200
    print(before, after)
    assert after < 1.05 * before
