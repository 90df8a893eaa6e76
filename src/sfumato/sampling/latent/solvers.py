"""Solvers: one reverse step from t to s < t, given the clean prediction at t.

    Ddim          the exact step for a constant x̂_0; eta = 1 is DDPM's ancestral step
    Euler         along dx/dt, or its stochastic form, which TEncDM uses
    Heun          two predictions a step, second order (EDM, algorithm 1 without churn)
    DpmSolver     one prediction a step and the one before it, second order (DPM-Solver++ 2M)
    Renoise       back to noise from x̂_0, for models that say the text at once

The probability-flow equation is the same straight line on every path: with y = x/α and the
relative noise ν = e^−λ, dy/dν = (y − x̂_0)/ν. `Ddim` is Euler's method in ν, `Heun` is Heun's, and
`DpmSolver` is a multistep method in λ = −log ν. Their order is a test, on a Gaussian whose
endpoint is known.

Legend of shapes: `B` batch, `*S` the rest of a state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.gaussian import GaussianProcess, Scales, noise_of

Predict = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What a solver is given.

    Attributes:
        process: the noise.
        t: where the state is.
        s: where it goes, less than t.
        x_t: the state, *shape* `B *S`.
        clean: x̂_0 at t, *shape* `B *S`.
        before: the time of the step before and its x̂_0; None at the first.
        noise: standard normal numbers of the state's shape, drawn when asked for.
        predict: x̂_0 of another state and time; every call is a pass of the network.
    """

    process: GaussianProcess
    t: float
    s: float
    x_t: Float[Tensor, "B *S"]
    clean: Float[Tensor, "B *S"]
    before: tuple[float, Tensor] | None
    noise: Callable[[], Tensor]
    predict: Predict

    def log_snr(self, time: float) -> float:
        """λ at a time."""
        return float(self.process.log_snr(torch.tensor(time, dtype=torch.float64)))

    def at(self, time: float) -> Scales:
        """α and σ at a time, in the precision of the state."""
        scales = self.process.scales(torch.tensor(time, dtype=torch.float64))
        return Scales(alpha=scales.alpha.to(self.x_t), sigma=scales.sigma.to(self.x_t))


@runtime_checkable
class Solver(Protocol):
    """One reverse step; `passes` of the network, one of them made already."""

    @property
    def passes(self) -> int:
        """Predictions a step."""
        ...

    def solve(self, step: Step) -> Float[Tensor, "B *S"]:
        """x_s."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ddim:
    """x_s = α_s·x̂_0 + √(σ_s² − η²v)·ε̂ + η·√v·z, v the posterior's variance (DDIM, eq. 12, 16).

    η = 0 is deterministic and of first order; η = 1 draws from q(x_s | x_t, x̂_0), which is DDPM's
    ancestral step and, on the exploding path, Euler's ancestral one of EDM's followers.

    Attributes:
        eta: share of the posterior's noise, 0 to 1.

    Raises:
        UsageError: η outside 0 to 1.

    Example:
        >>> Ddim(eta=1.0).passes
        1
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise UsageError(f"eta must lie in [0, 1], got {self.eta}")

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def solve(self, step: Step) -> Float[Tensor, "B *S"]:
        """x_s."""
        to = step.at(step.s)
        rest = math.exp(2 * (step.log_snr(step.t) - step.log_snr(step.s)))
        fresh = self.eta * math.sqrt(1 - rest)
        noise = math.sqrt(1 - fresh**2) * noise_of(step.clean, step.x_t, step.at(step.t))
        if fresh:
            noise = noise + fresh * step.noise()
        return to.alpha * step.clean + to.sigma * noise


