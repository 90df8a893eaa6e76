"""Which positions move in a step: blocks bound the field and an order ranks it.

    pending     ▒  ▒  ▒  ▒ │ ▒  ▒  ▒  ▒      Blocks(size=4): the first block is worked on
    score      .3 .9 .2 .8                   Order(by=max_prob)
    rank        2  0  3  1
    chosen         ●     ●                   a quota of two, from the front

An order that reads only the predicted distribution keeps the chain rule exact: at one token a
step the text has the model's law. An order that reads the drawn token rejects toward the mode.

Legend of shapes: `B` batch, `L` positions, `M` active positions, row-major.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.frames import Frame
from sfumato.sampling.parts.logits import Rows
from sfumato.sampling.parts.randomness import Purpose, gumbel, numbers

Score = Callable[[Rows], Float[Tensor, "M"]]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The part of each row that is worked on at a time.

    Attributes:
        size: editable positions of a block, left to right; None takes the whole canvas.
        sliding: the block is the first `size` pending positions and moves with every token
            (one run over the whole canvas), instead of being finished before the next begins.

    Raises:
        UsageError: the size is not positive, or sliding without a size.

    Example:
        >>> Blocks(size=2).number(torch.tensor([[False, True, True, True]]))
        tensor([[0, 0, 0, 1]])
    """

    size: int | None = None
    sliding: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise UsageError(f"a block needs at least one position, got size={self.size}")
        if self.sliding and self.size is None:
            raise UsageError("a sliding block needs a size, such as 32")

    def number(self, editable: Bool[Tensor, "B L"]) -> Int[Tensor, "B L"]:
        """The block that each position belongs to; counts editable positions only."""
        if self.size is None or self.sliding:
            return torch.zeros_like(editable, dtype=torch.long)
        return (editable.cumsum(1) - 1).clamp(min=0) // self.size

    def count(self, editable: Bool[Tensor, "B L"]) -> Int[Tensor, "B"]:
        """How many blocks each row has, at least one."""
        return self.number(editable)[:, -1] + 1

    def active(self, frame: Frame) -> Bool[Tensor, "B L"]:
        """The pending positions of each row's block."""
        here = self.number(frame.canvas.editable) == frame.block[:, None]
        field = frame.pending & here & ~frame.done[:, None]
        return field & (field.cumsum(1) <= self.size) if self.sliding and self.size else field


def random(rows: Rows) -> Float[Tensor, "M"]:
    """Uniformly random order: all scores are equal, and the order's own noise decides."""
    return torch.zeros(rows.batch.shape, device=rows.batch.device)


def left_to_right(rows: Rows) -> Float[Tensor, "M"]:
    """The leftmost position first."""
    return -rows.position.float()


def max_prob(rows: Rows) -> Float[Tensor, "M"]:
    """Probability of the likeliest token (LLaDA's low-confidence remasking at T = 0)."""
    return rows.max_prob


def margin(rows: Rows) -> Float[Tensor, "M"]:
    """Lead of the likeliest token over the second (Kim et al., 2502.06768)."""
    return rows.margin


def entropy(rows: Rows) -> Float[Tensor, "M"]:
    """Negative entropy of the prediction (Dream, 2508.15487)."""
    return -rows.entropy


def sampled_prob(rows: Rows) -> Float[Tensor, "M"]:
    """Probability of the token that was drawn. Biased toward the mode at any temperature.

    LLaDA, MaskGIT and Dream rank so at T > 0. It draws at every active position to keep a few,
    which is rejection sampling: on an exact model the text comes out far too likely.
    """
    assert rows.drawn is not None, "sampled_prob ranks rows that carry a draw"
    return rows.prob(rows.drawn)


@dataclass(frozen=True, kw_only=True, eq=False)
class Debiased:
    """p(v)·min(−log f(v), cap) of the likeliest token v: being sure of a full stop is no news.

    Punctuation and ends are likely everywhere, so `max_prob` writes them first and closes the
    text around them (PC-Sampler, 2508.13021, §3.2; its decay by position is what `Blocks` does).

    Attributes:
        frequency: f, how often each token stands in text, *shape* `V`; a token that never does
            counts as `cap` nats.
        cap: the most that rarity counts, nats.

    Example:
        >>> place = torch.tensor([0, 1])
        >>> logits = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
        >>> rows = Rows(logits=logits, batch=place, position=place)
        >>> [round(one, 2) for one in Debiased(frequency=torch.tensor([0.8, 0.2]))(rows).tolist()]
        [0.2, 1.29]
    """

    frequency: Float[Tensor, "V"]
    cap: float = 10.0

    def __call__(self, rows: Rows) -> Float[Tensor, "M"]:
        """The score of each position."""
        rarity = -self.frequency.log().to(rows.logits)
        return rows.max_prob * rarity.clamp(max=self.cap)[rows.logits.argmax(1)]


