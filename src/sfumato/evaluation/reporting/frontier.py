"""The frontier of two things that one wants more of, such as reward and diversity.

    a model is on the frontier if no other is at least as good in both, and better in one

Which models are is uncertain, for their texts are draws: over resampled texts each is on it in a
share of the cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from sfumato.errors import UsageError

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
        chance: share of the resampled sets in which it is on the frontier.
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
    """Places with intervals by bootstrap over the texts (Efron 1979).

    Args:
        contenders: at least one.
        draws: resampled sets of texts.
        seed: of the draws.

    Raises:
        UsageError: nobody, a contender without texts, or no draws.

    Example:
        >>> rewards = [0.0, 1.0, 2.0, 3.0]
        >>> one = Contender(label="a", n=4, x=lambda rows: sum(rewards[i] for i in rows) / 4,
        ...     y=lambda rows: 1.0)
        >>> place = frontier([one])[0]
        >>> place.x, place.front, place.chance
        (1.5, True, 1.0)
    """
    if not contenders or draws < 1 or min(one.n for one in contenders) < 1:
        raise UsageError(f"expected contenders with texts and draws ≥ 1, got {draws} draws")
    source = torch.Generator().manual_seed(seed)
    whole = [(one.x(range(one.n)), one.y(range(one.n))) for one in contenders]
    found: list[list[tuple[float, float]]] = []
    for _ in range(draws):
        rows = [torch.randint(one.n, (one.n,), generator=source).tolist() for one in contenders]
        found.append(
            [(one.x(some), one.y(some)) for one, some in zip(contenders, rows, strict=True)]
        )
    winners = torch.tensor([dominant(*zip(*points, strict=True)) for points in found])
    spread = torch.tensor(found, dtype=torch.float64)
    ends = spread.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0).tolist()
    front = dominant(*zip(*whole, strict=True))
    return [
        Place(
            label=one.label,
            x=whole[i][0],
            y=whole[i][1],
            x_span=(ends[0][i][0], ends[1][i][0]),
            y_span=(ends[0][i][1], ends[1][i][1]),
            front=front[i],
            chance=float(winners[:, i].double().mean()),
        )
        for i, one in enumerate(contenders)
    ]
