"""A bare machine: no HOME, the C locale, strict permissions, folders with spaces and Cyrillic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.house.source import ROOT

from sfumato.models.checkpoints import load
from sfumato.training.keeping.checkpoints import check, checkpoints

SIZES = "--vocabulary 300 --width 16 --layers 1 --heads 2 --max-length 24 --batch 4"


def start(folder: Path, out: Path, steps: int, *more: str) -> subprocess.Popen[str]:
    """`sfumato train` with nothing in its environment but where the code is."""
    data = folder / "тексты мои.txt"
    data.write_text("\n".join(f"{a} любит {b}." for a in "АБВГДЕЖЗ" for b in ("чай", "сыр")))
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    bare = {"PATH": "/usr/bin:/bin", "PYTHONPATH": paths, "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    bare |= {"HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "sfumato_apps.cli", "train", "--data", str(data)]
    command += ["--out", str(out), "--steps", str(steps), *SIZES.split(), *more]
    return subprocess.Popen(
        command,
        env=bare,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        umask=0o077,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_bare_machine_trains_and_a_signal_saves(tmp_path: Path, number: int, code: int) -> None:
    """The signal comes after the first checkpoint; the model opens, data went to stderr only."""
    out = tmp_path / "мой run" / "1"
    running = start(tmp_path, out, 100_000, "--evaluate-every", "5")
    until = time.monotonic() + 100
    while not checkpoints(out) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    running.send_signal(number)
    data, said = running.communicate(timeout=60)
    assert running.returncode == code, said
    assert not data
    assert "go on with: sfumato train --preset" in said
    check(checkpoints(out)[0])
    assert load(out).metadata["steps"] == int(checkpoints(out)[0].name.split("-")[1])
    assert (out / "model.safetensors").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_disk_that_is_full_ends_a_training_with_one_line(tmp_path: Path) -> None:
    """Files may grow to 24 KiB: less than a model with its states, more than the settings."""
    running = subprocess.Popen(
        ["bash", "-c", 'ulimit -f 24; exec "$@"', "-", *start_arguments(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _, said = running.communicate(timeout=100)
    assert running.returncode == 5, said
    assert "Traceback" not in said
    assert said.strip().split("\n")[-1].startswith("sfumato: cannot ")


def start_arguments(folder: Path) -> list[str]:
    data = folder / "a.txt"
    data.write_text("\n".join(f"A {a} {b} is here." for a in "abcdefgh" for b in "uvw"))
    own = ["train", "--data", str(data), "--out", str(folder / "run"), "--steps", "4"]
    return [sys.executable, "-m", "sfumato_apps.cli", *own, *SIZES.split()]
