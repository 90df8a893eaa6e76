"""Log-SNR schedules: λ(t) = log(α/σ), what is left of a signal in Gaussian noise at time t.

    λ  +∞ ●                     t = 0   the signal
        4 ┤●                    t = 1   pure noise
        0 ┤ ●●___
       −4 ┤      ‾‾‾‾●●●__      Tangent(slope=9): most of the time is spent in much noise
       −∞ └┬────────────┬→ t
           0            1

Every Gaussian process is, but for a factor, x_0 + e^−λ·ε. A schedule is therefore a falling
function λ(t), with its derivative and its inverse; how the factor changes is the process's path
(`sfumato.noise.gaussian`). The bound does not depend on the schedule (VDM, arXiv 2107.00630, §4):
it says where training and sampling spend their steps.

Legend of shapes: `*S` any shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError


@runtime_checkable
class LogSnr(Protocol):
    """λ(t), falling from +∞ or a large number at t = 0 to −∞ or a small one at t = 1."""

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """λ(t)."""
        ...

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """λ′(t) < 0."""
        ...

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The t at which λ(t) equals `log_snr`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Tangent:
    """λ = −log(slope) − log tan(πt/2): α = 1/√(1 + slope²·tan²(πt/2)) if variance is preserved.

    TEncDM's tan-d (arXiv 2402.19097, §4.3) with slope = d; 1 is the cosine schedule of
    arXiv 2102.09672 without its offset, and a larger slope is that schedule shifted by −log d.

    Args:
        slope: positive; larger spends more of the time in noise.

    Raises:
        UsageError: the slope is not positive.

    Example:
        >>> Tangent(slope=1.0).value(torch.tensor([0.25]))
        tensor([0.8814])
    """

    slope: float = 9.0

    def __post_init__(self) -> None:
        if not self.slope > 0:
            raise UsageError(f"a tangent schedule needs slope > 0, got {self.slope}")

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−log(slope) − log tan(πt/2)."""
        return -math.log(self.slope) - torch.tan(math.pi / 2 * t).log()

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−π / sin(πt)."""
        return -math.pi / torch.sin(math.pi * t)

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """2/π · atan(e^−λ / slope)."""
        return 2 / math.pi * torch.atan(torch.exp(-log_snr) / self.slope)


@dataclass(frozen=True, kw_only=True)
class SquareRoot:
    """α² = 1 − √((t + offset) / (1 + offset)), where variance is preserved: Diffusion-LM's.

    arXiv 2205.14217, appendix A, divided by 1 + offset so that α(1) = 0. Already at t = 0 a word
    has noise of a standard deviation of offset^¼, a tenth, because words are apart.

    Args:
        offset: positive.

    Raises:
        UsageError: the offset is not positive.

    Example:
        >>> round(SquareRoot().value(torch.tensor([0.25])).item(), 3)  # α² is a half
        -0.0
    """

    offset: float = 1e-4

    def __post_init__(self) -> None:
        if not self.offset > 0:
            raise UsageError(f"a square-root schedule needs offset > 0, got {self.offset}")

    def _variance(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """σ²."""
        return ((t + self.offset) / (1 + self.offset)).sqrt()

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """½ log(α² / σ²)."""
        variance = self._variance(t)
        return (torch.log1p(-variance) - variance.log()) / 2

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−1 / (4·(1 + offset)·α²·σ⁴)."""
        variance = self._variance(t)
        return -1 / (4 * (1 + self.offset) * (1 - variance) * variance**2)

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """σ⁴·(1 + offset) − offset, and 0 for more signal than there is at t = 0."""
        variance = torch.sigmoid(-2 * log_snr)
        return (variance**2 * (1 + self.offset) - self.offset).clamp(min=0)


@dataclass(frozen=True, kw_only=True)
class LinearBeta:
    """α² = exp(−low·t − (high − low)·t²/2): a rate of noise that grows linearly.

    The variance-preserving process of arXiv 2011.13456, eq. 33; DDPM's in continuous time.

    Args:
        low: β at t = 0.
        high: β at t = 1.

    Raises:
        UsageError: not 0 < low < high.

    Example:
        >>> LinearBeta().value(torch.tensor([1.0])) < -5
        tensor([True])
    """

    low: float = 0.1
    high: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise UsageError(f"expected 0 < low < high, got low={self.low}, high={self.high}")

    def _noised(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−log α²."""
        return self.low * t + (self.high - self.low) / 2 * t**2

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """½ log(α² / σ²)."""
        noised = self._noised(t)
        return (-noised - (-torch.expm1(-noised)).log()) / 2

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−β(t) / (2σ²)."""
        rate = self.low + (self.high - self.low) * t
        return rate / 2 / torch.expm1(-self._noised(t))

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The positive root of −log α² = softplus(2λ) − 2λ."""
        noised = torch.logaddexp(-2 * log_snr, torch.zeros_like(log_snr))
        return 2 * noised / (self.low + (self.low**2 + 2 * (self.high - self.low) * noised).sqrt())


@dataclass(frozen=True, kw_only=True)
class Straight:
    """λ falls in a straight line from `high` to `low`.

    Args:
        high: λ at t = 0.
        low: λ at t = 1.

    Raises:
        UsageError: not high > low.

    Example:
        >>> Straight(high=6.0, low=-4.0).value(torch.tensor([0.5]))
        tensor([1.])
    """

    high: float = 5.0
    low: float = -5.0

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise UsageError(f"expected high > low, got high={self.high}, low={self.low}")

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """λ = high − (high − low)·t."""
        return self.high - (self.high - self.low) * t

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−(high − low)."""
        return torch.full_like(t, self.low - self.high)

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """(high − λ) / (high − low)."""
        return (self.high - log_snr) / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class Odds:
    """λ = log((1 − t) / t): α = 1 − t and σ = t on the path `Flow`, a straight line to noise.

    Flow matching's (arXiv 2210.02747, example II, with time reversed).

    Example:
        >>> Odds().value(torch.tensor([0.5]))
        tensor([0.])
    """

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """log((1 − t) / t)."""
        return torch.log1p(-t) - t.log()

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """−1 / (t·(1 − t))."""
        return -1 / (t * (1 - t))

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """1 / (1 + e^λ)."""
        return torch.sigmoid(-log_snr)


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """Another schedule, `by` higher everywhere: negative for more noise at each time.

    Wider latents need it, because they hide less behind the same noise (Simple Diffusion,
    arXiv 2301.11093, §3.1).

    Args:
        schedule: the other one.
        by: what is added to λ.

    Example:
        >>> Shifted(schedule=Tangent(slope=1.0), by=-2.0).value(torch.tensor([0.5]))
        tensor([-2.])
    """

    schedule: LogSnr
    by: float

    def value(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """λ(t) + by."""
        return self.schedule.value(t) + self.by

    def derivative(self, t: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """λ′(t)."""
        return self.schedule.derivative(t)

    def inverse(self, log_snr: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
        """The other's t of λ − by."""
        return self.schedule.inverse(log_snr - self.by)