@dataclass(frozen=True, kw_only=True)
class Euler:
    """x_s = x_t + (s − t)·(α′x̂_0 + σ′ε̂), straight along the probability flow in t.

    With `stochastic` it is Euler and Maruyama's method for the reverse equation with noise
    (arXiv 2011.13456, eq. 6): (s − t)·(α′x̂_0 + σ′ε̂ − σλ′ε̂) + σ·√(2λ′(s − t))·z.

    Attributes:
        stochastic: add noise in every step.

    Example:
        >>> Euler().passes
        1
    """

    stochastic: bool = False

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def solve(self, step: Step) -> Float[Tensor, "B *S"]:
        """x_s."""
        time = torch.tensor(step.t, dtype=torch.float64)
        slope = float(step.process.schedule.derivative(time))
        rates = step.process.path.rates(step.process.log_snr(time))
        sigma, length = float(step.at(step.t).sigma), step.s - step.t
        noise = noise_of(step.clean, step.x_t, step.at(step.t))
        drift = slope * float(rates.sigma) - (slope * sigma if self.stochastic else 0.0)
        x_s = step.x_t + length * (slope * float(rates.alpha) * step.clean + drift * noise)
        return (
            x_s + sigma * math.sqrt(2 * slope * length) * step.noise() if self.stochastic else x_s
        )


@dataclass(frozen=True, kw_only=True)
class Heun:
    """A step to s, a second prediction there, and the mean of both slopes: second order in ν.

    Example:
        >>> Heun().passes
        2
    """

    @property
    def passes(self) -> int:
        """Two."""
        return 2

    def solve(self, step: Step) -> Float[Tensor, "B *S"]:
        """x_s."""
        at, to = step.at(step.t), step.at(step.s)
        first = noise_of(step.clean, step.x_t, at)
        straight = to.alpha * step.clean + to.sigma * first
        second = noise_of(step.predict(straight, step.s), straight, to)
        # In y = x/α the slope over ν is ε̂·σ/(α·ν) = ε̂, whatever the path.
        gap = math.exp(-step.log_snr(step.s)) - math.exp(-step.log_snr(step.t))
        return to.alpha * (step.x_t / at.alpha + gap * (first + second) / 2)


@dataclass(frozen=True, kw_only=True)
class DpmSolver:
    """DPM-Solver++ (2M) (arXiv 2211.01095, algorithm 2): x̂_0 is extrapolated from two steps.

    With h = λ_s − λ_t, h₀ the step before and r = h₀/h, D = (1 + 1/2r)·x̂_t − 1/2r·x̂_before and
    x_s = (σ_s/σ_t)·x_t − α_s·(e^−h − 1)·D. The first step has no past and is `Ddim`'s.

    Example:
        >>> DpmSolver().passes
        1
    """

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def solve(self, step: Step) -> Float[Tensor, "B *S"]:
        """x_s."""
        at, to = step.at(step.t), step.at(step.s)
        length = step.log_snr(step.s) - step.log_snr(step.t)
        clean = step.clean
        if step.before is not None:
            time, past = step.before
            lean = length / (2 * (step.log_snr(step.t) - step.log_snr(time)))
            clean = (1 + lean) * clean - lean * past
        return to.sigma / at.sigma * step.x_t - to.alpha * math.expm1(-length) * clean


@dataclass(frozen=True, kw_only=True)
class Renoise:
    """x_s = α_s·x̂_0 + σ_s·z, all noise fresh: how consistency models write (2303.01469, alg. 1).

    Example:
        >>> Renoise().passes
        1
    """

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def solve(self, step: Step) -> Float[Tensor, "B *S"]:
        """x_s."""
        to = step.at(step.s)
        return to.alpha * step.clean + to.sigma * step.noise()


SOLVERS: dict[str, Solver] = {
    "ddim": Ddim(),
    "ddpm": Ddim(eta=1.0),
    "ancestral": Ddim(eta=1.0),
    "euler": Euler(),
    "euler-maruyama": Euler(stochastic=True),
    "heun": Heun(),
    "dpm-solver": DpmSolver(),
    "renoise": Renoise(),
}
