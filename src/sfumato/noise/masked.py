"""Masked (absorbing) noise: a token is either itself or the mask.

    t = 0     The   cat   sat   on    the   mat
    t = ½     The   ▒▒▒   sat   ▒▒▒   ▒▒▒   mat      each token is masked with chance 1 − α(t)
    t = 1     ▒▒▒   ▒▒▒   ▒▒▒   ▒▒▒   ▒▒▒   ▒▒▒

Legend of shapes: `B` batch, `L` positions, `V` vocabulary, `M` selected positions, `*S` any.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.noise.routes import split_routes
from sfumato.noise.schedules import Linear
from sfumato.protocols import Schedule
from sfumato.types import Corrupted, Draw, Routes


@dataclass(frozen=True, kw_only=True)
class MaskedProcess:
    """q(x_t | x_0) = α_t·δ_{x_0} + (1 − α_t)·δ_mask, on each editable position by itself.

    The negative ELBO is a weighted cross-entropy of the masked positions (MDLM, arXiv
    2406.07524; MD4, arXiv 2406.04329), in either of two forms with the same mean:

        −log p(x_0) ≤ ∫ −α′_t/(1 − α_t) · E[ Σ_masked −log p(x_0^i | x_t) ] dt    t continuous
                    = E_{k ~ U{1..n}} n/k · E[ Σ_k masked −log p(x_0^i | x_t) ]   exact counts

    Both are equalities where p gives the exact conditionals: every order of writing multiplies
    to the same joint. The best prediction does not depend on t (RADD, arXiv 2406.03736).

    Args:
        mask: the mask token's id.
        schedule: α(t).

    Example:
        >>> process = MaskedProcess(mask=0)
        >>> process.prior(torch.tensor([0.3, 0.8]))
        tensor([0, 0])
    """

    mask: int
    schedule: Schedule = field(default_factory=Linear)

    def prior(self, uniform: Float[Tensor, "*S"]) -> Int[Tensor, "*S"]:
        """Draws of the noise law, the state at t = 1: always the mask."""
        return torch.full_like(uniform, self.mask, dtype=torch.long)

    def law(self, size: int) -> Float[Tensor, "V"]:
        """The noise law π = δ_mask over `size` ids, float64."""
        return torch.nn.functional.one_hot(torch.tensor(self.mask), size).double()

    def corrupt(
        self, x_0: Int[Tensor, "B L"], editable: Bool[Tensor, "B L"], draw: Draw
    ) -> Corrupted:
        """Masks the hit positions; these are the ones that need a prediction."""
        hit = draw.hit & editable
        return Corrupted(x_t=x_0.masked_fill(hit, self.mask), where=hit)

    def elbo(
        self,
        log_p: Float[Tensor, "M V"],
        x_0: Int[Tensor, "M"],
        x_t: Int[Tensor, "M"],
        t: Float[Tensor, "M"],
        rate: Float[Tensor, "M"],
    ) -> Float[Tensor, "M"]:
        """−rate · log p(x_0 | x_t), nats, at a mask; nothing where the token is still there."""
        log_p_x = log_p.gather(1, x_0[:, None].long())[:, 0]
        return torch.where(x_t == self.mask, -rate.to(log_p) * log_p_x, 0)

    def routes(
        self,
        x_t: Int[Tensor, "M"],
        x_0: Int[Tensor, "M"],
        alpha_t: Float[Tensor, "M"],
        alpha_s: Float[Tensor, "M"],
    ) -> Routes:
        """A mask takes x̂₀ with probability (α_s − α_t)/(1 − α_t); a written token stays."""
        return split_routes((x_t == self.mask).to(alpha_t), x_t == x_0, alpha_t, alpha_s)
