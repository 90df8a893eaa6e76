"""A normal law whose denoiser, probability flow and endpoint are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.noise.gaussian import GaussianProcess
from sfumato.sampling.latent.solvers import Solver, Step


@dataclass(frozen=True, kw_only=True)
class Normal:
    """Data N(mean, std²) in every coordinate, seen through a process."""

    process: GaussianProcess
    mean: float = 0.7
    std: float = 0.5

    def clean(self, x: Tensor, time: float) -> Tensor:
        """E[x_0 | x_t] = μ + αc²/(α²c² + σ²)·(x − αμ)."""
        at = self.process.scales(torch.tensor(time, dtype=torch.float64))
        alpha, sigma = float(at.alpha), float(at.sigma)
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x - alpha * self.mean)

    def flow(self, x: Tensor, t: float, s: float) -> Tensor:
        """Where the probability flow takes x from t to s.

        With y = x/α and ν = e^−λ, (y − μ)/√(c² + ν²) does not change.
        """
        times = torch.tensor([t, s], dtype=torch.float64)
        nu = torch.exp(-self.process.log_snr(times)).tolist()
        alpha = self.process.scales(times).alpha.tolist()
        spread = [math.sqrt(self.std**2 + one**2) for one in nu]
        return alpha[1] * (self.mean + (x / alpha[0] - self.mean) * spread[1] / spread[0])

    def walk(self, solver: Solver, times: list[float], x: Tensor, seed: int = 0) -> Tensor:
        """The state at the last of the times."""
        generator = torch.Generator().manual_seed(seed)
        before = None
        for t, s in itertools.pairwise(times):
            clean = self.clean(x, t)
            step = Step(
                process=self.process,
                t=t,
                s=s,
                x_t=x,
                clean=clean,
                before=before,
                noise=lambda x=x: torch.randn(x.shape, generator=generator, dtype=x.dtype),
                predict=self.clean,
            )
            before, x = (t, clean), solver.solve(step)
        return x
