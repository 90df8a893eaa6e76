"""Contestants that take turns, pass by pass, so that a noisy machine is noisy for all alike."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import transformers
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Time: CPU seconds of the whole process, and seconds on the wall."""

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(cpu=self.cpu + other.cpu, wall=self.wall + other.wall)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(cpu=self.cpu - other.cpu, wall=self.wall - other.wall)


def now() -> Spent:
    """The clocks, when all that a GPU was told to do is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return Spent(cpu=time.process_time(), wall=time.perf_counter())


class Meter:
    """Counts the calls of a module and what they cost."""

    def __init__(self, module: nn.Module) -> None:
        self.calls = 0
        self.spent = Spent()
        self._begin = Spent()
        self._handles = [
            module.register_forward_pre_hook(self._before),
            module.register_forward_hook(self._after),
        ]

    def _before(self, module: nn.Module, arguments: object) -> None:
        self._begin = now()

    def _after(self, module: nn.Module, arguments: object, output: object) -> None:
        self.calls += 1
        self.spent += now() - self._begin

    def remove(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()


@dataclass(frozen=True, kw_only=True, eq=False)
class Contestant:
    """A sampler.

    Attributes:
        name: what tables call it.
        run: begins a run; the canvas after each pass.
        module: the network as this sampler calls it.
        against: the run of sfumato that its time is divided by.
        law: how the law of its text compares with that run's.
        exact: it must write that run's tokens.
        answers: the answers that stand in a canvas.
    """

    name: str
    run: Callable[[], Iterator[Tensor]]
    module: nn.Module
    against: str
    law: str
    exact: bool
    answers: Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a run cost, and what it wrote.

    Attributes:
        name: the contestant.
        canvas: the tokens at the end.
        passes: calls of the network.
        laps: time of each turn.
        network: what of all turns the calls took.
    """

    name: str
    canvas: Tensor
    passes: int
    laps: tuple[Spent, ...]
    network: Spent

    @property
    def total(self) -> Spent:
        """Time of the run."""
        return sum(self.laps, Spent())

    @property
    def pace(self) -> Spent:
        """Median time of a turn; the first, which also sets up, is left out if there are more."""
        laps = self.laps[1:] or self.laps
        return Spent(cpu=median(lap.cpu for lap in laps), wall=median(lap.wall for lap in laps))

    @property
    def beyond(self) -> float:
        """Share of the CPU time beyond the network."""
        return 1 - self.network.cpu / self.total.cpu


def race(contestants: Sequence[Contestant], *, turns: int | None = None) -> list[Outcome]:
    """Runs all of them to their ends, A B C A B C …, one pass of the network a turn.

    Args:
        contestants: who takes part.
        turns: the most that anyone gets; None lets all finish.
    """
    runs = [contestant.run() for contestant in contestants]
    outcomes = [
        Outcome(name=c.name, canvas=torch.empty(0), passes=0, laps=(), network=Spent())
        for c in contestants
    ]
    racing, turn = set(range(len(runs))), 0
    while racing and turn != turns:
        turn += 1
        for index in sorted(racing):
            module, outcome = contestants[index].module, outcomes[index]
            meter, begin = Meter(module), now()
            canvas = next(runs[index], None)
            lap = now() - begin
            meter.remove()
            if canvas is None:
                racing.remove(index)
            outcomes[index] = Outcome(
                name=outcome.name,
                canvas=outcome.canvas if canvas is None else canvas,
                passes=outcome.passes + meter.calls,
                laps=(*outcome.laps, lap),
                network=outcome.network + meter.spent,
            )
    return outcomes


def ratio(rivals: Sequence[Spent], ours: Sequence[Spent]) -> Spent:
    """Median over repeats of what a rival spent over what we did."""
    pairs = list(zip(rivals, ours, strict=True))
    return Spent(
        cpu=median(rival.cpu / own.cpu for rival, own in pairs),
        wall=median(rival.wall / own.wall for rival, own in pairs),
    )


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        names = [row for row in listing.read_text().splitlines() if row.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it also reads well as text."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    rule = ["-" * width for width in widths]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(head), line(rule), *map(line, rows)])
