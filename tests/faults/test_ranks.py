"""Two processes that train together, one of which fails: the other says so, and it goes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.faults.victims import digests, journal
from tests.house.source import ROOT

from sfumato.training.keeping.checkpoints import checkpoints, last_checkpoint

SIZES = "--vocabulary 300 --width 16 --layers 1 --heads 2 --max-length 24 --valid-fraction 0"


def start(
    out: Path, data: Path, *more: str, module: str = "sfumato_apps.cli"
) -> list[subprocess.Popen[str]]:
    """Both processes, as `torchrun` starts them, but without its agent, which would kill."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    options = ["--data", str(data), "--out", str(out), *SIZES.split(), "--evaluate-every", "5"]
    options += more
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    found = []
    for rank in range(2):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": paths}
        command = [sys.executable, "-m", module, "train", *options]
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
    data, out = texts(tmp_path), tmp_path / "run"
    steps = ("--steps", "60", "--batch", "4")
    first, second = start(out, data, *steps)
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

    for folder, more in ((out, ["--resume"]), (tmp_path / "whole", [])):
        ended = wait(start(folder, data, *steps, *more), 200)
        assert [code for code, _ in ended] == [0, 0], ended
    assert digests(out) == digests(tmp_path / "whole")
    assert journal(out) == journal(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_process_that_lacks_memory_ends_both_and_smaller_pieces_go_on(tmp_path: Path) -> None:
    """As the error says: half the batch and twice the accumulation end in the same weights."""
    data, out = texts(tmp_path), tmp_path / "run"
    steps = ("--steps", "12")
    full, cut = ("--batch", "4"), ("--batch", "2", "--accumulation", "2")
    other, short = wait(start(out, data, *steps, *full, module="tests.faults.short"), 200)
    assert (short[0], other[0]) == (5, 5)
    assert "out of memory with 4 rows at once in one of 2 processes" in short[1]
    assert "--resume, half the --batch and twice the --accumulation" in short[1]
    assert "another process of this run is gone" in other[1]
    for folder, more in ((out, ["--resume"]), (tmp_path / "whole", [])):
        ended = wait(start(folder, data, *steps, *cut, *more, module="tests.faults.short"), 200)
        assert [code for code, _ in ended] == [0, 0], ended
    mine, whole = (
        safetensors.torch.load_file(folder / "model.safetensors")
        for folder in (out, tmp_path / "whole")
    )
    torch.testing.assert_close(mine, whole, rtol=1e-5, atol=5e-6)


def texts(folder: Path) -> Path:
    """Something to learn."""
    data = folder / "a.txt"
    data.write_text("\n".join(f"A {a} {b} is here." for a in "abcdefgh" for b in "uvwxyz"))
    return data
