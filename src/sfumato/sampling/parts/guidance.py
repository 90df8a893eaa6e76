"""Guidance: a second prediction, from a canvas without its prompt, bends the first.

The guidance formula stands here and nowhere else.

Legend of shapes: `B` batch, `L` positions, `M` predicted positions, `V` vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.protocols import Denoiser

_IMPOSSIBLE = -1e30


@dataclass(frozen=True, kw_only=True)
class ClassifierFree:
    """ℓ = ℓ_u + (1 + w)·(ℓ_c − ℓ_u), where ℓ_u does not see the prompt (Ho and Salimans, 2207.12598).

    The prompt is masked, not dropped, as in LLaDA (2502.09992, appendix A). In terms of
    γ·log p_c + (1 − γ)·log p_u, γ = 1 + w.

    Attributes:
        scale: w; positive strengthens the prompt, −1 ignores it. Doubles the cost of a pass.

    Raises:
        UsageError: a scale of 0, which would double the cost for nothing.

    Example:
        >>> ClassifierFree(scale=1.0).combine(torch.tensor([[2.0]]), torch.tensor([[0.5]]))
        tensor([[3.5000]])
    """

    scale: float

    def __post_init__(self) -> None:
        if self.scale == 0 or not math.isfinite(self.scale):
            raise UsageError(
                f"guidance needs a finite scale other than 0, got {self.scale}: leave it out"
            )

    def combine(
        self, conditional: Float[Tensor, "M V"], unconditional: Float[Tensor, "M V"]
    ) -> Float[Tensor, "M V"]:
        """The formula; a token that both forbid stays impossible instead of ∞ − ∞."""
        base = unconditional.clamp(min=_IMPOSSIBLE)
        return (conditional.clamp(min=_IMPOSSIBLE) - base).mul_(1 + self.scale).add_(base)

    def predict(
        self,
        denoiser: Denoiser,
        x_t: Int[Tensor, "B L"],
        null: Int[Tensor, "B L"],
        where: Bool[Tensor, "B L"],
        *,
        attend: Bool[Tensor, "B L"] | None,
        t: Float[Tensor, "B"],
    ) -> Float[Tensor, "M V"]:
        """Guided logits at `where`, from one forward over both canvases.

        Args:
            denoiser: the network.
            x_t: the canvas.
            null: the canvas with its prompt masked.
            where: positions to predict.
            attend: positions that exist; None means all.
            t: time of each row.
        """
        logits = denoiser(
            torch.cat([x_t, null]),
            torch.cat([where, where]),
            attend=None if attend is None else torch.cat([attend, attend]),
            t=torch.cat([t, t]),
        )
        conditional, unconditional = logits.chunk(2)
        return self.combine(conditional, unconditional)
