"""Uniform noise: a hit token becomes any token of the vocabulary, or, in hybrids, the mask.

    t = 0     The   cat   sat   on    the   mat
    t = ½     The   oak   sat   seven the   grey     which ones are wrong is not marked
    t = 1     ripe  of    Ann   blue  sing  tea

Every position may be wrong, so every position needs a prediction, and a reverse step may revise
any of them. Hybrid noise hides most of the hit tokens and replaces the others: most positions say
that they are noise, and the model still learns to find mistakes.

Legend of shapes: `B` batch, `L` positions, `V` vocabulary, `M` selected positions, `*S` any.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.routes import split_routes
from sfumato.noise.schedules import Linear, elbo_weight, log_snr
from sfumato.protocols import Schedule
from sfumato.types import Corrupted, Draw, Routes

_MAX_LOG_ODDS = 40.0  # no schedule in use goes so far, and e^80 is still a float32


@dataclass(frozen=True, kw_only=True)
class UniformProcess:
    """q(x_t | x_0) = α_t·δ_{x_0} + (1 − α_t)·π, position by position.

    The noise law π gives each of K tokens 1/K; in a hybrid the mask has a share m of it, and each
    of the K tokens 1/K′ with K′ = K/(1 − m). (GIDD, arXiv 2503.04482, lets m depend on t.)

    The reverse of this chain is known once the ratios q(j | x_0) / q(x_t | x_0) are averaged
    over the denoiser's p(x_0 | x_t). With z = x_t, g = α / ((1 − α)/K′), the odds of signal against
    one noise token, and ρ = 1 + g, these averages are, where z is one of the K tokens,

        s_j = c + g·p_j   for each other one j,       c = (1 − p_z) + p_z/ρ,

    and the negative ELBO is the integral of the generalised Kullback–Leibler divergence between
    their exact values r_j and s_j, times the rate of the chain (SEDD, arXiv 2310.16834; UDLM,
    arXiv 2412.10193; Duo, arXiv 2506.10892):

        −log p(x_0) ≤ ∫ −α′/α · E[ π_z · Σ_{j≠z} s_j − r_j + r_j·log(r_j/s_j) ] dt.

    It is an equality where p is the exact posterior p(x_0^i | x_t), which is also what a sampler
    draws x̂₀ from before it takes a route. UDLM and Duo insert the leave-one-out prediction
    p(x_0^i | x_t without its i-th token) instead; `posterior_logits` turns theirs into ours.

    Args:
        size: noise tokens are ids below this.
        schedule: α(t).
        excluded: ids below `size` that are not among the K, such as mask and padding.
        masked: m, the share of the hits that show the mask.
        mask: the mask token's id, for hybrid noise only.

    Raises:
        UsageError: an excluded id is out of range or named twice, no two tokens are left, or mask
            and share do not go together.

    Example:
        >>> process = UniformProcess(size=4, excluded=(1,))
        >>> process.prior(torch.tensor([0.0, 0.4, 0.9]))
        tensor([0, 2, 3])
    """

    size: int
    schedule: Schedule = field(default_factory=Linear)
    excluded: tuple[int, ...] = ()
    masked: float = 0.0
    mask: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.excluded) & set(range(self.size))) != len(self.excluded):
            raise UsageError(
                f"excluded ids must be distinct and in [0, {self.size}), got {self.excluded}"
            )
        if self.tokens < 2:
            raise UsageError(f"uniform noise needs at least two tokens, {self.tokens} are left")
        if not 0 <= self.masked < 1 or (self.masked > 0) != (self.mask is not None):
            raise UsageError(
                "hybrid noise needs a mask and the share of the hits that show it, in (0, 1); "
                f"got {self.mask} and {self.masked}"
            )
        if self.mask in set(range(self.size)) - set(self.excluded):
            raise UsageError(f"the mask {self.mask} is among the noise tokens: exclude it")

    @property
    def tokens(self) -> int:
        """K, how many tokens other than the mask noise can write."""
        return self.size - len(self.excluded)

    @property
    def one_in(self) -> float:
        """K′ = 1/π of each of them."""
        return self.tokens / (1 - self.masked)

    def prior(self, uniform: Float[Tensor, "*S"]) -> Int[Tensor, "*S"]:
        """Draws of the noise law, the state at t = 1: the mask below m, then the K ids in turn."""
        above = (uniform - self.masked) / (1 - self.masked)
        index = (above * self.tokens).long().clamp(min=0, max=self.tokens - 1)
        gaps = torch.tensor(sorted(self.excluded), device=uniform.device, dtype=torch.long)
        gaps = gaps - torch.arange(len(self.excluded), device=uniform.device)
        tokens = index + torch.searchsorted(gaps, index, right=True)
        return tokens if self.mask is None else tokens.masked_fill(above < 0, self.mask)

    def law(self, size: int) -> Float[Tensor, "V"]:
        """The noise law π over `size` ids, float64."""
        return self._noise(torch.arange(size), torch.float64)

    def corrupt(
        self, x_0: Int[Tensor, "B L"], editable: Bool[Tensor, "B L"], draw: Draw
    ) -> Corrupted:
        """Redraws the hit positions; all editable ones need a prediction."""
        hit = draw.hit & editable
        x_t = torch.where(hit, self.prior(draw.uniform).to(x_0), x_0)
        return Corrupted(x_t=x_t, where=editable)

    def elbo(
        self,
        log_p: Float[Tensor, "M V"],
        x_0: Int[Tensor, "M"],
        x_t: Int[Tensor, "M"],
        t: Float[Tensor, "M"],
        rate: Float[Tensor, "M"],
    ) -> Float[Tensor, "M"]:
        """The integrand of the bound, nats; `rate` is not needed, t says it all.

        With λ = −α′/(1 − α), h(y) = y − log(1 + y) and T = Σ_{j≠z} log(1 + g·p_j/c), the sum
        over the vocabulary reduces to

            x_t = x_0:  λ·[ (1 − p_z) + ((K′ − 1)·h(g·(1 − p_z)) − T)/(g·ρ) ]
            x_t ≠ x_0:  λ·[     − p_z + ((K′ − 1)·h(−g·p_z/ρ) − T)/g + ρ/g·log ρ − log s_{x_0} ].

        T is the only pass over the vocabulary, and each form is free of cancellation at both
        ends of time. The mask's own term has the shape of h and counts as K′ − K tokens; at
        x_t = mask, p_z is 0. A position holding a token that noise never writes is clean and
        costs 0.
        """
        log_g = self._log_odds(t).to(log_p)
        g, rho = log_g.exp(), 1 + log_g.exp()
        log_p_z = log_p.gather(1, x_t[:, None].long())[:, 0]
        p_z, miss = log_p_z.exp(), -torch.expm1(log_p_z.clamp(max=0))
        log_c = (miss + p_z / rho).log()
        kept = x_t == x_0
        y = torch.where(kept, g * miss, -g * p_z / rho)
        log1p_y = torch.where(kept, torch.log1p(g * miss), log_c)
        over = (self.one_in - 1) * _excess(y, log1p_y) - self._total(log_p, x_t, log_g - log_c)
        common = kept.to(p_z) - p_z + over / (g * torch.where(kept, rho, 1))
        missed = torch.where(kept, 0, self._missed(log_p, x_0, log_g, log_c))
        value = elbo_weight(self.schedule, t).to(log_p) * (common + missed)
        return torch.where(self._noise(x_t, log_p.dtype) > 0, value, 0)

    def routes(
        self,
        x_t: Int[Tensor, "M"],
        x_0: Int[Tensor, "M"],
        alpha_t: Float[Tensor, "M"],
        alpha_s: Float[Tensor, "M"],
    ) -> Routes:
        """Any token may stay, become x̂₀ or be redrawn, by π(x_t)."""
        return split_routes(self._noise(x_t, alpha_t.dtype), x_t == x_0, alpha_t, alpha_s)

    def posterior_logits(
        self, logits: Float[Tensor, "M V"], x_t: Int[Tensor, "M"], t: Float[Tensor, "M"]
    ) -> Float[Tensor, "M V"]:
        """Leave-one-out logits → posterior logits: adds log ρ(t), the evidence of x_t for itself.

        By Bayes, p(x_0 | x_t) ∝ p(x_0 | the other tokens) · q(x_t | x_0). The factor on the left
        depends on t only weakly, so a network that is not told t can learn it; the one on the
        right is known.

        Args:
            logits: of p(x_0^i | x_t without its i-th token), up to a constant a row.
            x_t: the present tokens.
            t: their times.

        Example:
            >>> flat = torch.zeros(1, 3)
            >>> process = UniformProcess(size=3)
            >>> process.posterior_logits(flat, torch.tensor([1]), torch.tensor([0.5])).exp()
            tensor([[1., 4., 1.]])
        """
        evidence = torch.log1p(self._log_odds(t).exp()).to(logits)
        return logits.scatter_add(1, x_t[:, None].long(), evidence[:, None])

    def _log_odds(self, t: Float[Tensor, "M"]) -> Float[Tensor, "M"]:
        """The log of g, log K′ + log SNR, finite at both ends of time."""
        return (math.log(self.one_in) + log_snr(self.schedule, t)).clamp(
            -_MAX_LOG_ODDS, _MAX_LOG_ODDS
        )

    def _noise(self, ids: Int[Tensor, "M"], dtype: torch.dtype) -> Float[Tensor, "M"]:
        """π of these tokens."""
        each = self._writes(ids).to(dtype) / self.one_in
        return each if self.mask is None else each.masked_fill(ids == self.mask, self.masked)

    def _writes(self, ids: Int[Tensor, "M"]) -> Bool[Tensor, "M"]:
        """Whether these tokens are among the K."""
        excluded = torch.tensor(self.excluded, dtype=ids.dtype, device=ids.device)
        return (ids < self.size) & ~torch.isin(ids, excluded)

    def _total(
        self, log_p: Float[Tensor, "M V"], x_t: Int[Tensor, "M"], shift: Float[Tensor, "M"]
    ) -> Float[Tensor, "M"]:
        """T = Σ log(1 + e^shift · p_j) over the noise tokens j ≠ x_t."""
        excluded = torch.tensor(self.excluded, dtype=torch.long, device=x_t.device)
        left_out = torch.cat((excluded.expand(len(x_t), -1), x_t[:, None].long()), dim=1)
        terms = torch.nn.functional.softplus(log_p[:, : self.size] + shift[:, None])
        inside = left_out < self.size  # a mask need not be
        return terms.sum(1) - (terms.gather(1, left_out * inside) * inside).sum(1)

    def _missed(
        self,
        log_p: Float[Tensor, "M V"],
        x_0: Int[Tensor, "M"],
        log_g: Float[Tensor, "M"],
        log_c: Float[Tensor, "M"],
    ) -> Float[Tensor, "M"]:
        """ρ/g·log ρ − log s at x_0; plain −log p where noise never writes x_0."""
        log_p_x = log_p.gather(1, x_0[:, None].long())[:, 0]
        g = log_g.exp()
        missed = torch.log1p(g) * (1 + 1 / g) - torch.logaddexp(log_c, log_g + log_p_x)
        return torch.where(self._writes(x_0), missed, -log_p_x)


def _excess(y: Float[Tensor, "M"], log1p_y: Float[Tensor, "M"]) -> Float[Tensor, "M"]:
    """h(y) = y − log(1 + y) ≥ 0, by its series near 0, where the difference would cancel."""
    small = y.clamp(-0.1, 0.1)
    powers = [(-1) ** n * small**n / n for n in range(2, 10)]
    return torch.where(y.abs() < 0.1, torch.stack(powers).sum(0), y - log1p_y)
