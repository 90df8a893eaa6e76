"""Load on a small machine: every request gets an answer, and memory stays where it was."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.apps.serve.living import Live, serving, tiny
from tests.apps.serve.test_readers import open_stream, until
from tests.apps.serve.test_refusals import WRITING

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CLIENTS = 64
STALLED = 50
REQUESTS = 2000
# Until oneDNN, below torch, has filled its cache of kernels by shape, which holds 1,024 of them.
WARM = 2000


def resident() -> int:
    """Bytes of this process, server and clients, in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def asked(live: Live, count: int, clients: int, **more: Any) -> Counter[int]:
    """`count` requests by so many clients at a time, by status; a 429 says when to come back."""

    async def ask() -> Counter[int]:
        statuses: Counter[int] = Counter()
        numbers = iter(range(count))
        limits = httpx.Limits(max_connections=clients)
        options = {"base_url": live.url, "timeout": 500, "trust_env": False, "limits": limits}
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
        statuses = asked(live, 4 * CLIENTS, CLIENTS)
        assert live.service.engine.meters.failed == 0
        print(json.dumps(statuses))
    assert set(statuses) == {200, 429}
    assert statuses.total() == 4 * CLIENTS


def test_2000_requests_leave_memory_where_it_was(tmp_path: Path) -> None:
    with serving(tiny(), tmp_path) as live:
        asked(live, WARM, 8)
        before = resident()
        statuses = asked(live, REQUESTS, 8)
        after = resident()
        print(before, after)
    assert statuses == {200: REQUESTS}
    assert after < 1.05 * before


def test_50_readers_that_stall_leave_memory_flat(tmp_path: Path) -> None:
    """All of their texts are written; what they have not read is one update a text."""
    with serving(tiny(), tmp_path, queue=2 * STALLED) as live:
        long = {"n": 8, "max_tokens": 64, "steps": 64, "block": 0}
        assert asked(live, 2 * STALLED, STALLED, **long) == {200: 2 * STALLED}  # by who reads
        before, engine = resident(), live.service.engine
        begun = engine.meters.steps
        events = {**long, "stream": True, "diffusing": "events"}
        stalled = [open_stream(live, **events, seed=8 * i) for i in range(STALLED)]
        until_done = time.monotonic() + 300
        while engine.waiting or engine.running or engine.meters.steps < begun + 64:
            assert time.monotonic() < until_done
            time.sleep(0.05)
        after = resident()
        print(before, after)
        for connection in stalled:
            connection.close()
        until(lambda: not engine.running)
        assert live.get("/readyz").status_code == 200
    assert after < 1.05 * before
