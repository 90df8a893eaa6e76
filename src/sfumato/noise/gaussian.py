"""Gaussian noise on vectors: x_t = α_t·x_0 + σ_t·ε, one process for all paths.

    λ = log(α/σ)        Preserving  α² + σ² = 1        score-based models, DDPM, TEncDM
                        Exploding   α = 1              EDM
                        Flow        α + σ = 1          flow matching

The three differ by a factor. A network may be trained to predict any mixture of x_0 and ε
(`Parameterization`); everything else sees the clean prediction x̂_0.

Where the classical views meet: a VAE whose encoder adds this noise has the bound
∫ e^2λ·‖x_0 − x̂_0‖² dλ (VDM, arXiv 2107.00630); the score of x_t is −ε̂/σ; and u = ε̂ − x̂_0 on the
path `Flow` is flow matching's field. One pivot ties them: `Parameterization.clean`.

Legend of shapes: `B` batch, `*S` the rest of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sfumato.errors import UsageError
from sfumato.noise.log_snr import LogSnr


@dataclass(frozen=True, kw_only=True, eq=False)
class Scales:
    """α and σ at some times.

    Attributes:
        alpha: factor of the signal, *shape* `B`.
        sigma: standard deviation of the noise, *shape* `B`.
    """

    alpha: Float[Tensor, "*B"]
    sigma: Float[Tensor, "*B"]

    def over(self, x: Float[Tensor, "*S"]) -> Scales:
        """The same in the precision of x, to be multiplied with it."""
        shape = (*self.alpha.shape, *[1] * (x.dim() - self.alpha.dim()))
        return Scales(alpha=self.alpha.to(x).view(shape), sigma=self.sigma.to(x).view(shape))


@runtime_checkable
class Path(Protocol):
    """How α and σ follow from λ."""

    def scales(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """α and σ."""
        ...

    def rates(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """dα/dλ and dσ/dλ."""
        ...


@dataclass(frozen=True, kw_only=True)
class Preserving:
    """α² + σ² = 1: data of unit variance keep it.

    Example:
        >>> Preserving().scales(torch.tensor([0.0])).alpha
        tensor([0.7071])
    """

    def scales(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """α² = 1 / (1 + e^−2λ)."""
        return Scales(
            alpha=torch.sigmoid(2 * log_snr).sqrt(), sigma=torch.sigmoid(-2 * log_snr).sqrt()
        )

    def rates(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """ασ² and −σα²."""
        at = self.scales(log_snr)
        return Scales(alpha=at.alpha * at.sigma**2, sigma=-at.sigma * at.alpha**2)


@dataclass(frozen=True, kw_only=True)
class Exploding:
    """α = 1: noise is added, and nothing is taken away.

    Example:
        >>> Exploding().scales(torch.tensor([0.0])).sigma
        tensor([1.])
    """

    def scales(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """σ = e^−λ."""
        return Scales(alpha=torch.ones_like(log_snr), sigma=torch.exp(-log_snr))

    def rates(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """0 and −σ."""
        return Scales(alpha=torch.zeros_like(log_snr), sigma=-torch.exp(-log_snr))


@dataclass(frozen=True, kw_only=True)
class Flow:
    """α + σ = 1: a straight line between the signal and the noise.

    Example:
        >>> Flow().scales(torch.tensor([0.0])).alpha
        tensor([0.5000])
    """

    def scales(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """α = 1 / (1 + e^−λ)."""
        return Scales(alpha=torch.sigmoid(log_snr), sigma=torch.sigmoid(-log_snr))

    def rates(self, log_snr: Float[Tensor, "*B"]) -> Scales:
        """ασ and −ασ."""
        at = self.scales(log_snr)
        return Scales(alpha=at.alpha * at.sigma, sigma=-at.alpha * at.sigma)


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """q(x_s | x_t, x_0), normal in every coordinate.

    Attributes:
        mean: *shape* `B *S`.
        std: of the shape of α, with ones behind it.
    """

    mean: Float[Tensor, "*S"]
    std: Float[Tensor, "*#S"]


@dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """A schedule and a path, between two log-SNRs beyond which nothing is trained or sampled.

    Attributes:
        schedule: λ(t).
        path: α and σ of λ.
        low: the smallest λ, of what counts as pure noise; the prior is a normal law with the
            deviation σ there.
        high: the largest λ, of what counts as clean.

    Raises:
        UsageError: not low < high.

    Example:
        >>> from sfumato.noise.log_snr import Odds
        >>> process = GaussianProcess(schedule=Odds(), path=Flow())
        >>> process.scales(torch.tensor([0.25])).alpha
        tensor([0.7500])
    """

    schedule: LogSnr
    path: Path
    low: float = -6.0
    high: float = 5.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UsageError(f"expected low < high, got low={self.low}, high={self.high}")

    @cached_property
    def reach(self) -> tuple[float, float]:
        """The least and the largest λ: `low` and `high`, or the schedule's ends within them."""
        ends = self.schedule.value(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
        return max(self.low, float(ends[0])), min(self.high, float(ends[1]))

    def log_snr(self, t: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """λ(t), within `reach`."""
        return self.schedule.value(t).clamp(*self.reach)

    def time(self, log_snr: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """The t of λ."""
        return self.schedule.inverse(log_snr)

    def scales(self, t: Float[Tensor, "*B"]) -> Scales:
        """α(t) and σ(t)."""
        return self.path.scales(self.log_snr(t))

    def corrupt(
        self, x_0: Float[Tensor, "B *S"], noise: Float[Tensor, "B *S"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *S"]:
        """x_t = α_t·x_0 + σ_t·ε, with ε standard normal numbers and a time for each row."""
        at = self.scales(t).over(x_0)
        return at.alpha * x_0 + at.sigma * noise

    def posterior(
        self,
        x_t: Float[Tensor, "B *S"],
        x_0: Float[Tensor, "B *S"],
        t: Float[Tensor, "*B"],
        s: Float[Tensor, "*B"],
    ) -> Posterior:
        """q(x_s | x_t, x_0) for s < t (DDPM, arXiv 2006.11239, eq. 7; for any path).

        With ρ = e^2(λ_t − λ_s), the share of the noise at t that is there at s already, both
        measured beside the signal: mean α_s·((1 − ρ)·x_0 + ρ·x_t/α_t), variance σ_s²·(1 − ρ).
        """
        rest = torch.exp(2 * (self.log_snr(t) - self.log_snr(s)))
        at, to = self.scales(t).over(x_t), self.scales(s).over(x_t)
        rest = rest.to(x_t).view(at.alpha.shape)
        mean = to.alpha * ((1 - rest) * x_0 + rest * x_t / at.alpha)
        return Posterior(mean=mean, std=to.sigma * (1 - rest).sqrt())

    def elbo(
        self, x_0: Float[Tensor, "B *S"], x_hat: Float[Tensor, "B *S"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """−λ′·e^2λ·‖x_0 − x̂_0‖²: its mean over t ~ U(0, 1) is the bound's integral, nats a row.

        VDM (arXiv 2107.00630), eq. 14, with SNR = e^2λ. Outside of `reach` it is 0: what
        is missing there is a divergence from the prior and the reconstruction from the least noise.
        """
        value = self.schedule.value(t)
        low, high = self.reach
        inside = (value >= low) & (value <= high)
        weight = torch.where(inside, -self.schedule.derivative(t) * torch.exp(2 * value), 0)
        return weight.to(x_0) * (x_0 - x_hat).square().flatten(1).sum(1)


Coefficients = Callable[[Scales], Scales]


@dataclass(frozen=True, kw_only=True)
class Parameterization:
    """What a network is trained to predict: a·x_0 + b·ε, with a and b given by α and σ.

    With x_t = α·x_0 + σ·ε that is two equations for x_0 and ε.

    Attributes:
        name: in checkpoints and messages.
        weights: a (as `alpha`) and b (as `sigma`), from α and σ.

    Example:
        >>> at = Scales(alpha=torch.tensor([0.8]), sigma=torch.tensor([0.6]))
        >>> x_0, noise = torch.tensor([[1.0]]), torch.tensor([[2.0]])
        >>> output = VELOCITY.target(x_0, noise, at)
        >>> VELOCITY.clean(output, at.alpha * x_0 + at.sigma * noise, at)
        tensor([[1.]])
    """

    name: str
    weights: Coefficients

    def target(
        self, x_0: Float[Tensor, "B *S"], noise: Float[Tensor, "B *S"], at: Scales
    ) -> Float[Tensor, "B *S"]:
        """What the network should say: a·x_0 + b·ε."""
        by = self.weights(at).over(x_0)
        return by.alpha * x_0 + by.sigma * noise

    def clean(
        self, output: Float[Tensor, "B *S"], x_t: Float[Tensor, "B *S"], at: Scales
    ) -> Float[Tensor, "B *S"]:
        """x̂_0 = (b·x_t − σ·output) / (α·b − σ·a), the pivot between all parameterisations."""
        by, of = self.weights(at).over(x_t), at.over(x_t)
        return (by.sigma * x_t - of.sigma * output) / (of.alpha * by.sigma - of.sigma * by.alpha)

    def output(
        self, x_hat: Float[Tensor, "B *S"], x_t: Float[Tensor, "B *S"], at: Scales
    ) -> Float[Tensor, "B *S"]:
        """What the network would have said for x̂_0."""
        return self.target(x_hat, noise_of(x_hat, x_t, at), at)


def noise_of(
    x_hat: Float[Tensor, "B *S"], x_t: Float[Tensor, "B *S"], at: Scales
) -> Float[Tensor, "B *S"]:
    """ε̂ = (x_t − α·x̂_0) / σ.

    Example:
        >>> at = Scales(alpha=torch.tensor([0.8]), sigma=torch.tensor([0.5]))
        >>> noise_of(torch.tensor([[0.0]]), torch.tensor([[1.0]]), at)
        tensor([[2.]])
    """
    of = at.over(x_t)
    return (x_t - of.alpha * x_hat) / of.sigma


def _constant(a: float, b: float) -> Coefficients:
    return lambda at: Scales(alpha=torch.full_like(at.alpha, a), sigma=torch.full_like(at.sigma, b))


CLEAN = Parameterization(name="clean", weights=_constant(1.0, 0.0))
NOISE = Parameterization(name="noise", weights=_constant(0.0, 1.0))
FIELD = Parameterization(name="field", weights=_constant(-1.0, 1.0))
VELOCITY = Parameterization(
    name="velocity", weights=lambda at: Scales(alpha=-at.sigma, sigma=at.alpha)
)
SCORE = Parameterization(
    name="score",
    weights=lambda at: Scales(alpha=torch.zeros_like(at.alpha), sigma=-1 / at.sigma),
)
PARAMETERIZATIONS = {one.name: one for one in (CLEAN, NOISE, FIELD, VELOCITY, SCORE)}
