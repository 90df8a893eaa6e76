"""At which times a Gaussian process is walked back, from the noisiest to the last before clean.

    Times         even in t, as most papers do
    LogSnrs       even in λ: what DPM-Solver needs to be of its order with few steps
    Karras        even in σ^(1/ρ), σ = e^−λ (EDM, arXiv 2206.00364, eq. 5)

On a schedule that spends most of the time in noise, `Times` takes its last steps over a wide
range of λ, and deterministic solvers then return far too little variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float64
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess


@runtime_checkable
class Grid(Protocol):
    """Times for a number of steps."""

    def times(self, process: GaussianProcess, steps: int) -> Float64[Tensor, "N"]:
        """As many falling times as steps, the first at the least λ of its reach."""
        ...


@dataclass(frozen=True, kw_only=True)
class Times:
    """Even in t, from the time of the most noise down to `end`.

    Attributes:
        end: the last time before clean; None goes on evenly toward t = 0.

    Example:
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Straight
        >>> process = GaussianProcess(schedule=Straight(high=5.0, low=-6.0), path=Flow())
        >>> Times().times(process, 4).tolist()
        [1.0, 0.75, 0.5, 0.25]
    """

    end: float | None = None

    def times(self, process: GaussianProcess, steps: int) -> Float64[Tensor, "N"]:
        """Even in t."""
        first = _time(process, process.reach[0])
        if self.end is not None:
            return _even(first, self.end, steps)
        return _even(first, 0.0, steps + 1)[:-1]


@dataclass(frozen=True, kw_only=True)
class LogSnrs:
    """Even in λ, from one end of the process's reach to the other.

    Example:
        >>> from sfumato.noise.gaussian import Flow
        >>> from sfumato.noise.log_snr import Straight
        >>> process = GaussianProcess(schedule=Straight(high=5.0, low=-5.0), path=Flow(), low=-5.0)
        >>> LogSnrs().times(process, 3).tolist()
        [1.0, 0.5, 0.0]
    """

    def times(self, process: GaussianProcess, steps: int) -> Float64[Tensor, "N"]:
        """Even in λ."""
        return process.time(_even(*process.reach, steps))


@dataclass(frozen=True, kw_only=True)
class Karras:
    """Even in σ^(1/ρ), where σ = e^−λ is the noise beside a signal of size one.

    Attributes:
        rho: larger takes shorter steps near the clean end; 7 in EDM.

    Raises:
        UsageError: ρ is not positive.

    Example:
        >>> from sfumato.noise.gaussian import Exploding
        >>> from sfumato.noise.log_snr import Straight
        >>> process = GaussianProcess(schedule=Straight(), path=Exploding(), low=-5.0, high=5.0)
        >>> Karras(rho=1.0).times(process, 2).tolist()
        [1.0, 0.0]
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise UsageError(f"a Karras grid needs rho > 0, got {self.rho}")

    def times(self, process: GaussianProcess, steps: int) -> Float64[Tensor, "N"]:
        """Even in σ^(1/ρ)."""
        ends = torch.tensor(process.reach, dtype=torch.float64).neg() / self.rho
        first, last = ends.exp().tolist()
        roots = _even(first, last, steps)
        return process.time(-self.rho * roots.log())


def _even(first: float, last: float, steps: int) -> Float64[Tensor, "N"]:
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}")
    return torch.linspace(first, last, steps, dtype=torch.float64)


def _time(process: GaussianProcess, log_snr: float) -> float:
    return float(process.time(torch.tensor(log_snr, dtype=torch.float64)))
