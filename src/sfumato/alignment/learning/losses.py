"""Losses of ranked candidates: of pairs by their margin, of lists by Plackett and Luce.

    scores s_1 … s_N,  ranks 1 (best) … , 0 (not there), ties allowed

    pairs   mean over (i better than j) of loss(s_i − s_j)     sigmoid, robust, hinge, IPO
    lists   −Σ_i [ βs_i − log Σ_{j = i or worse} e^{βs_j} ]     with two candidates: the sigmoid

A loss is a number a set; what is a score, see `objective`.

Legend of shapes: `B` sets, `N` candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from sfumato.errors import UsageError

Pairs = Literal["all", "adjacent", "best_vs_rest", "best_vs_worst"]


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """−(1 − ε) log σ(βm − γ) − ε log σ(γ − βm) (DPO, 2305.18290, eq. 7; SimPO, 2405.14734, eq. 6).

    Attributes:
        beta: β.
        label_smoothing: ε, the share of preferences taken to be wrong (cDPO).
        margin: γ, by how much the better one must lead.

    Raises:
        UsageError: a β that is not positive, or an ε outside [0, ½).

    Example:
        >>> Sigmoid(beta=1.0)(torch.tensor([0.0]))
        tensor([0.6931])
    """

    beta: float
    label_smoothing: float = 0.0
    margin: float = 0.0

    def __post_init__(self) -> None:
        _check(self.beta, self.label_smoothing)

    def __call__(self, margin: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The loss of each margin."""
        lead = self.beta * margin - self.margin
        smooth = self.label_smoothing
        return -(1 - smooth) * logsigmoid(lead) - smooth * logsigmoid(-lead)


