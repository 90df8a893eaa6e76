"""How fast text is written, what that costs as it grows, and how near it is to what is possible.

    python benchmarks/engine.py                    ModernBERT-base, on the CPU
    python benchmarks/engine.py --quick            a small network, in seconds
    python benchmarks/engine.py --device cuda --dtype bfloat16 --compile
    python benchmarks/engine.py --json out.json    all figures, for `render.py`

The problems are a text of 64 tokens after a prompt of 64 in 64 passes, under two vocabularies,
and a batch of 16 with prompts and answers of their own lengths. All samplers share one network
with random weights and take turns after every pass. A ratio is the peer's time over that of
sfumato under the same law in the same repeat; the median over the repeats is shown. Peak memory
is that of a process with one sampler in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import contests
import growth
import limits
import torch
from contest import machine, race
from networks import Size, base, large, small
from samplers import DLLM, LLADA, samplers
from tasks import Problem, Stage, alone, draw, together
from training import RETURN_BLOCKS, forget_peak, peak_memory

PROBLEMS, MORE = ("one", "vocabulary", "batch"), ("growth", "limit")
TARGETS: Mapping[str, tuple[str, Mapping[float, float]]] = {
    "one": (LLADA, {0.0: 1.35, 0.7: 2.2}),
    "vocabulary": (LLADA, {0.0: 2.0, 0.7: 5.0}),
    "batch": (DLLM, {0.0: 3.0, 0.7: 3.0}),  # it alone takes a batch under the same law
}
TINY = Size(name="tiny", vocabulary=500, width=32, layers=2, heads=2, inner=48)


def problems(*, quick: bool) -> dict[str, Problem]:
    """What is written, by the part of the run."""
    if quick:
        return {
            "one": alone(TINY, length=8, block=4),
            "vocabulary": alone(replace(TINY, vocabulary=900), length=8, block=4),
            "batch": together(TINY, rows=3, longest=8),
        }
    return {
        "one": alone(base(50_368)),
        "vocabulary": alone(base(256_000)),
        "batch": together(base(50_368)),
    }


def peak(stage: Stage, problem: Problem, name: str, temperature: float) -> tuple[int, int]:
    """Peak memory of two passes of a sampler, and what of it is not weights, bytes."""
    task = draw(stage, problem, temperature=temperature, seed=0)
    one = next(sampler.on(task) for sampler in samplers(task) if sampler.name == name)
    if stage.device == "cpu":
        forget_peak()
        idle = peak_memory()
        race([one], turns=2)
        most = peak_memory()
        return most, max(0, most - idle)  # Linux counts pages in batches, so it may lag behind
    idle = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    race([one], turns=2)
    most = torch.cuda.max_memory_allocated()
    return most, most - idle


def peaks(part: str, heats: Sequence[contests.Heat], given: Sequence[str]) -> contests.Memory:
    """The same for every sampler and temperature, each in a process of its own."""
    found = {}
    for temperature, name in dict.fromkeys(
        (heat.temperature, name) for heat in heats for name in heat.outcomes
    ):
        order = json.dumps({"part": part, "name": name, "temperature": temperature})
        command = [sys.executable, __file__, *given, "--worker", order]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | RETURN_BLOCKS
        )
        most, added = json.loads(done.stdout.splitlines()[-1])
        found[name, temperature] = (most, added)
    return found


def compare(
    part: str, stage: Stage, problem: Problem, options: argparse.Namespace, given: Sequence[str]
) -> dict[str, Any]:
    """Prints the table of one problem and returns its figures."""
    heats = contests.run(stage, problem, options.repeats)
    clock, held = "cpu" if stage.device == "cpu" else "wall", {}
    memory = peaks(part, heats, given) if options.memory else {}
    rows = contests.rows(heats, problem, memory, clock)
    print(f"\n{problem.name}, repeats: {options.repeats}\n\n{contests.shown(rows)}\n", flush=True)
    rival, targets = TARGETS[part]
    for temperature, target in targets.items():
        chosen = {row["sampler"]: row for row in rows if row["temperature"] == temperature}
        name = f"T = {temperature:g}: {clock} time of {rival} over ours, target ≥ {target}"
        held[name] = round(chosen[rival][f"{clock} ratio"], 3)
    for name, value in held.items():
        print(f"{name}: {value}", flush=True)
    return {
        "problem": asdict(problem),
        "rows": rows,
        "claims": held,
        "runs": contests.runs(heats),
    }


def different(figures: Mapping[str, Any]) -> list[str]:
    """Who wrote other tokens at temperature 0 than sfumato under the same law."""
    return [
        f"{row['sampler']} and {row['against']}: {row['agreement']:.1%} of the tokens are the same"
        for part in PROBLEMS
        for row in figures.get(part, {}).get("rows", ())
        if row["exact"] and row["agreement"] < 1
    ]


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tiny network, in seconds")
    every = (*PROBLEMS, *MORE)
    parser.add_argument("--parts", nargs="+", choices=every, default=every, metavar="PART")
    parser.add_argument("--repeats", type=int, default=3)
    flag = argparse.BooleanOptionalAction
    parser.add_argument("--memory", action=flag, default=True, help="peaks, a process each")
    parser.add_argument("--turns", type=int, default=6, help="passes of each point of a growth")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile what each sampler calls"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    options = arguments(given)
    torch.set_num_threads(options.threads)
    setting = {"device": options.device, "dtype": getattr(torch, options.dtype)}
    known = problems(quick=options.quick)
    if options.worker:
        problem = known[options.worker.pop("part")]
        print(json.dumps(peak(Stage(size=problem.size, **setting), problem, **options.worker)))
        return 0
    setting["compiled"] = options.compile
    described = machine() | {"device": options.device, "dtype": options.dtype}
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    figures: dict[str, Any] = {"machine": described}
    for part, problem in known.items():
        if part in options.parts:
            stage = Stage(size=problem.size, **setting)
            figures[part] = compare(part, stage, problem, options, given)
    like = Stage(size=TINY if options.quick else base(50_368), **setting)
    if "growth" in options.parts:
        figures["growth"] = growth.report(
            like, turns=options.turns, quick=TINY if options.quick else None
        )
    if "limit" in options.parts:
        sizes = [TINY] if options.quick else [kind(50_368) for kind in (small, base, large)]
        shape = {"length": 8, "block": 4} if options.quick else {"length": 64, "block": 32}
        width = 64 if options.quick else 1024
        figures["limit"] = limits.report(like, sizes, width=width, **shape)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    wrong = different(figures) if options.dtype == "float32" else []
    print(*(f"not the same tokens: {line}" for line in wrong), sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
