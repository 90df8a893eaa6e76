"""Cost of a pass against canvas length, vocabulary, batch and size of the network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from statistics import linear_regression

import torch
from contest import Contestant, race, table
from networks import Size, base, large, small
from samplers import LLADA, OURS, samplers
from tasks import Problem, Stage, Task, draw
from torch import Tensor

BODY = "the encoder alone, transformers"
Costs = Mapping[str, Mapping[float, Mapping[str, float]]]


@torch.no_grad()
def alone(task: Task) -> Iterator[Tensor]:
    """The body as transformers runs it, on the untouched canvas and without a head."""
    canvas, attend = task.canvas
    padded = {} if bool(attend.all()) else {"attention_mask": attend.long()}
    while True:
        task.stage.network.base_model(canvas, **padded)
        yield canvas


def bare(task: Task) -> Contestant:
    """The encoder alone as a contestant."""
    return Contestant(
        name=BODY,
        run=partial(alone, task),
        module=task.stage.network.base_model,
        against=OURS,
        law="",
        exact=False,
        answers=list,
    )


def problem(size: Size, *, canvas: int = 128, rows: int = 1, block: int = 32) -> Problem:
    """Rows whose canvas is half prompt and half answer, a pass a token."""
    half = canvas // 2
    return Problem(
        name=f"{size.name}, V = {size.vocabulary:,}, {rows} × {canvas}",
        size=size,
        prompts=(half,) * rows,
        answers=(half,) * rows,
        steps=half,
        block=min(block, half),
    )


def cost(stage: Stage, problem: Problem, turns: int) -> dict[str, float]:
    """Seconds of a pass by sampler: CPU seconds on a CPU, else seconds on the wall."""
    clock, found = "cpu" if stage.device == "cpu" else "wall", {}
    for temperature in (0.0, 0.7):
        task = draw(stage, problem, temperature=temperature, seed=0)
        chosen = [s.on(task) for s in samplers(task) if s.name in (OURS, LLADA)]
        outcomes = race([*chosen, *([] if temperature else [bare(task)])], turns=turns)
        for outcome in outcomes:
            name = outcome.name if outcome.name == BODY else f"{outcome.name}, T = {temperature:g}"
            found[name] = getattr(outcome.pace, clock)
    return found


def sweeps(quick: Size | None) -> dict[str, dict[float, Problem]]:
    """What is varied, and the problem at each of its values."""
    size = quick or base(50_368)
    short = (16, 32) if quick else (64, 128, 256, 512, 1024)
    words = (200, 400) if quick else (8_192, 32_768, 65_536, 131_072, 256_000)
    rows = (1, 2) if quick else (1, 2, 4, 8, 16)
    bodies = [replace(size, layers=n) for n in (1, 2)] if quick else []
    bodies = bodies or [kind(50_368) for kind in (small, base, large)]
    canvas = 16 if quick else 128
    return {
        "positions of the canvas": {n: problem(size, canvas=n) for n in short},
        "tokens of the vocabulary": {
            n: problem(replace(size, vocabulary=n), canvas=canvas) for n in words
        },
        "rows of the batch": {n: problem(size, canvas=canvas, rows=n) for n in rows},
        "million parameters": {
            round(parameters(one) / 1e6, 3): problem(one, canvas=canvas) for one in bodies
        },
    }


def parameters(size: Size) -> int:
    """Weights of the linear layers of a body and of its head."""
    layer = 4 * size.width**2 + 3 * size.width * size.inner
    return size.layers * layer + size.width * (size.width + size.vocabulary)


def exponent(values: Mapping[float, float]) -> float:
    """The power p of the best y ∝ x^p, by least squares of the logarithms.

    Example:
        >>> round(exponent({1.0: 3.0, 2.0: 12.0, 4.0: 48.0}), 6)
        2.0
    """
    x, y = ([math.log(one) for one in part] for part in (values.keys(), values.values()))
    return linear_regression(x, y).slope


def report(
    like: Stage, *, turns: int, quick: Size | None
) -> dict[str, dict[str, dict[str, list[float] | float]]]:
    """Prints a table for each sweep and returns x, y and exponent of every sampler."""
    found: dict[str, dict[str, dict[str, list[float] | float]]] = {}
    for what, places in sweeps(quick).items():
        costs: dict[float, dict[str, float]] = {}
        stage = like
        for x, one in places.items():
            if stage.size != one.size:
                stage = replace(like, size=one.size)
            costs[x] = cost(stage, one, turns)
        print(f"\n{what}, milliseconds of a pass\n\n{shown(what, costs)}", flush=True)
        found[what] = {
            name: {
                "x": [*costs],
                "y": [seconds[name] for seconds in costs.values()],
                "exponent": exponent({x: seconds[name] for x, seconds in costs.items()}),
            }
            for name in next(iter(costs.values()))
        }
    return found


def shown(what: str, costs: Mapping[float, Mapping[str, float]]) -> str:
    """A table with one row a sampler."""
    rows = []
    for name in next(iter(costs.values())):
        values = {x: seconds[name] for x, seconds in costs.items()}
        cells = [f"{1000 * value:.1f}" for value in values.values()]
        rows.append([name, *cells, f"x^{exponent(values):.2f}"])
    return table([what, *(f"{x:,}" for x in costs), "grows as"], rows)
