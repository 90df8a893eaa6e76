"""`sfumato serve` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

WAIT = 110.0


@contextmanager
def program(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program and its address, once it answers."""
    command = [sys.executable, "-m", "sfumato_apps.cli", "serve", "--port", "0", *arguments]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert running.stderr is not None
    try:
        line = running.stderr.readline()
        found = re.fullmatch(r"sfumato serves (http://\S+)\n", line)
        assert found is not None, line + running.stderr.read()
        end = time.monotonic() + WAIT
        while True:
            try:
                httpx.get(f"{found[1]}/healthz", trust_env=False).raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < end
                time.sleep(0.1)
        yield running, found[1]
    finally:
        running.kill()
        running.wait(WAIT)
        running.stderr.close()


def value(url: str, name: str) -> float:
    """A metric, as whichever worker answers has it."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=WAIT).text
    return float(next(line.split()[-1] for line in text.split("\n") if line.startswith(name + " ")))
