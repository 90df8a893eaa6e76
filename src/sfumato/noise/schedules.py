"""Schedules: α(t), the share of clean signal that is left at time t.

    α  1 ┤●●●__                      t = 0   clean text
         │     ‾●●_                  t = 1   pure noise
         │         ‾●●_              a reverse step goes from t to s < t, so α_s > α_t
       0 ┤             ‾●●
         └┬───────────────┬→ t
          0  text   noise 1

A schedule is its value, its derivative and its inverse. The bound that a model is trained on
is an integral over α, so every schedule gives the same bound (MD4, arXiv 2406.04329); what a
schedule changes is the variance of training and where a sampler spends its steps.

Legend of shapes: `*S` any shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.protocols import Schedule


@dataclass(frozen=True, kw_only=True)
class Linear:
    """α(t) = 1 − t: the share of noise is the time. The default.

    Example:
        >>> Linear().alpha(torch.tensor([0.0, 0.25, 1.0]))
        tensor([1.0000, 0.7500, 0.0000])
    """

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − t."""
        return 1 - t

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−1."""
        return -torch.ones_like(t)

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − α."""
        return 1 - alpha


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """α(t) = 1 − cos(π/2 · (1 − t)): slow at the noisy end (MD4, table 1).

    Example:
        >>> Cosine().alpha(torch.tensor([0.0, 1.0]))
        tensor([1., 0.])
    """

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − cos(π/2 · (1 − t))."""
        return 1 - torch.cos(math.pi / 2 * (1 - t))

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−π/2 · sin(π/2 · (1 − t))."""
        return -math.pi / 2 * torch.sin(math.pi / 2 * (1 - t))

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − 4/π · asin √(α/2), which is 1 − 2/π · acos(1 − α) without its cancellation."""
        return 1 - 4 / math.pi * torch.asin((alpha / 2).sqrt())


@dataclass(frozen=True, kw_only=True)
class Polynomial:
    """α(t) = 1 − t^power: more than 1 keeps text clean for longer (MD4, table 1).

    Args:
        power: positive; 1 is `Linear`.

    Raises:
        UsageError: the power is not positive.

    Example:
        >>> Polynomial(power=2.0).alpha(torch.tensor([0.5]))
        tensor([0.7500])
    """

    power: float

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise UsageError(f"a polynomial schedule needs power > 0, got {self.power}")

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − t^power."""
        return 1 - t**self.power

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−power · t^(power − 1)."""
        return -self.power * t ** (self.power - 1)

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """(1 − α)^(1/power)."""
        return (1 - alpha) ** (1 / self.power)


@dataclass(frozen=True, kw_only=True)
class LogLinear:
    """α = exp(−σ), σ(t) = −log(1 − (1 − floor)·t): MDLM's noise (arXiv 2406.07524).

    That is a straight line from 1 to `floor`: `Linear` for floor = 0. With a floor the noise is
    never complete, α(1) = floor instead of 0, and the bound lacks what the floor holds back.
    It is here for checkpoints that were trained with it.

    Args:
        floor: the signal left at t = 1, in [0, 1).

    Raises:
        UsageError: the floor is outside [0, 1).

    Example:
        >>> LogLinear(floor=0.5).alpha(torch.tensor([0.0, 1.0]))
        tensor([1.0000, 0.5000])
    """

    floor: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.floor < 1:
            raise UsageError(f"a log-linear schedule needs 0 <= floor < 1, got {self.floor}")

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − (1 − floor) · t."""
        return 1 - (1 - self.floor) * t

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−(1 − floor)."""
        return torch.full_like(t, self.floor - 1)

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """(1 − α) / (1 − floor), and 1 for any α below the floor."""
        return ((1 - alpha) / (1 - self.floor)).clamp(max=1)


@dataclass(frozen=True, kw_only=True)
class Geometric:
    """α = exp(−σ), σ(t) = low^(1−t) · high^t, stretched so that α(0) = 1 and α(1) = 0 exactly.

    SEDD's geometric noise (arXiv 2310.16834) starts at exp(−low) and ends at exp(−high).
    With δ(t) = σ(t) − low the stretched schedule is α(t) = 1 − (1 − e^−δ(t)) / (1 − e^−δ(1)).

    Args:
        low: σ at t = 0.
        high: σ at t = 1.

    Raises:
        UsageError: not 0 < low < high.

    Example:
        >>> Geometric().alpha(torch.tensor([0.0, 1.0]))
        tensor([1., 0.])
    """

    low: float = 1e-4
    high: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise UsageError(
                f"a geometric schedule needs 0 < low < high, got low={self.low}, high={self.high}"
            )

    @property
    def _growth(self) -> float:
        """log(high / low), the rate at which σ grows."""
        return math.log(self.high / self.low)

    @property
    def _range(self) -> float:
        """1 − e^−δ(1), what the published schedule covers of [0, 1]."""
        return -math.expm1(self.low - self.high)

    def alpha(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 − (1 − e^−δ) / (1 − e^−δ(1)), never below 0 by rounding."""
        delta = self.low * torch.expm1(self._growth * t)
        return (1 + torch.expm1(-delta) / self._range).clamp(min=0)

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−σ′ · e^−δ / (1 − e^−δ(1)) with σ′ = σ · log(high / low)."""
        sigma = self.low * torch.exp(self._growth * t)
        return -self._growth * sigma * torch.exp(self.low - sigma) / self._range

    def inverse(self, alpha: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """log(1 + δ/low) / log(high/low) with δ = −log(1 − (1 − α) · (1 − e^−δ(1)))."""
        delta = -torch.log1p((alpha - 1) * self._range)
        return (torch.log1p(delta / self.low) / self._growth).clamp(max=1)


def log_snr(schedule: Schedule, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """log(α / (1 − α)), the log signal-to-noise ratio of discrete noise (MD4).

    Example:
        >>> log_snr(Linear(), torch.tensor([0.5]))
        tensor([0.])
    """
    alpha = schedule.alpha(t)
    return alpha.log() - torch.log1p(-alpha)


def elbo_weight(schedule: Schedule, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """−α′ / (1 − α), the weight of a hit position in the ELBO; 1/t for `Linear`.

    Zero where 1 − α rounds to zero: nothing is hit there.

    Example:
        >>> elbo_weight(Linear(), torch.tensor([0.5, 0.0]))
        tensor([2., 0.])
    """
    noise = 1 - schedule.alpha(t)
    hit = noise > 0
    return torch.where(hit, -schedule.derivative(t) / torch.where(hit, noise, 1), 0)
