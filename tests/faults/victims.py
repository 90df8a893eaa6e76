"""Processes that are killed; `test_kills.py` starts this. Everything is imported once, then forked.

python -m tests.faults.victims checkpoints|training FOLDER KILLS     prints what it saw as JSON
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import safetensors.torch
import torch

from sfumato.training.keeping.checkpoints import (
    check,
    checkpoints,
    last_checkpoint,
    step_of,
    write_checkpoint,
)
from sfumato.training.keeping.states import save_states

LAST, EVERY = 60, 4


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """A child that works and may write into a pipe; its number, and the pipe's other end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    code = 70
    try:
        work(writing)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def read_now(pipe: int) -> bytes:
    """What stands in the pipe, without waiting."""
    found = b""
    while select.select([pipe], [], [], 0)[0]:
        part = os.read(pipe, 4096)
        if not part:
            break
        found += part
    return found


def kill(child: int, pipe: int) -> bytes:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said = read_now(pipe)
    os.close(pipe)
    return said


def fill(step: int) -> Callable[[Path], None]:
    """A checkpoint of some 800 kB."""

    def write(folder: Path) -> None:
        numbers = torch.full((100_000,), float(step))
        safetensors.torch.save_file({"a": numbers}, str(folder / "model.safetensors"))
        safetensors.torch.save_file({"a": numbers[:9]}, str(folder / "random.safetensors"))
        save_states({"optimizer": {0: numbers}}, folder)
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))

    return write


def kill_checkpoint_writers(folder: Path, kills: int) -> dict[str, object]:
    """Kills a writer of checkpoints again and again; the last one must always be sound."""
    draw = random.Random(0)
    began = time.monotonic()
    write_checkpoint(folder, 1, fill(1), most=2)
    once = time.monotonic() - began
    seen, left = 1, 0
    for _ in range(kills):
        first = seen + 1

        def work(pipe: int, first: int = first) -> None:
            for step in range(first, first + 10_000):
                write_checkpoint(folder, step, fill(step), most=2)
                os.write(pipe, b"%d\n" % step)

        child, pipe = fork(work)
        time.sleep(draw.uniform(0.0, 5 * once))
        said = kill(child, pipe).split()
        announced = int(said[-1]) if said else seen
        found = checkpoints(folder)
        last = last_checkpoint(folder)
        assert last is not None
        assert step_of(last) >= announced, (last, announced)
        assert found[0] == last, "no checkpoint that is there is torn"
        for one in found:
            check(one)
        weights = safetensors.torch.load_file(str(last / "model.safetensors"))["a"]
        assert bool((weights == step_of(last)).all())
        left += any(path.name.startswith(".") for path in folder.iterdir())
        seen = step_of(last)
    return {"steps": seen, "drafts_left": left}


def kill_trainings(folder: Path, kills: int) -> dict[str, object]:
    """Kills `sfumato train` again and again, ends it, and ends another that nobody kills."""
    from sfumato_apps.cli import main

    data = folder / "texts.txt"
    data.write_text("\n".join(f"A {a} {b} is here." for a in "abcdefgh" for b in "uvwxyz"))
    sizes = "--vocabulary 300 --width 16 --layers 1 --heads 2 --dropout 0.1 --max-length 24"
    steps = f"--steps {LAST} --batch 4 --accumulation 2 --evaluate-every {EVERY}"
    options = ["--data", str(data), *sizes.split(), *steps.split(), "--valid-fraction", "0.1"]

    def train(out: Path) -> Callable[[int], None]:
        begun = (out / "train.yaml").exists()
        arguments = ["train", *options, "--out", str(out), *(["--resume"] if begun else [])]

        def work(_: int) -> None:
            with (out.parent / f"{out.name}.log").open("a") as log:
                with redirect_stdout(log), redirect_stderr(log):
                    main(arguments)

        return work

    def finish(out: Path) -> None:
        child, pipe = fork(train(out))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(pipe)
        assert code == 0, (folder / f"{out.name}.log").read_text()

    whole, killed = folder / "whole run", folder / "killed run"
    # In this process first, so that what it imports is there in the others.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(SystemExit):
        train(whole)(0)
    took = [json.loads(line).get("train_runtime") for line in (whole / "journal.jsonl").open()]
    pace = max(filter(None, took)) * EVERY / LAST  # from one checkpoint to the next
    draw, steps_seen = random.Random(1), []
    for number in range(kills):
        before = _step(killed)
        child, pipe = fork(train(killed))
        until = time.monotonic() + 60
        while number % 3 and _step(killed) == before and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(draw.uniform(0.0, pace))
        kill(child, pipe)
        steps_seen.append(_step(killed))
        if steps_seen[-1] >= LAST - EVERY:
            break
    finish(killed)
    return {
        "kills": len(steps_seen),
        "steps": steps_seen,
        "same": digests(killed) == digests(whole),
        "journals": [journal(killed), journal(whole)],
    }


def _step(out: Path) -> int:
    return max(map(step_of, checkpoints(out)), default=0) if out.is_dir() else 0


def digests(out: Path) -> dict[str, str]:
    """All files of a finished run, but those that tell the time or their own place."""
    found = {}
    for path in sorted(out.rglob("*")):
        if (path.is_file() and path.suffix == ".safetensors") or path.name == "tokenizer.json":
            name = str(path.relative_to(out))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def journal(out: Path) -> list[list[object]]:
    entries = [json.loads(line) for line in (out / "journal.jsonl").read_text().split("\n") if line]
    return [[one["kind"], one["step"], one.get("loss"), one.get("text")] for one in entries]


if __name__ == "__main__":
    task = {"checkpoints": kill_checkpoint_writers, "training": kill_trainings}[sys.argv[1]]
    print(json.dumps(task(Path(sys.argv[2]), int(sys.argv[3]))))
