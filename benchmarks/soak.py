"""A server under mixed load for minutes: its memory and its open files at three points in time.

    python benchmarks/soak.py --minutes 10 --warm-up 2 --clients 8

`sfumato serve`, a process of its own, gets completions, dialogues, infills, edits, middles and
scores, whole and in three kinds of streams, from clients of which some go away in the middle, and
requests that are wrong. What grows from the end of the warm-up to the end leaks.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from contest import machine, table
from serving import server

TEXT = "The Eagle is a cheap pub near the river. It serves English food."
SHORT = {"max_tokens": 24}
WORK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/completions", {"prompt": "The Eagle is", **SHORT, "n": 2}),
    ("/v1/completions", {"prompt": "Near the river,", **SHORT, "stop": ".", "logprobs": 0}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Where?"}], **SHORT}),
    ("/v1/infill", {"text": "The {4} is a {6} near {4}."}),
    ("/v1/edit", {"text": TEXT, "spans": [[13, 18], [45, 52]]}),
    ("/v1/edit", {"text": TEXT, "budget": 2}),
    ("/v1/fim/completions", {"prompt": "The Eagle is", "suffix": " pub.", **SHORT}),
)
OTHER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/score", {"texts": [TEXT, "The Eagle."], "draws": 4}),
    ("/v1/completions", {"prompt": "a", "max_tokens": -1}),
    ("/v1/completions", {"prompt": "pub " * 5000}),
    ("/v1/nothing", {}),
)
STREAMS: tuple[dict[str, Any], ...] = (
    {"stream": True},
    {"stream": True, "diffusing": True},
    {"stream": True, "diffusing": "events"},
)
_LEAVES = 0.2  # share of the streams that are left in the middle


class Load:
    """Requests by chance, and what came of them.

    Args:
        seed: of the chance.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.answers: Counter[str] = Counter()

    async def one(self, client: httpx.AsyncClient) -> None:
        """One request."""
        draw = self.draw
        if draw.random() < 1 / 8:
            path, body = draw.choice(OTHER)
            self.answers[str((await client.post(path, json=body)).status_code)] += 1
            return
        path, body = draw.choice(WORK)
        body = {**body, "seed": draw.randrange(2**20)}
        if draw.random() < 1 / 2:
            self.answers[str((await client.post(path, json=body)).status_code)] += 1
            return
        leaves = draw.random() < _LEAVES
        body |= draw.choice(STREAMS)
        async with client.stream("POST", path, json=body) as answer:
            async for line in answer.aiter_lines():
                if leaves and line.startswith("data: "):
                    self.answers["left"] += 1
                    return
                if '"error"' in line:
                    self.answers["error in a stream"] += 1
                    return
        self.answers[str(answer.status_code)] += 1

    async def until(self, url: str, end: float, clients: int) -> None:
        """So many clients at a time, until the clock says `end`."""
        limits = httpx.Limits(max_connections=clients)
        options = {"base_url": url, "timeout": 300, "trust_env": False, "limits": limits}

        async with httpx.AsyncClient(**options) as client:

            async def again() -> None:
                while time.monotonic() < end:
                    await self.one(client)

            await asyncio.gather(*(again() for _ in range(clients)))


def seen(process: int) -> tuple[float, int, int]:
    """MB of a process in memory, its open files and its threads."""
    folder = Path(f"/proc/{process}")
    lines = (folder / "status").read_text().split("\n")
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    files = len([*(folder / "fd").iterdir()])
    return int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"])


def main() -> None:
    """Prints what the server held at the start, after the warm-up, and at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="all together")
    parser.add_argument("--warm-up", type=float, default=2.0, help="minutes of them")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    load, rows = Load(given.seed), []
    with server(given.batch, 2 * given.clients) as (url, process):
        began = time.monotonic()
        for name, minutes in (("start", 0), ("warm", given.warm_up), ("end", given.minutes)):
            asyncio.run(load.until(url, began + 60 * minutes, given.clients))
            time.sleep(1)  # for connections to close
            memory, files, threads = seen(process)
            count = str(load.answers.total())
            rows.append([name, f"{minutes:g}", count, f"{memory:.1f}", str(files), str(threads)])
        metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    print(table(["when", "minutes", "requests", "memory, MB", "open files", "threads"], rows))
    print("\nanswers:", ", ".join(f"{name} {n}" for name, n in sorted(load.answers.items())))
    for line in metrics.split("\n"):
        if line.startswith(("sfumato_cancelled_total", "sfumato_failed_total", "sfumato_restarts")):
            print(line)
    print(f"{given.clients} clients, batches of {given.batch}, seed {given.seed}; {machine()}")


if __name__ == "__main__":
    main()
