"""Heats of all samplers on one problem, and the table of their medians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from contest import Outcome, race, ratio, table
from samplers import samplers
from tasks import Problem, Stage, Task, draw
from torch import Tensor
from training import GIB

TEMPERATURES = (0.0, 0.7)
Memory = Mapping[tuple[str, float], tuple[int, int]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """One repeat at one temperature.

    Attributes:
        temperature: of the draws.
        repeat: its number.
        outcomes: one a sampler.
        against: whose time each is compared with.
        laws: how the law of each compares with that one's.
        exact: who must have written the same tokens as that one.
        agreement: the share of tokens that each has in common with that one.
    """

    temperature: float
    repeat: int
    outcomes: dict[str, Outcome]
    against: dict[str, str]
    laws: dict[str, str]
    exact: frozenset[str]
    agreement: dict[str, float]


def heat(task: Task) -> Heat:
    """Runs all samplers of a task."""
    contestants = [sampler.on(task) for sampler in samplers(task)]
    outcomes = {outcome.name: outcome for outcome in race(contestants)}
    against = {contestant.name: contestant.against for contestant in contestants}
    written = {one.name: one.answers(outcomes[one.name].canvas) for one in contestants}
    return Heat(
        temperature=task.temperature,
        repeat=task.seed,
        outcomes=outcomes,
        against=against,
        laws={contestant.name: contestant.law for contestant in contestants},
        exact=frozenset(contestant.name for contestant in contestants if contestant.exact),
        agreement={name: share(found, written[against[name]]) for name, found in written.items()},
    )


def share(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Of tokens that are the same."""
    return float((torch.cat([*one]) == torch.cat([*other])).double().mean())


def run(stage: Stage, problem: Problem, repeats: int) -> list[Heat]:
    """All heats of a problem; a pass of everyone before them is not timed."""
    for temperature in TEMPERATURES:
        task = draw(stage, problem, temperature=temperature, seed=0)
        race([sampler.on(task) for sampler in samplers(task)], turns=1)
    return [
        heat(draw(stage, problem, temperature=temperature, seed=repeat))
        for repeat in range(repeats)
        for temperature in TEMPERATURES
    ]


def rows(
    heats: Sequence[Heat], problem: Problem, memory: Memory, clock: str
) -> list[dict[str, Any]]:
    """The medians of every sampler and temperature.

    Args:
        heats: of all repeats.
        problem: what was written.
        memory: the peak of each, and what of it is not weights, bytes; 0 where not measured.
        clock: what tokens per second are counted by: cpu or wall.
    """
    found = [
        _row(name, chosen, memory)
        for temperature in TEMPERATURES
        for chosen in [[heat for heat in heats if heat.temperature == temperature]]
        for name in chosen[0].outcomes
    ]
    tokens = sum(problem.answers)
    return [one | {"tokens per second": tokens / one[clock]} for one in found]


def _row(name: str, heats: Sequence[Heat], memory: Memory) -> dict[str, Any]:
    outcomes, rival = [h.outcomes[name] for h in heats], heats[0].against[name]
    against = ratio([o.total for o in outcomes], [h.outcomes[rival].total for h in heats])
    wall, cpu = (median(getattr(o.total, clock) for o in outcomes) for clock in ("wall", "cpu"))
    whole, added = memory.get((name, heats[0].temperature), (0, 0))
    return {
        "temperature": heats[0].temperature,
        "sampler": name,
        "against": rival,
        "law": heats[0].laws[name],
        "agreement": min(heat.agreement[name] for heat in heats),
        "exact": name in heats[0].exact,
        "passes": outcomes[0].passes,
        "cpu": cpu,
        "wall": wall,
        "beyond": median(outcome.beyond for outcome in outcomes),
        "cpu ratio": against.cpu,
        "wall ratio": against.wall,
        "peak": whole,
        "added": added,
    }


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """A table with one row a sampler and temperature."""
    cells = []
    for one in rows:
        own = one["against"] == one["sampler"]
        cells.append(
            [
                f"{one['temperature']:g}",
                one["sampler"],
                "" if own else one["law"],
                f"{one['agreement']:.0%}" if one["exact"] and not own else "",
                f"{one['passes']}",
                f"{one['cpu']:.2f}",
                f"{one['wall']:.2f}",
                f"{one['tokens per second']:.1f}",
                f"{one['beyond']:.1%}",
                "" if own else f"{one['cpu ratio']:.2f} ×",
                "" if own else f"{one['wall ratio']:.2f} ×",
                f"{one['peak'] / GIB:.2f}" if one["peak"] else "",
                f"{one['added'] / GIB:.2f}" if one["peak"] else "",
            ]
        )
    head = ["T", "sampler", "law", "same tokens", "passes", "CPU s", "wall s", "tokens/s"]
    head += ["beyond the network", "CPU ratio", "wall ratio", "peak GiB", "not weights"]
    return table(head, cells)


def runs(heats: Sequence[Heat]) -> list[dict[str, Any]]:
    """Everything that was measured, for JSON."""
    return [
        {"temperature": heat.temperature, "repeat": heat.repeat, "sampler": name}
        | {"passes": outcome.passes, "laps": [[lap.cpu, lap.wall] for lap in outcome.laps]}
        | {"network": asdict(outcome.network)}
        for heat in heats
        for name, outcome in heat.outcomes.items()
    ]
