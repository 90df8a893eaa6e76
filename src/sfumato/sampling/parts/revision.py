"""Revision: written tokens may be taken back, or replaced by better ones.

    ReMDM             takes tokens back at random, as a posterior with the same marginals does
    EditByThreshold   replaces a token when the model is sure of another

Legend of shapes: `B` batch, `L` positions, `M` positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.sampling.parts.logits import Rows


@runtime_checkable
class Remasking(Protocol):
    """σ_t, the probability that a written token is taken back in a step."""

    def sigma(
        self,
        sigma_max: Float64[Tensor, "B"],
        confidence: Float[Tensor, "B L"],
        written: Bool[Tensor, "B L"],
    ) -> Float64[Tensor, "B L"]:
        """σ at every position.

        Args:
            sigma_max: the largest σ that keeps the marginals.
            confidence: probability of each written token when it was written.
            written: the tokens that may be taken back.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Cap:
    """σ = min(η, σ_max) (ReMDM, 2503.00307, §4.1, max-capped).

    Attributes:
        eta: η, in (0, 1].
    """

    eta: float = 0.02

    def __post_init__(self) -> None:
        _check_eta(self.eta)

    def sigma(
        self,
        sigma_max: Float64[Tensor, "B"],
        confidence: Float[Tensor, "B L"],
        written: Bool[Tensor, "B L"],
    ) -> Float64[Tensor, "B L"]:
        """The same everywhere."""
        return sigma_max.clamp(max=self.eta)[:, None].expand(written.shape)


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """σ = η·σ_max (ReMDM, §4.1, rescaled).

    Attributes:
        eta: η, in (0, 1].
    """

    eta: float = 0.1

    def __post_init__(self) -> None:
        _check_eta(self.eta)

    def sigma(
        self,
        sigma_max: Float64[Tensor, "B"],
        confidence: Float[Tensor, "B L"],
        written: Bool[Tensor, "B L"],
    ) -> Float64[Tensor, "B L"]:
        """The same everywhere."""
        return (self.eta * sigma_max)[:, None].expand(written.shape)


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """σ_i = σ_max · softmax(−p)_i over the written tokens (ReMDM, §4.1, confidence-based).

    p is the probability that a token had when it was written. A pending position has σ = 0, so
    the chance of being written is that of plain ancestral sampling.
    """

    def sigma(
        self,
        sigma_max: Float64[Tensor, "B"],
        confidence: Float[Tensor, "B L"],
        written: Bool[Tensor, "B L"],
    ) -> Float64[Tensor, "B L"]:
        """More where the model was less sure."""
        doubt = (-confidence.double()).masked_fill(~written, -torch.inf)
        share = torch.softmax(doubt, 1).nan_to_num(0.0)
        return share * sigma_max[:, None]


@dataclass(frozen=True, kw_only=True)
class ReMDM:
    """Takes written tokens back with probability σ_t and writes the more elsewhere.

        σ_max = min(1, (1 − α_s) / α_t)

    Attributes:
        remasking: how σ follows from σ_max.
        window: times (on, off) between which tokens are taken back; with the schedule
            `Plateau` over the same window this is ReMDM-loop. None means always.

    Raises:
        UsageError: not 1 ≥ on > off ≥ 0.
    """

    remasking: Remasking
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.window is not None and not 1 >= self.window[0] > self.window[1] >= 0:
            raise UsageError(f"a window needs 1 ≥ on > off ≥ 0, got {self.window}")

    def sigma(
        self,
        time: Float64[Tensor, "B"],
        alphas: tuple[Float64[Tensor, "B"], Float64[Tensor, "B"]],
        confidence: Float[Tensor, "B L"],
        written: Bool[Tensor, "B L"],
    ) -> Float64[Tensor, "B L"]:
        """σ at every position for a step from α_t to α_s that begins at `time`."""
        alpha_t, alpha_s = alphas
        sigma_max = ((1 - alpha_s) / alpha_t.clamp(min=1e-12)).clamp(max=1)
        if self.window is not None:
            on, off = self.window
            sigma_max = sigma_max * ((time <= on) & (time > off))
        return self.remasking.sigma(sigma_max, confidence, written)


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """A schedule that rises to a plateau, stays for a while and rises to 1 (ReMDM-loop, §4.2).

        α  = (1 − t)·level / (1 − on)      t > on
           = level                         on ≥ t > off
           = 1 − t·(1 − level) / off       off ≥ t

    Attributes:
        level: α on the plateau, in (0, 1).
        on: time at which the plateau begins.
        off: time at which it ends.

    Raises:
        UsageError: not 1 > on > off > 0, or a level outside (0, 1).

    Example:
        >>> Plateau().alpha(torch.tensor([1.0, 0.3, 0.0]))
        tensor([0.0000, 0.9000, 1.0000])
    """

    level: float = 0.9
    on: float = 0.55
    off: float = 0.05

    def __post_init__(self) -> None:
        if not (1 > self.on > self.off > 0 and 0 < self.level < 1):
            raise UsageError(
                "a plateau needs 1 > on > off > 0 and 0 < level < 1, got "
                f"on={self.on}, off={self.off}, level={self.level}"
            )

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """α(t)."""
        rise = (1 - t) * self.level / (1 - self.on)
        end = 1 - t * (1 - self.level) / self.off
        return torch.where(t > self.on, rise, end.clamp(min=self.level))

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """α′(t), 0 on the plateau."""
        rise = torch.full_like(t, -self.level / (1 - self.on))
        end = torch.full_like(t, -(1 - self.level) / self.off)
        return torch.where(t > self.on, rise, torch.where(t > self.off, 0, end))

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The t of α; the plateau's beginning for its level."""
        rise = 1 - alpha * (1 - self.on) / self.level
        end = (1 - alpha) * self.off / (1 - self.level)
        return torch.where(alpha <= self.level, rise, end)


@dataclass(frozen=True, kw_only=True)
class EditByThreshold:
    """Replaces a written token when another has at least this probability (LLaDA2.1, T2T editing).

    Needs a model that was trained to correct visible tokens; a purely masked one predicts only
    masks well. Each pass projects the written positions of the block too.

    Attributes:
        probability: the threshold, 0 to 1.

    Example:
        >>> place, logits = torch.tensor([0]), torch.tensor([[0.05, 0.95]]).log()
        >>> rows = Rows(logits=logits, batch=place, position=place)
        >>> EditByThreshold(probability=0.9).replacements(rows, torch.tensor([0]))
        (tensor([1]), tensor([True]))
    """

    probability: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UsageError(f"the threshold must lie in (0, 1], got {self.probability}")

    def replacements(
        self, rows: Rows, present: Int[Tensor, "M"]
    ) -> tuple[Int[Tensor, "M"], Bool[Tensor, "M"]]:
        """The likeliest token of each row, and whether it replaces the present one."""
        best = rows.logits.max(1).indices
        return best, (best != present) & (rows.max_prob >= self.probability)


def _check_eta(eta: float) -> None:
    if not 0 < eta <= 1:
        raise UsageError(f"eta must lie in (0, 1], got {eta}")
