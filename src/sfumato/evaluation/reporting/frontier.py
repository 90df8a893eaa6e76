"""The frontier of two things that one wants more of, such as reward and diversity.

    a model is on the frontier if no other is at least as good in both, and better in one

Which models are is uncertain, for their texts are draws: over halves of the texts each is on it in
a share of the cases. Halves hold no text twice, unlike the sets of a bootstrap, in which measures
of diversity would find repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sfumato.errors import UsageError

FORMAT = "sfumato-frontier/1"  # of the file that `sfumato frontier` writes
Measure = Callable[[Sequence[int]], float]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A model and its texts.

    Attributes:
        label: its name.
        n: how many texts there are.
        x: what is wanted, of the texts with these numbers; the higher the better.
        y: what is wanted beside it.
    """

    label: str
    n: int
    x: Measure
    y: Measure


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a contender stands.

    Attributes:
        label: its name.
        x: of all texts.
        y: of all texts.
        x_span: 95 % interval of x over the texts.
        y_span: the same of y.
        front: on the frontier by all texts.
        chance: share of the resampled sets of texts in which it is on the frontier.
    """

    label: str
    x: float
    y: float
    x_span: tuple[float, float]
    y_span: tuple[float, float]
    front: bool
    chance: float


def dominant(x: Sequence[float], y: Sequence[float]) -> list[bool]:
    """Which points no other point beats.

    Example:
        >>> dominant([1.0, 2.0, 0.5], [3.0, 1.0, 2.0])
        [True, True, False]
    """
    points = [*zip(x, y, strict=True)]
    return [not any(a >= c and b >= d and (a, b) != (c, d) for a, b in points) for c, d in points]


def frontier(contenders: Sequence[Contender], *, draws: int = 200, seed: int = 0) -> list[Place]:
    """Places with intervals over the texts, by the jackknife that deletes half of them.

    What half of the texts say varies as much around its mean as what all say around the truth (Shao
    and Wu 1989, with d = n / 2).

    Args:
        contenders: at least one.
        draws: halves to draw.
        seed: of the draws.

    Raises:
        UsageError: nobody, a contender with fewer than two texts, or no draws.

    Example:
        >>> rewards = [0.0, 1.0, 2.0, 3.0]
        >>> mean = lambda rows: sum(rewards[i] for i in rows) / len(rows)
        >>> one = Contender(label="a", n=4, x=mean, y=lambda rows: 1.0)
        >>> place = frontier([one])[0]
        >>> place.x, place.front, place.chance
        (1.5, True, 1.0)
    """
    if not contenders or draws < 1 or min(one.n for one in contenders) < 2:
        raise UsageError(f"expected contenders with two texts and draws ≥ 1, got {draws} draws")
    source = torch.Generator().manual_seed(seed)
    every = [(one.x(range(one.n)), one.y(range(one.n))) for one in contenders]
    whole = torch.tensor(every, dtype=torch.float64)
    rounds = [[_of_a_half(one, source) for one in contenders] for _ in range(draws)]
    halves = torch.tensor(rounds, dtype=torch.float64)
    found = whole + halves - halves.mean(0)
    winners = torch.tensor([dominant(*points.T.tolist()) for points in found])
    low, high = found.quantile(whole.new_tensor([0.025, 0.975]), 0).tolist()
    front = dominant(*whole.T.tolist())
    return [
        Place(
            label=one.label,
            x=float(whole[i, 0]),
            y=float(whole[i, 1]),
            x_span=(low[i][0], high[i][0]),
            y_span=(low[i][1], high[i][1]),
            front=front[i],
            chance=float(winners[:, i].float().mean()),
        )
        for i, one in enumerate(contenders)
    ]


def _of_a_half(one: Contender, source: torch.Generator) -> tuple[float, float]:
    rows = torch.randperm(one.n, generator=source)[: one.n // 2].tolist()
    return one.x(rows), one.y(rows)
