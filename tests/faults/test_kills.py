"""SIGKILL at any time: the last checkpoint is sound, and the run ends as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.source import ROOT


def victims(task: str, folder: Path, kills: int) -> dict[str, object]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.victims", task, str(folder), str(kills)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_hundred_killed_writers_leave_sound_checkpoints(tmp_path: Path) -> None:
    """`victims` checks after each kill that what is there is whole and no older than announced."""
    seen = victims("checkpoints", tmp_path, 100)
    assert seen["steps"] > 10
    assert seen["drafts_left"] > 10, "most kills should hit a write"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_training_that_is_killed_ten_times_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    """Weights, average, states of the optimiser and random numbers are the same, bit for bit."""
    seen = victims("training", tmp_path, 10)
    assert seen["same"], seen["steps"]
    assert seen["kills"] >= 8, seen["steps"]
    killed, whole = seen["journals"]
    assert [entry for entry in killed if entry[0] != "quality"] == [
        entry for entry in whole if entry[0] != "quality"
    ]
