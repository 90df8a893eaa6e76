"""Two processes that train together, one of which is killed: the other says so, and it goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.faults.victims import digests, journal
from tests.house.source import ROOT

from sfumato.training.keeping.checkpoints import checkpoints, last_checkpoint

SIZES = "--vocabulary 300 --width 16 --layers 1 --heads 2 --max-length 24 --valid-fraction 0"


def start(out: Path, data: Path, *more: str) -> list[subprocess.Popen[str]]:
    """Both processes, as `torchrun` starts them, but without its agent, which would kill."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ["--data", str(data), "--out", str(out), *SIZES.split(), *more]
    options += ["--steps", "60", "--batch", "4", "--evaluate-every", "5"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    found = []
    for rank in range(2):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": paths}
        command = [sys.executable, "-m", "sfumato_apps.cli", "train", *options]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        found.append(subprocess.Popen(command, env={**os.environ, **own}, **pipes))
    return found


def wait(processes: list[subprocess.Popen[str]], seconds: float) -> list[tuple[int, str]]:
    """Exit codes, and what was said last."""
    found = []
    for one in processes:
        try:
            _, said = one.communicate(timeout=seconds)
        finally:
            one.kill()
        found.append((one.returncode, said[-2000:]))
    return found


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_process_that_is_killed_ends_the_other_and_the_run_goes_on(tmp_path: Path) -> None:
    """The other exits 5 within a minute, by no time-out; what is resumed ends as if unkilled."""
    data, out = tmp_path / "a.txt", tmp_path / "run"
    data.write_text("\n".join(f"A {a} {b} is here." for a in "abcdefgh" for b in "uvwxyz"))
    first, second = start(out, data)
    until = time.monotonic() + 200
    while not checkpoints(out) and first.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    second.send_signal(signal.SIGKILL)
    (code, said), (killed, _) = wait([first, second], 60)
    assert killed == -signal.SIGKILL
    assert code == 5, said
    assert "another process of this run is gone" in said
    assert "Traceback" not in said
    last = last_checkpoint(out)
    assert last is not None

    for processes in (start(out, data, "--resume"), start(tmp_path / "whole", data)):
        ended = wait(processes, 200)
        assert [code for code, _ in ended] == [0, 0], ended
    assert digests(out) == digests(tmp_path / "whole")
    assert journal(out) == journal(tmp_path / "whole")
