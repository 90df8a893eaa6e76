"""Predictions at the active positions: their statistics, and draws that are exact in law.

A statistic costs one or two passes over [M, V] in float32 and is computed when it is first
read. A draw touches only the rows that were chosen, and only a running sum of theirs is float64.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `K` chosen ones of
them, `N` likeliest tokens, `V` vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError

_NUCLEUS = 1024
_UNDERFLOW = -80.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Logits at M positions of a batch, row-major, and what can be read from them.

    Attributes:
        logits: float32, −∞ where a token is forbidden, *shape* `M V`; `M 0` where an order
            asks for no prediction.
        batch: row of the batch that each position belongs to, *shape* `M`.
        position: its position on the canvas, *shape* `M`.
        drawn: a token drawn for each position before the positions are chosen, *shape* `M`;
            only the order `sampled_prob` wants it.

    Example:
        >>> place = torch.tensor([0])
        >>> rows = Rows(logits=torch.tensor([[3.0, 1.0, 1.0]]).log(), batch=place, position=place)
        >>> rows.max_prob, rows.margin
        (tensor([0.6000]), tensor([0.4000]))
    """

    logits: Float[Tensor, "M V"]
    batch: Int[Tensor, "M"]
    position: Int[Tensor, "M"]
    drawn: Int[Tensor, "M"] | None = None

    @cached_property
    def top(self) -> Float[Tensor, "M"]:
        """The largest logit."""
        return self.logits.amax(1)

    @cached_property
    def log_z(self) -> Float[Tensor, "M"]:
        """The log of Σ exp over the vocabulary."""
        return self.top + (self.logits - self.top[:, None]).exp_().sum(1).log()

    @cached_property
    def max_prob(self) -> Float[Tensor, "M"]:
        """Probability of the likeliest token."""
        return (self.top - self.log_z).exp()

    @cached_property
    def margin(self) -> Float[Tensor, "M"]:
        """Probability of the likeliest token less that of the second."""
        first, second = self.logits.topk(2).values.unbind(1)
        return (first - self.log_z).exp() - (second - self.log_z).exp()

    @cached_property
    def entropy(self) -> Float[Tensor, "M"]:
        """H = log Z − Σ w·ℓ / Z in nats, with ℓ relative to the largest logit and w = exp ℓ."""
        # e⁻⁸⁰ adds nothing in float32, and 0 · (−∞) must not become NaN.
        relative = (self.logits - self.top[:, None]).clamp_(min=_UNDERFLOW)
        weight = relative.exp()
        total = weight.sum(1)
        return total.log() - weight.mul_(relative).sum(1) / total

    def prob(self, tokens: Int[Tensor, "M"]) -> Float[Tensor, "M"]:
        """Probability of one token at each position, at temperature 1."""
        return (self.logits.gather(1, tokens[:, None])[:, 0] - self.log_z).exp()

    def at(self, where: Bool[Tensor, "B L"]) -> Rows:
        """The rows of some positions."""
        kept = where[self.batch, self.position]
        if bool(kept.all()):
            return self
        return Rows(
            logits=self.logits[kept],
            batch=self.batch[kept],
            position=self.position[kept],
            drawn=None if self.drawn is None else self.drawn[kept],
        )


