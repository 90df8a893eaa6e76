"""Many short texts by `sfumato write --prompts`: pace, memory, a kill in the middle, full batches.

    python benchmarks/bulk.py --texts 10000

The command runs as a process of its own with the shipped model. At each tenth of the lines its pace
and resident memory are noted; half-way it is killed by SIGKILL and started again. Then every line
of the output is held against its prompt and its seed. Last, in this process, `--compare` texts are
written in batches that are kept full and in fixed ones, by turns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import psutil
from contest import Meter, Spent, machine, now, table

import sfumato
from sfumato.models.checkpoints import Checkpoint
from sfumato.sampling.tasks.jobs import How, Row, stream
from sfumato.sampling.tasks.writing import USUAL, rows_after
from sfumato.sampling.trace import Sample

HEADS = ("", "", "The Eagle is", "The Golden Curry", "Near the river,", "Вчера", "")
TENTHS, TURN = 10, 64


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The command when it has written some lines: since its start, seconds and resident MiB."""

    lines: int
    run: int
    seconds: float
    resident: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to fill batches: what it took, and what the network was called for."""

    name: str
    spent: Spent
    calls: int
    passes: int
    texts: tuple[str, ...]


def prompts(count: int) -> list[str]:
    """Beginnings of texts, most of them empty."""
    return [HEADS[number % len(HEADS)] for number in range(count)]


def command(source: Path, target: Path, batch: int) -> list[str]:
    """The command that writes a text for each prompt."""
    options = ["--prompts", str(source), "--output", str(target), "--batch", str(batch)]
    return [sys.executable, "-m", "sfumato_apps.cli", "write", *options]


def watched(words: Sequence[str], target: Path, total: int, *, run: int, until: int) -> list[Mark]:
    """Runs the command, up to so many lines, which it is killed at unless they are all."""
    marks: list[Mark] = []
    seen = target.read_bytes().count(b"\n") if target.exists() else 0
    child, began = subprocess.Popen(words, stderr=subprocess.DEVNULL), time.perf_counter()
    process, first = psutil.Process(child.pid), True
    while not target.exists() and child.poll() is None:
        time.sleep(0.01)
    with target.open("rb") as file:
        if seen:
            file.seek(0, os.SEEK_END)
        while seen < until:
            more = file.read().count(b"\n")
            seen += more
            if more and (first or seen * TENTHS // total > (seen - more) * TENTHS // total):
                resident = process.memory_info().rss / 2**20
                seconds, first = time.perf_counter() - began, False
                marks.append(Mark(lines=seen, run=run, seconds=seconds, resident=resident))
            if not more and child.poll() is not None:
                raise SystemExit(f"the command ended at {seen} lines with {child.returncode}")
            time.sleep(0.005)
    if until < total:
        os.kill(child.pid, signal.SIGKILL)
    child.wait()
    return marks


def faults(target: Path, asked: Sequence[str]) -> dict[str, int]:
    """Lines that are lost, doubled, in a wrong place or torn."""
    rows = target.read_bytes().split(b"\n")
    records = [json.loads(row) for row in rows[:-1]]
    seeds = [record["seed"] for record in records]
    placed = zip(records, asked, strict=False)
    return {
        "lines": len(records),
        "lost": len({*range(len(asked))} - {*seeds}),
        "doubled": len(seeds) - len({*seeds}),
        "not of their prompt": sum(record["source"] != prompt for record, prompt in placed),
        "out of order": sum(seed != number for number, seed in enumerate(seeds)),
        "torn": int(rows[-1] != b""),
        "passes": sum(record["passes"] for record in records),
    }


def contest(model: Checkpoint, asked: Sequence[str], batch: int) -> list[Way]:
    """The same texts in full and in fixed batches, some of each at a time."""

    def rows() -> Iterator[Row]:
        for seed, prompt in enumerate(asked):
            yield from rows_after(model, prompt, None, [seed])[0]

    # Rows that are watched come and leave together, in the order of the prompts.
    hows = {
        "kept full": How(policy=USUAL, batch_size=batch),
        "fixed": How(policy=USUAL, batch_size=batch, watch=lambda frame: None),
    }
    runs = {name: stream(model, rows(), how) for name, how in hows.items()}
    found: dict[str, list[Sample]] = {name: [] for name in hows}
    spent = dict.fromkeys(hows, Spent())
    calls = dict.fromkeys(hows, 0)
    while len(found["fixed"]) < len(asked):
        for name, run in runs.items():
            meter, begin = Meter(model.denoiser), now()
            found[name] += islice(run, TURN)
            spent[name], calls[name] = spent[name] + (now() - begin), calls[name] + meter.calls
            meter.remove()
    return [
        Way(
            name=name,
            spent=spent[name],
            calls=calls[name],
            passes=sum(one.passes for one in found[name]),
            texts=tuple(one.text for one in found[name]),
        )
        for name in hows
    ]


def pace(marks: Sequence[Mark]) -> str:
    """The tenths as a table; a pace is that since the mark before."""
    rows = []
    for before, mark in zip([None, *marks], marks, strict=False):
        since = before if before is not None and before.run == mark.run else None
        rate = "" if since is None else _rate(mark, since)
        rows.append([f"{mark.lines}", f"{mark.run}", f"{mark.seconds:.1f}", rate,
                     f"{mark.resident:.0f}"])  # fmt: skip
    return table(["lines", "start", "s since it", "texts per s", "resident MiB"], rows)


def _rate(mark: Mark, since: Mark) -> str:
    return f"{(mark.lines - since.lines) / max(1e-9, mark.seconds - since.seconds):.1f}"


def shown(ways: Sequence[Way]) -> str:
    """The two ways as a table."""
    rows = [
        [
            way.name,
            f"{len(way.texts) / way.spent.cpu:.1f}",
            f"{len(way.texts) / way.spent.wall:.1f}",
            f"{way.calls}",
            f"{way.passes / way.calls:.1f}",
        ]
        for way in ways
    ]
    head = ["batches", "texts per CPU s", "texts per s", "calls of the network", "rows a call"]
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=10_000, help="texts of the command")
    parser.add_argument("--compare", type=int, default=1_000, help="texts of each way")
    parser.add_argument("--batch", type=int, default=32, help="texts side by side")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name} {value}" for name, value in machine().items()), flush=True)
    asked = prompts(options.texts)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "prompts.jsonl"), Path(folder, "texts.jsonl")
        source.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in asked))
        words = command(source, target, options.batch)
        marks = watched(words, target, len(asked), run=1, until=len(asked) // 2)
        left = target.read_bytes().count(b"\n")
        print(f"\nkilled at {left} of {len(asked)} lines, and started again\n", flush=True)
        marks += watched(words, target, len(asked), run=2, until=len(asked))
        found = faults(target, asked)
    print(pace(marks), "\n")
    print(", ".join(f"{name} {value}" for name, value in found.items()), "\n", flush=True)
    ways = contest(sfumato.load(), prompts(options.compare), options.batch)
    print(shown(ways), "\n")
    same = sum(one == other for one, other in zip(ways[0].texts, ways[1].texts, strict=True))
    print(f"texts that are the same either way: {same} of {options.compare}")
    if options.json:
        figures = {"machine": machine(), "marks": [asdict(mark) for mark in marks]}
        figures |= {"faults": found, "ways": [asdict(way) for way in ways], "same": same}
        options.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    wrong = {name: value for name, value in found.items() if name not in ("lines", "passes")}
    return 0 if found["lines"] == len(asked) and not any(wrong.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