@dataclass(frozen=True, kw_only=True)
class Order:
    """Ranks the active positions of each row, best first.

    Attributes:
        by: the score; higher goes first, ties from left to right.
        temperature: adds temperature × Gumbel noise to the score, so that the ranks are drawn
            without replacement from softmax(score / temperature) (MaskGIT, 2202.04200).
        spacing: positions of a step lie at least this far apart; a nearer one waits, because
            neighbours depend on each other.
        distinct: positions of a step have different likeliest tokens; of equal ones the best
            ranked goes and the others wait. A model that is sure of a word and not of its place
            would write it in several places at once.

    Raises:
        UsageError: a value out of range, a temperature for the random order, or `distinct` for
            an order that reads no predictions.

    Example:
        >>> place = torch.tensor([0, 1])
        >>> rows = Rows(logits=torch.eye(2), batch=torch.zeros_like(place), position=place)
        >>> Order(by=left_to_right).informed, Order(by=margin).informed
        (False, True)
    """

    by: Score = max_prob
    temperature: float = 0.0
    spacing: int | None = None
    distinct: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"an order's temperature must be ≥ 0, got {self.temperature}")
        if self.by is random and self.temperature:
            raise UsageError("the random order has no temperature: drop it, or choose a score")
        if self.spacing is not None and self.spacing < 2:
            raise UsageError(f"spacing must be at least 2 to matter, got {self.spacing}")
        if self.distinct and not self.informed:
            raise UsageError("distinct compares predictions: order by max_prob, margin or entropy")

    @property
    def informed(self) -> bool:
        """Whether it reads predictions; if not, only the chosen positions are predicted."""
        return self.by not in (random, left_to_right)

    def rank(self, frame: Frame, active: Bool[Tensor, "B L"], rows: Rows) -> Ranking:
        """Ranks the active positions, of which `rows` are the predictions."""
        score = self.by(rows).double()
        scale = 1.0 if self.by is random else self.temperature
        if scale:
            noise = gumbel(numbers(frame, Purpose.ORDER))
            score = score + scale * noise[rows.batch, rows.position]
        table = score.new_full(active.shape, -torch.inf)
        table[rows.batch, rows.position] = score
        best_first = table.argsort(dim=1, descending=True, stable=True)
        return Ranking(rank=best_first.argsort(1), best_first=best_first, active=active, rows=rows)

    def cut(self, ranking: Ranking, count: Int[Tensor, "B"]) -> Bool[Tensor, "B L"]:
        """The first `count` positions of each row that keep their distance."""
        chosen = ranking.active & (ranking.rank < count[:, None])
        if self.spacing is not None:
            rank = ranking.rank.double().masked_fill(~chosen, torch.inf)
            reach = self.spacing - 1
            near = -torch.nn.functional.max_pool1d(-rank, 2 * reach + 1, stride=1, padding=reach)
            chosen = chosen & (rank == near)
        return _distinct(chosen, ranking) if self.distinct else chosen


def _distinct(chosen: Bool[Tensor, "B L"], ranking: Ranking) -> Bool[Tensor, "B L"]:
    """Of the chosen positions of a row with one likeliest token, the best ranked."""
    rows = ranking.rows
    batch, position = rows.batch, rows.position
    rank = ranking.rank[batch, position].masked_fill(~chosen[batch, position], chosen.shape[1])
    token = batch * rows.logits.shape[1] + rows.logits.argmax(1)
    kinds, kind = torch.unique(token, return_inverse=True)
    best = rank.new_full(kinds.shape, chosen.shape[1]).scatter_reduce(0, kind, rank, "amin")
    kept = torch.zeros_like(chosen)
    kept[batch, position] = rank == best[kind]
    return chosen & kept


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The active positions of each row as an order ranks them.

    Attributes:
        rank: place of each position in its row's order, 0 first, *shape* `B L`; inactive
            positions come last.
        best_first: positions in that order, *shape* `B L`.
        active: what was ranked, *shape* `B L`.
        rows: predictions at the active positions.
    """

    rank: Int[Tensor, "B L"]
    best_first: Int[Tensor, "B L"]
    active: Bool[Tensor, "B L"]
    rows: Rows

    def in_order(self, values: Float[Tensor, "M"], *, rest: float) -> Float[Tensor, "B L"]:
        """Values of the active positions, best ranked first; `rest` after the last."""
        table = values.new_full(self.active.shape, rest)
        table[self.rows.batch, self.rows.position] = values
        return table.gather(1, self.best_first)


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """How far the block of each row has come.

    Attributes:
        frame: the frame that the step starts from.
        active: the positions that may move, *shape* `B L`.
        left: how many positions of the block are pending, *shape* `B`.
        total: how many of it the run writes, *shape* `B`.
        blocks: how many blocks the row has, *shape* `B`.
        sigma: σ, probability that revision takes a written token back; at pending positions
            what it adds to their chance of being written; zero without revision, *shape* `B L`.
    """

    frame: Frame
    active: Bool[Tensor, "B L"]
    left: Int[Tensor, "B"]
    total: Int[Tensor, "B"]
    blocks: Int[Tensor, "B"]
    sigma: Float64[Tensor, "B L"]


def unread(active: Bool[Tensor, "B L"]) -> Rows:
    """Rows without predictions, for an order that needs none."""
    batch, position = active.nonzero(as_tuple=True)
    empty = torch.empty((len(batch), 0), device=active.device)
    return Rows(logits=empty, batch=batch, position=position)