@dataclass(frozen=True, kw_only=True)
class Robust:
    """The sigmoid loss, unbiased when a share ε of the preferences is flipped (2403.00409, eq. 7).

    Attributes:
        beta: β.
        label_smoothing: ε.

    Raises:
        UsageError: a β that is not positive, or an ε outside [0, ½).
    """

    beta: float
    label_smoothing: float

    def __post_init__(self) -> None:
        _check(self.beta, self.label_smoothing)

    def __call__(self, margin: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The loss of each margin; it may be negative."""
        flips = self.label_smoothing
        right, wrong = -logsigmoid(self.beta * margin), -logsigmoid(-self.beta * margin)
        return ((1 - flips) * right - flips * wrong) / (1 - 2 * flips)


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """max(0, 1 + γ − βm) (SLiC, 2305.10425, with the reference's ratio).

    Attributes:
        beta: β.
        margin: γ.

    Raises:
        UsageError: a β that is not positive.
    """

    beta: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        _check(self.beta)

    def __call__(self, margin: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The loss of each margin."""
        return torch.relu(1 + self.margin - self.beta * margin)


@dataclass(frozen=True, kw_only=True)
class Ipo:
    """(m − 1 / 2β)² (IPO, 2310.12036, eq. 17): a margin to reach, not to exceed.

    Attributes:
        beta: β, the paper's τ.

    Raises:
        UsageError: a β that is not positive.
    """

    beta: float

    def __post_init__(self) -> None:
        _check(self.beta)

    def __call__(self, margin: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The loss of each margin."""
        return (margin - 1 / (2 * self.beta)).square()


PairLoss = Sigmoid | Robust | Hinge | Ipo


@dataclass(frozen=True, kw_only=True)
class Pairwise:
    """The mean of a loss over pairs of which one candidate is better.

    Best against worst alone is the weakest choice for lists: such pairs are no draws of two
    candidates, and the loss takes them for that.

    Attributes:
        loss: of a margin.
        pairs: which ones: all, neighbours in rank, the best with each other one, or with the worst.
        by_place: weigh a pair by `|G_i − G_j|·|1/D_i − 1/D_j|`, D = log₂(1 + rank), G = 2^g − 1
            with g falling evenly from 1 to 0 over the ranks (LiPO-λ, 2402.01878; RankDPO,
            2410.18013).

    Example:
        >>> scores, ranks = torch.tensor([[2.0, 0.0]]), torch.tensor([[1, 2]])
        >>> Pairwise(loss=Hinge(beta=0.25))(scores, ranks)
        tensor([0.5000])
    """

    loss: PairLoss
    pairs: Pairs = "all"
    by_place: bool = False

    @property
    def beta(self) -> float:
        """β of the loss."""
        return self.loss.beta

    def __call__(
        self, scores: Float[Tensor, "B N"], ranks: Int[Tensor, "B N"]
    ) -> Float[Tensor, "B"]:
        """The loss of each set; 0 for one without an order."""
        chosen = _CHOICES[self.pairs](ranks)
        weight = chosen.to(scores)
        if self.by_place:
            weight = weight * _by_place(ranks).to(scores)
        margins = torch.where(chosen, scores[:, :, None] - scores[:, None], 0)
        total = (weight * self.loss(margins)).sum((1, 2))
        return total / weight.sum((1, 2)).clamp(min=torch.finfo(scores.dtype).tiny)


@dataclass(frozen=True, kw_only=True)
class PlackettLuce:
    """−log p of a ranking whose places are filled one after the other (Plackett 1975).

    Each candidate competes with those that are worse, so that ties say nothing about each other;
    candidates that are tied for the last place need no order (a partial ranking).

    Attributes:
        beta: β.
        top: how many places count; None for all. With one it is the softmax loss of the best.

    Raises:
        UsageError: a β that is not positive, or no place.

    Example:
        >>> scores, ranks = torch.zeros(1, 3), torch.tensor([[2, 1, 3]])
        >>> PlackettLuce(beta=1.0)(scores, ranks)  # log 3!
        tensor([1.7918])
    """

    beta: float
    top: int | None = None

    def __post_init__(self) -> None:
        _check(self.beta)
        if self.top is not None and self.top < 1:
            raise UsageError(f"expected top ≥ 1, got {self.top}")

    def __call__(
        self, scores: Float[Tensor, "B N"], ranks: Int[Tensor, "B N"]
    ) -> Float[Tensor, "B"]:
        """The loss of each set; 0 for one without an order."""
        scaled = self.beta * scores
        worse = better(ranks)
        alone = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
        rivals = scaled[:, None].masked_fill(~(worse | alone), -math.inf).logsumexp(2)
        counted = worse.any(2)
        if self.top is not None:
            counted = counted & (worse.sum(1) < self.top)
        return torch.where(counted, rivals - scaled, 0).sum(1)


PreferenceLoss = Pairwise | PlackettLuce


def better(ranks: Int[Tensor, "B N"]) -> Bool[Tensor, "B N N"]:
    """Whether candidate i stands before candidate j; candidates of rank 0 are not there.

    Example:
        >>> better(torch.tensor([[2, 1, 0]])).nonzero().tolist()
        [[0, 1, 0]]
    """
    there = ranks > 0
    return (ranks[:, :, None] < ranks[:, None]) & there[:, :, None] & there[:, None]


def _adjacent(ranks: Tensor) -> Tensor:
    order = better(ranks)
    between = (order[:, :, :, None] & order[:, None]).any(2)  # i before k before j
    return order & ~between


def _best_vs_rest(ranks: Tensor) -> Tensor:
    order = better(ranks)
    return order & ~order.any(1)[:, :, None]


def _best_vs_worst(ranks: Tensor) -> Tensor:
    order = better(ranks)
    return _best_vs_rest(ranks) & ~order.any(2)[:, None]


_CHOICES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "all": better,
        "adjacent": _adjacent,
        "best_vs_rest": _best_vs_rest,
        "best_vs_worst": _best_vs_worst,
    }
)


def _by_place(ranks: Int[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    place = 1 + better(ranks).sum(1)  # of each candidate among those that are there
    last = (place * (ranks > 0)).amax(1, keepdim=True)
    gain = 2 ** ((last - place) / (last - 1).clamp(min=1)) - 1
    discount = 1 / torch.log2(1 + place.double())
    return (gain[:, :, None] - gain[:, None]).abs() * (
        discount[:, :, None] - discount[:, None]
    ).abs()


def _check(beta: float, smoothing: float = 0.0) -> None:
    if not 0 < beta < math.inf or not 0 <= smoothing < 0.5:
        raise UsageError(
            f"expected a positive beta and label_smoothing in [0, 0.5), got {beta}, {smoothing}"
        )