@dataclass(frozen=True, kw_only=True)
class TokenSampler:
    """Draws tokens: temperature, then top-k, then top-p, then min-p, then an inverse-CDF draw.

    Gumbel numbers in float32 sit on a grid of 2⁻²⁴ and cut the tail off, which lowers the
    temperature in secret (Zheng et al., 2409.02908). Here the running sum of one row is float64
    and so is the number that is looked up in it: every token comes with its probability.

    Attributes:
        temperature: 0 takes the likeliest token; a pair goes from the first value at the
            beginning of a block (t = 1) to the second at its end (t = 0).
        top_k: keep this many of the likeliest tokens.
        top_p: keep the fewest tokens whose mass reaches this (Holtzman et al., 1904.09751).
        min_p: keep tokens at least this share as likely as the likeliest (2407.01082).

    Raises:
        UsageError: a value out of range, or a truncation that temperature 0 makes idle.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> number, time = torch.tensor([0.6]).double(), torch.ones(1).double()
        >>> TokenSampler().draw(logits, number, time)
        tensor([1])
    """

    temperature: float | tuple[float, float] = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        ends = self._ends
        if not all(math.isfinite(end) and end >= 0 for end in ends):
            raise UsageError(f"temperature must be finite and ≥ 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be at least 1, got {self.top_k}")
        for name, share in (("top_p", self.top_p), ("min_p", self.min_p)):
            if share is not None and not 0 < share < 1:
                raise UsageError(f"{name} must lie between 0 and 1, got {share}; or leave it out")
        if self.greedy and (self.top_k or self.top_p or self.min_p):
            raise UsageError("top_k, top_p and min_p have no effect at temperature 0: drop them")

    @property
    def greedy(self) -> bool:
        """Whether it always takes the likeliest token."""
        return max(self._ends) == 0

    def draw(
        self,
        logits: Float[Tensor, "K V"],
        uniform: Float64[Tensor, "K"],
        time: Float64[Tensor, "K"],
    ) -> Int[Tensor, "K"]:
        """One token for each row.

        Args:
            logits: rows to draw from.
            uniform: a number in [0, 1) for each row.
            time: t of each row, for a temperature that changes.
        """
        if self.greedy:
            return logits.max(1).indices
        start, end = self._ends
        temperature = (end + (start - end) * time).clamp(min=1e-6).to(logits)
        weights = (logits - logits.amax(1, keepdim=True)).div_(temperature[:, None]).exp_()
        if self.top_k is None and self.top_p is None:
            return inverse_cdf(self._above_min(weights), uniform)
        kept, tokens = _likeliest(weights, self.top_k, self.top_p)
        return tokens.gather(1, inverse_cdf(self._above_min(kept), uniform)[:, None])[:, 0]

    @property
    def _ends(self) -> tuple[float, float]:
        if isinstance(self.temperature, tuple):
            return self.temperature
        return self.temperature, self.temperature

    def _above_min(self, weights: Float[Tensor, "K V"]) -> Float[Tensor, "K V"]:
        """The likeliest token has weight 1."""
        return weights if self.min_p is None else weights * (weights >= self.min_p)


def inverse_cdf(weights: Float[Tensor, "K V"], uniform: Float64[Tensor, "K"]) -> Int[Tensor, "K"]:
    """Draws i with probability w_i / Σ w: the first i whose running sum exceeds u · Σ w.

    Args:
        weights: float32, not negative; a running sum in float64 keeps each to 2⁻²⁴ of itself.
        uniform: numbers in [0, 1).

    Example:
        >>> inverse_cdf(torch.tensor([[0.0, 2.0, 2.0]]), torch.tensor([0.4]).double())
        tensor([1])
    """
    running = weights.cumsum(1, dtype=torch.float64)
    total = running[:, -1:]
    # u · Σ w may round up to Σ w, which no running sum exceeds.
    target = torch.minimum(uniform[:, None] * total, torch.nextafter(total, total.new_zeros(1)))
    return torch.searchsorted(running, target, right=True)[:, 0]


def _likeliest(
    weights: Float[Tensor, "K V"], top_k: int | None, top_p: float | None
) -> tuple[Float[Tensor, "K N"], Int[Tensor, "K N"]]:
    """Weights of the kept tokens, largest first, and their ids; zero weight where cut off."""
    size = weights.shape[1]
    kept, tokens = weights.topk(min(top_k or _NUCLEUS, size))
    if top_p is None:
        return kept, tokens
    total = (weights if top_k is None else kept).sum(1, keepdim=True, dtype=torch.float64)
    if top_k is None and bool((kept.sum(1, keepdim=True) < top_p * total).any()):
        # A flat row: its nucleus is wider than what was looked at, and a full sort is due.
        kept, tokens = weights.sort(1, descending=True)
    before = kept.cumsum(1, dtype=torch.float64) - kept
    return kept * (before < top_p * total), tokens
