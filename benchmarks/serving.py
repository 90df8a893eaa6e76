"""The server's throughput as a share of the bulk generator's, on the same prompts and seeds.

    python benchmarks/serving.py --texts 256 --clients 16 --repeats 3

`write_each` writes the texts in this process; then `sfumato serve`, a process of its own, writes
them for so many clients at a time. The two take turns, and their texts are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from contest import machine, table

import sfumato
from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.tasks import write_each
from sfumato.sampling.tasks.writing import BLOCK
from sfumato_apps.policies import policy_of

HEADS = ("The Eagle is", "The Golden Curry", "Near the river,", "Вчера", "Cotto serves")
LENGTH, WIDE = 24, 32


def prompts(count: int) -> list[str]:
    """Beginnings of texts."""
    return [HEADS[number % len(HEADS)] for number in range(count)]


def in_bulk(model: Checkpoint, asked: list[str], seed: int, batch: int) -> tuple[list[str], float]:
    """The texts of `write_each`, and the seconds that they took."""
    policy = policy_of(model, block=BLOCK)
    start = time.perf_counter()
    found = write_each(model, asked, length=LENGTH, policy=policy, seeds=seed, batch_size=batch)
    texts = [one[0].text for one in found if isinstance(one, list)]
    return texts, time.perf_counter() - start


@contextmanager
def server(batch: int, queue: int) -> Iterator[tuple[str, int]]:
    """`sfumato serve` with the shipped model: its address and the number of its process."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", "0", "--batch", str(batch), "--queue", str(queue), "--data", folder]
        command = [sys.executable, "-m", "sfumato_apps.cli", "serve", *options]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert running.stderr is not None
        found = re.search(r"http://\S+", running.stderr.readline())
        if found is None:
            raise SystemExit(running.stderr.read())
        try:
            for _ in range(600):
                try:
                    httpx.get(f"{found[0]}/healthz", trust_env=False)
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield found[0], running.pid
        finally:
            running.terminate()
            running.wait()


def served(url: str, asked: list[str], seed: int, clients: int) -> tuple[list[str], float]:
    """The texts that clients get, and the seconds from the first question to the last answer."""
    texts = [""] * len(asked)

    async def ask() -> None:
        numbers = iter(range(len(asked)))
        async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:

            async def one() -> None:
                for i in numbers:
                    body = {"prompt": asked[i], "max_tokens": LENGTH, "seed": seed + i}
                    answer = await client.post("/v1/completions", json=body)
                    answer.raise_for_status()
                    texts[i] = asked[i] + answer.json()["choices"][0]["text"]

            await asyncio.gather(*(one() for _ in range(clients)))

    start = time.perf_counter()
    asyncio.run(ask())
    return texts, time.perf_counter() - start


def main() -> None:
    """Prints a row for each repeat and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--clients", type=int, default=WIDE)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model, asked = sfumato.load(), prompts(given.texts)
    rows, ratios = [], []
    with server(given.batch, max(32, given.clients)) as (url, _):
        in_bulk(model, asked[: given.batch], given.seed, given.batch)
        served(url, asked[: given.batch], given.seed, given.clients)
        for repeat in range(given.repeats):
            bulk, alone = in_bulk(model, asked, given.seed, given.batch)
            texts, together = served(url, asked, given.seed, given.clients)
            same = sum(one == other for one, other in zip(bulk, texts, strict=True))
            ratios.append(alone / together)
            rate, pace = given.texts / alone, given.texts / together
            ratio = f"{ratios[-1]:.2f}"
            rows.append([str(repeat + 1), f"{rate:.1f}", f"{pace:.1f}", ratio, f"{same}"])
    print(table(["repeat", "bulk, texts/s", "served, texts/s", "ratio", "same texts"], rows))
    print(
        f"\nmedian ratio {statistics.median(ratios):.2f}; n = {given.texts} texts of at most "
        f"{LENGTH} tokens, seeds from {given.seed}, batches of {given.batch}, {given.clients} "
        f"clients; {machine()}"
    )


if __name__ == "__main__":
    main()
